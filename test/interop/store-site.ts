import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { MqttJs } from './mqttjs.ts'

/** What `npm run build` writes, and `npm test` builds first. */
const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

export const PERSISTENT = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 3600 } } as const

interface Line {
  readonly level: string
  readonly msg: string
  readonly mqtt?: { readonly port: number }
  readonly sn?: { readonly port: number }
}

/** `roost serve` on a data directory, with all that it writes to standard output and standard error. */
export class ServedStore {
  readonly child: ChildProcess
  /** Level and message of each line of the log: `error store-failed: ...`. */
  readonly lines: string[] = []
  /** Lines of standard output that are not JSON. */
  readonly otherLines: string[] = []
  stderr = ''
  mqttPort = 0
  snPort = 0
  /** Exit code, when the process has ended and everything it wrote has been read. */
  readonly ended: Promise<number | null>
  readonly #waiting = new Set<() => void>()
  #hasEnded = false

  constructor(dir: string, ...flags: string[]) {
    const argv = [
      MAIN,
      'serve',
      '--log-format',
      'json',
      '--port',
      '0',
      '--sn-port',
      '0',
      '--http',
      'false',
      '--data-dir',
      dir,
      ...flags,
    ]
    this.child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] })
    createInterface({ input: this.child.stdout! }).on('line', (text) => this.#read(text))
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.ended = once(this.child, 'close').then(([code]) => {
      this.#hasEnded = true
      this.#wake()
      return code as number | null
    })
  }

  #read(text: string): void {
    let line: Line
    try {
      line = JSON.parse(text) as Line
    } catch {
      this.otherLines.push(text)
      return
    }
    this.lines.push(`${line.level} ${line.msg}`)
    this.mqttPort = line.mqtt?.port ?? this.mqttPort
    this.snPort = line.sn?.port ?? this.snPort
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
  }

  /** Resolves when `holds` does, which is asked after each line of the log; rejects if the process ends first. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.#hasEnded) throw new Error(`ended before: ${this.stderr}`)
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake)
          resolve()
        }
        this.#waiting.add(wake)
      })
    }
  }

  /** The first line of the log that matches, or is the text. */
  async logged(pattern: RegExp | string): Promise<string> {
    const matches = (line: string): boolean => (typeof pattern === 'string' ? line === pattern : pattern.test(line))
    await this.until(() => this.lines.some(matches))
    return this.lines.find(matches)!
  }

  /** Lines of the log about the store, but not those about what a client was refused. */
  get storeLines(): string[] {
    return this.lines.filter((line) => /^\w+ store-/.test(line) && !line.endsWith(' refused'))
  }

  /** Returns the exit code. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.child.kill(signal)
    return this.ended
  }
}

/** A data directory in a temporary directory of its own, and the processes and clients that a test starts there. */
export class StoreSite {
  readonly root = mkdtempSync(join(tmpdir(), 'roost-site-'))
  readonly dir = join(this.root, 'data')
  readonly #processes: ServedStore[] = []
  readonly #cleanUp: (() => unknown)[] = []

  /** Resolves when it listens. */
  start(...flags: string[]): Promise<ServedStore> {
    return this.startIn(this.dir, ...flags)
  }

  async startIn(dir: string, ...flags: string[]): Promise<ServedStore> {
    const roost = this.#spawn(dir, flags)
    await roost.logged(/^info State is kept/)
    return roost
  }

  /** Starts a process that has to end with exit code 2, and returns the one line that it writes to standard error. */
  async refused(dir = this.dir): Promise<string> {
    const line = await this.tryStart(dir)
    expect(line).toBeTypeOf('string')
    return line as string
  }

  /** Resolves when it listens, or with the one line that it writes to standard error before it ends with exit code 2. */
  async tryStart(dir = this.dir): Promise<ServedStore | string> {
    const roost = this.#spawn(dir, [])
    const listens = roost.logged(/^info State is kept/).then(
      () => true,
      () => false,
    )
    if (await listens) return roost
    expect([await roost.ended, roost.lines]).toEqual([2, []])
    const { stderr } = roost
    expect(stderr).toMatch(/^[^\n]+\n$/)
    roost.stderr = ''
    return stderr.trimEnd()
  }

  #spawn(dir: string, flags: readonly string[]): ServedStore {
    const roost = new ServedStore(dir, ...flags)
    this.#processes.push(roost)
    return roost
  }

  /** A client with a session that lasts. */
  async connect(roost: ServedStore, clientId: string): Promise<MqttJs> {
    const js = await MqttJs.connect(roost.mqttPort, { ...PERSISTENT, clientId })
    this.onEnd(() => js.client.endAsync(true))
    return js
  }

  /** A session that is disconnected, and waits for everything below `t`. */
  async subscribeAway(roost: ServedStore, clientId: string): Promise<void> {
    const js = await this.connect(roost, clientId)
    await js.client.subscribeAsync('t/#', { qos: 1 })
    await js.client.endAsync()
  }

  onEnd(step: () => unknown): void {
    this.#cleanUp.push(step)
  }

  /** Ends what runs, and checks that all of it has written JSON to standard output and nothing to standard error. */
  async end(): Promise<void> {
    for (const step of this.#cleanUp.splice(0).reverse()) await step()
    for (const { child } of this.#processes) child.kill('SIGKILL')
    await Promise.all(this.#processes.map(({ ended }) => ended))
    rmSync(this.root, { recursive: true })
    for (const { otherLines, stderr } of this.#processes) expect([otherLines, stderr]).toEqual([[], ''])
  }
}

const TOPICS = 7

/** Topic of a message by its number. */
export const topicOf = (number: number): string => `t/${number % TOPICS}`

/** Publishes messages that are numbered from 1, with QoS 1. One of `retainEach` is retained. */
export class NumberedPublisher {
  readonly acknowledged = new Set<number>()
  /** How many were published. */
  count = 0
  readonly #js: MqttJs
  readonly #padding: string
  readonly #retainEach: number
  readonly #waiting = new Set<() => void>()

  constructor(js: MqttJs, bytes = 0, retainEach = 5) {
    this.#js = js
    this.#padding = 'x'.repeat(bytes)
    this.#retainEach = retainEach
  }

  /** Publishes the next message; resolves with the reason code of its acknowledgement. */
  async publish(): Promise<number> {
    const number = ++this.count
    try {
      const retain = number % this.#retainEach === 0
      await this.#js.client.publishAsync(topicOf(number), `${number} ${this.#padding}`, { qos: 1, retain })
    } catch (error) {
      const { code } = error as { code?: unknown }
      if (typeof code === 'number') return code
      throw error
    }
    this.acknowledged.add(number)
    for (const wake of this.#waiting) wake()
    return 0
  }

  /** Keeps `window` messages in flight until the signal aborts. What is never answered is not waited for. */
  async run(stop: AbortSignal, window = 16): Promise<void> {
    const one = async (): Promise<void> => {
      while (!stop.aborted) await this.publish()
    }
    const aborted = new Promise<void>((resolve) => stop.addEventListener('abort', () => resolve()))
    await Promise.race([aborted, Promise.all(Array.from({ length: window }, one))])
  }

  /** Resolves when `count` more messages are acknowledged than now. */
  async acknowledgedMore(count: number): Promise<void> {
    const goal = this.acknowledged.size + count
    while (this.acknowledged.size < goal) {
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake)
          resolve()
        }
        this.#waiting.add(wake)
      })
    }
  }
}

/** Publishes `count` messages; all have to be acknowledged. */
export async function publishAll(publisher: NumberedPublisher, count: number): Promise<void> {
  const answers = await Promise.all(Array.from({ length: count }, () => publisher.publish()))
  expect(answers.filter((answer) => answer !== 0)).toEqual([])
}

/** The session `away` receives exactly these messages, in order. */
export async function expectMessages(site: StoreSite, roost: ServedStore, numbers: Iterable<number>): Promise<void> {
  const away = await site.connect(roost, 'away')
  const expected = [...numbers]
  const received: number[] = []
  while (received.length < expected.length) received.push(Number.parseInt((await away.next()).text, 10))
  // SUBACK comes after everything that was waiting.
  await away.client.subscribeAsync('other', { qos: 0 })
  expect([...received, ...away.unread.map(({ text }) => Number.parseInt(text, 10))]).toEqual(expected)
}

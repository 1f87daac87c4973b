import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { describe } from 'vitest'

const missing = spawnSync('mosquitto_sub', ['--help']).error !== undefined

if (missing && process.env.CI === 'true') throw new Error('mosquitto_sub is not installed, and CI skips nothing')
if (missing)
  process.stderr.write(
    'skipped: the tests with mosquitto_pub and mosquitto_sub, which are not installed (Debian: mosquitto-clients)\n',
  )

/** For tests that need Debian's mosquitto-clients. */
export const describeWithMosquitto = describe.skipIf(missing)

/** A running `mosquitto_sub`, that has its subscription. */
export class MosquittoSub {
  readonly child: ChildProcess
  readonly #lines: string[] = []
  #wake: (() => void) | undefined = undefined

  private constructor(child: ChildProcess) {
    this.child = child
  }

  static async start(port: number, ...flags: string[]): Promise<MosquittoSub> {
    // With -d it tells when it has subscribed; into a pipe only if its output is made line-buffered.
    const argv = ['-oL', 'mosquitto_sub', '-d', '-v', '-h', '127.0.0.1', '-p', String(port), ...flags]
    const child = spawn('stdbuf', argv, { stdio: ['ignore', 'pipe', 'inherit'] })
    const sub = new MosquittoSub(child)
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`mosquitto_sub ended with ${code}`)))
      createInterface({ input: child.stdout! }).on('line', (line) => {
        if (line.startsWith('Subscribed')) resolve()
        else if (!/^(Client |Subscribed|Unsubscribed)/.test(line)) {
          sub.#lines.push(line)
          sub.#wake?.()
        }
      })
    })
    return sub
  }

  /** The next message, as `topic payload`. */
  async next(): Promise<string> {
    while (this.#lines.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#lines.shift()!
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const exited = once(this.child, 'exit')
    this.child.kill(signal)
    // Its signal handler disconnects, which may wait for a lock that the interrupted code holds.
    const patience = setTimeout(() => this.child.kill('SIGKILL'), 5000)
    await exited
    clearTimeout(patience)
  }
}

/** Publishes with `mosquitto_pub`, and waits until it is done. */
export async function mosquittoPub(port: number, ...flags: string[]): Promise<void> {
  const child = spawn('mosquitto_pub', ['-h', '127.0.0.1', '-p', String(port), ...flags], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`mosquitto_pub ended with ${code}`)
}

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'vitest'

/** Debian has it where only root looks. */
const PROGRAM = existsSync('/usr/sbin/mosquitto') ? '/usr/sbin/mosquitto' : 'mosquitto'

const missing = spawnSync(PROGRAM, ['-h']).error !== undefined || spawnSync('mosquitto_passwd', []).error !== undefined

if (missing && process.env.CI === 'true') throw new Error('mosquitto is not installed, and CI skips nothing')
if (missing)
  process.stderr.write('skipped: the comparison with the broker mosquitto, which is not installed (Debian: mosquitto)\n')

/** For tests that hold Roost against the real broker. */
export const describeWithMosquittoBroker = describe.skipIf(missing)

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** The real `mosquitto`, on a port of its own. */
export class MosquittoBroker {
  readonly port: number
  readonly #directory: string
  #child: ChildProcess | undefined

  private constructor(port: number, directory: string) {
    this.port = port
    this.#directory = directory
  }

  /** `lines` are those of its mosquitto.conf, beside the listener's. */
  static async start(...lines: string[]): Promise<MosquittoBroker> {
    const port = await freePort()
    const directory = mkdtempSync(join(tmpdir(), 'roost-mosquitto-'))
    writeFileSync(join(directory, 'mosquitto.conf'), ['user root', `listener ${port} 127.0.0.1`, ...lines, ''].join('\n'))
    const broker = new MosquittoBroker(port, directory)
    await broker.restart()
    return broker
  }

  /** With a database in its folder, saved after every change as far as Mosquitto can: what it has just acknowledged may be lost with `kill`. */
  static startLasting(...lines: string[]): Promise<MosquittoBroker> {
    return MosquittoBroker.start(
      'persistence true',
      'autosave_on_changes true',
      'autosave_interval 1',
      'max_queued_messages 0',
      ...lines,
    )
  }

  /** After `kill`: on the same port, with the same configuration and what it has saved. */
  async restart(): Promise<void> {
    const conf = join(this.#directory, 'mosquitto.conf')
    const child = spawn(PROGRAM, ['-c', conf], { cwd: this.#directory, stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.on('data', (bytes) => {
      said += String(bytes)
    })
    this.#child = child
    while (!(await reachable(this.port))) {
      if (child.exitCode !== null) throw new Error(`mosquitto ended: ${said}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Where it keeps its state, if it does: complete after `save`. */
  get database(): string {
    return join(this.#directory, 'mosquitto.db')
  }

  /** Ends it in the ordinary way; its folder stays until `stop`. */
  save(): Promise<void> {
    return this.#end('SIGTERM')
  }

  /** Ends it without a word to anybody. */
  kill(): Promise<void> {
    return this.#end('SIGKILL')
  }

  /** Ends it as a service manager does: it saves what it has. */
  shutDown(): Promise<void> {
    return this.#end('SIGTERM')
  }

  async stop(): Promise<void> {
    await this.shutDown()
    rmSync(this.#directory, { recursive: true })
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }
}

export const reachable = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })

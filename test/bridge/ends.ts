import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MosquittoBroker } from '../interop/mosquitto-broker.ts'
import { StartedProcess } from '../interop/started-process.ts'
import { traceFile } from './trace.ts'

/** A broker at one end of a bridge, which can be killed and comes back on its port with what it has stored. */
export interface End {
  readonly name: string
  readonly port: number
  /** What it has acknowledged survives SIGKILL. Mosquitto saves a moment after it has acknowledged. */
  readonly keepsItsWord: boolean
  /** What it has said since it was started, as far as that is known. */
  readonly log: readonly string[]
  kill(): Promise<unknown>
  restart(): Promise<void>
  /** For good. */
  stop(): Promise<unknown>
}

export class RoostEnd implements End {
  readonly name = 'roost'
  readonly keepsItsWord = true
  port = 0
  process: StartedProcess | undefined
  readonly #dir = mkdtempSync(join(tmpdir(), 'roost-bridge-'))
  #snPort = 0
  readonly #flags: readonly string[]

  /** `yaml`: its configuration file, with the default durability, which is fsync. */
  private constructor(yaml: string, flags: readonly string[]) {
    writeFileSync(join(this.#dir, 'roost.yaml'), yaml)
    // More than can come together while the other end is away: on a slow machine 1,000 are not enough.
    this.#flags = ['--max-queued-messages', '100000', ...flags]
  }

  static async start(yaml = '', ...flags: string[]): Promise<RoostEnd> {
    const end = new RoostEnd(yaml, flags)
    await end.restart()
    return end
  }

  get log(): readonly string[] {
    return this.process?.levels ?? []
  }

  /** UDP port for sensors. */
  get snPort(): number {
    return this.#snPort
  }

  /** On the same ports every time. */
  async restart(): Promise<void> {
    const flags = ['--config', join(this.#dir, 'roost.yaml'), '--data-dir', join(this.#dir, 'data'), ...this.#flags]
    this.process = await StartedProcess.startWithoutUdp('--port', `${this.port}`, '--sn-port', `${this.#snPort}`, ...flags)
    this.port = this.process.mqttPort
    this.#snPort = this.process.snPort
  }

  /** Another configuration, from the next start on. */
  configure(yaml: string): void {
    writeFileSync(join(this.#dir, 'roost.yaml'), yaml)
  }

  kill(): Promise<unknown> {
    return this.process!.stop('SIGKILL')
  }

  async stop(): Promise<void> {
    await this.process?.stop()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

/**
 * Mosquitto answers a message of MQTT 3.1.1 above this with PUBREC and drops it, and each of its crashes leaves some in flight that were completed
 * (docs/bridge.md, "What the other broker can lose"): with the default of 20, which is what Roost sends at most, 3.1.1 loses messages sooner or later.
 */
const IN_FLIGHT = 'max_inflight_messages 100'

/** Of Mosquitto, in this process. */
let started = 0

export class MosquittoEnd implements End {
  readonly name = 'mosquitto'
  readonly log: readonly string[] = []
  readonly keepsItsWord = false
  readonly #broker: MosquittoBroker

  private constructor(broker: MosquittoBroker) {
    this.#broker = broker
  }

  static async start(...lines: string[]): Promise<MosquittoEnd> {
    const trace = traceFile(`mosquitto ${process.pid} ${++started}`)
    const logs = trace === undefined ? [] : [`log_dest file ${trace}`, 'log_type all']
    return new MosquittoEnd(
      await MosquittoBroker.startLasting('allow_anonymous true', 'set_tcp_nodelay true', IN_FLIGHT, ...logs, ...lines),
    )
  }

  get port(): number {
    return this.#broker.port
  }

  kill(): Promise<void> {
    return this.#broker.kill()
  }

  restart(): Promise<void> {
    return this.#broker.restart()
  }

  stop(): Promise<void> {
    return this.#broker.stop()
  }
}

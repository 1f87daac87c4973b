import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { isIPv6 } from 'node:net'
import { performance } from 'node:perf_hooks'
import { StartError } from '../../base/start-error.ts'
import { mtuAt } from '../../gateway/io/udp.ts'
import { SnClient, type SnClientOptions, type SnEvent } from '../../mqttsn/client.ts'
import { describeDatagram } from '../../mqttsn/describe.ts'
import { unwrap, wrap } from '../../mqttsn/forwarder.ts'

export interface SensorOptions extends SnClientOptions {
  readonly host: string
  readonly port: number
  /** Local UDP port; 0 means any. */
  readonly sourcePort: number
  /** Encapsulates every message as a forwarder does, for the node with this id. */
  readonly nodeId?: Uint8Array | undefined
  /** Receives a line for every datagram. */
  readonly trace?: ((line: string) => void) | undefined
}

/**
 * Octets of a PUBLISH with the long form of Length, without its payload; and of the forwarder encapsulation, without
 * the node id.
 */
const PUBLISH_HEADER = 9
const ENVELOPE = 3
/** Maximum delay of setTimeout in milliseconds. */
const TIMEOUT_MAX = 2 ** 31 - 1

/** A sensor of the command line: the client in real time over a UDP socket. */
export class Sensor {
  readonly client: SnClient
  readonly #options: SensorOptions
  readonly #socket: Socket
  readonly #events: SnEvent[] = []
  #wake: (() => void) | undefined
  #failed: StartError | undefined
  #timer: NodeJS.Timeout | undefined
  #answered = false
  #interrupted = false

  private constructor(options: SensorOptions, socket: Socket) {
    this.#options = options
    this.#socket = socket
    this.client = new SnClient(options)
    socket.on('message', (bytes) => this.#receive(bytes))
    socket.on('error', (error: NodeJS.ErrnoException) => this.#refused(error))
  }

  /** Opens the socket. @throws StartError for an unknown host, or a source port that is not available */
  static async open(options: SensorOptions): Promise<Sensor> {
    const { host, port, sourcePort } = options
    const address = await lookup(host).catch(() => {
      throw new StartError(`-h: no address for ${host}`)
    })
    const socket = createSocket(address.family === 6 ? 'udp6' : 'udp4')
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error) => reject(new StartError(`--cport: ${error.message}`)))
      socket.bind(sourcePort, () => socket.connect(port, address.address, resolve as () => void))
    })
    socket.removeAllListeners('error')
    return new Sensor(options, socket)
  }

  /** The address of the gateway: `127.0.0.1:1884`. */
  get gateway(): string {
    const { host, port } = this.#options
    return `${isIPv6(host) ? `[${host}]` : host}:${port}`
  }

  /** Maximum payload in octets that fits into one datagram. */
  get payloadMax(): number {
    const { host, nodeId } = this.#options
    return mtuAt(host) - PUBLISH_HEADER - (nodeId === undefined ? 0 : ENVELOPE + nodeId.length)
  }

  /** Runs `what` on the client and sends the resulting datagrams. */
  act(what: (client: SnClient, now: number) => void): void {
    what(this.client, performance.now())
    for (let out = this.client.poll(); out !== undefined; out = this.client.poll()) {
      if (out.kind === 'datagram') this.#send(out.bytes)
      else this.#events.push(out)
    }
    if (this.#events.length > 0) this.#wake?.()
    this.#setTimer()
  }

  /**
   * Returns the next event of the client; undefined after `waitMs` milliseconds, or after an interruption.
   * @throws StartError if the gateway cannot be reached
   */
  async next(waitMs?: number): Promise<SnEvent | undefined> {
    const until = waitMs === undefined ? undefined : performance.now() + waitMs
    while (this.#events.length === 0) {
      if (this.#failed !== undefined) throw this.#failed
      const left = until === undefined ? undefined : until - performance.now()
      if (this.#interrupted || (left !== undefined && left <= 0)) return undefined
      await new Promise<void>((resolve) => {
        const timer = left === undefined ? undefined : setTimeout(resolve, Math.min(Math.ceil(left), TIMEOUT_MAX))
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    return this.#events.shift()
  }

  /** Ends pending waits after an interruption by the user. */
  stop(): void {
    this.#interrupted = true
    this.#wake?.()
  }

  /** Allows waiting again after an interruption, for the answer to DISCONNECT. */
  resume(): void {
    this.#interrupted = false
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#socket.close()
  }

  #send(message: Uint8Array): void {
    const { nodeId } = this.#options
    const bytes = nodeId === undefined ? message : wrap(nodeId, message)
    this.#trace('->', bytes)
    this.#socket.send(bytes)
  }

  #receive(bytes: Uint8Array): void {
    this.#answered = true
    this.#trace('<-', bytes)
    const inner = unwrap(bytes)
    if (inner !== undefined && 'kind' in inner) return
    const message = inner === undefined ? bytes : bytes.subarray(inner.start, inner.end)
    this.act((client, now) => client.handleDatagram(now, message))
  }

  /**
   * Fails if no process listens at the address. A gateway that has answered before may be restarting, so the error is
   * ignored then.
   */
  #refused(error: NodeJS.ErrnoException): void {
    if (this.#answered) return
    const why = error.code === 'ECONNREFUSED' ? 'no process listens there' : error.message
    this.#failed = new StartError(`no gateway at ${this.gateway}: ${why}`)
    this.#wake?.()
  }

  #trace(way: string, bytes: Uint8Array): void {
    this.#options.trace?.(`${way} ${Buffer.from(bytes).toString('hex')} ${describeDatagram(bytes, { payloads: true })}`)
  }

  #setTimer(): void {
    clearTimeout(this.#timer)
    const at = this.client.nextTimeout()
    if (at === undefined) return
    const wait = Math.ceil(Math.max(0, at - performance.now()))
    this.#timer = setTimeout(() => this.act((client, now) => client.handleTimeout(now)), Math.min(wait, TIMEOUT_MAX))
  }
}

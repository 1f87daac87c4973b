import { type Stats, statSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import type { SerialPort } from 'serialport'
import type { NoticeSink } from '../../base/notice.ts'
import { type Framing, isDefect } from '../ports/framing.ts'
import type { RouteKey } from '../ports/route.ts'
import { routeAt } from '../ports/route.ts'
import type { DatagramPort, Receive } from './datagram-port.ts'

export interface SerialOptions {
  readonly name: string
  readonly device: string
  readonly baudRate: number
  readonly framing: Framing
}

/** Minimum and maximum wait before a device that has disappeared is opened again, in milliseconds. */
const REOPEN_MIN_MS = 500
const REOPEN_MAX_MS = 30_000
/** Interval of the check whether the device still exists, in milliseconds: an idle device does not report that it is gone. */
const PROBE_MS = 2000
/**
 * Maximum number of octets queued for the line. The airtime budget of the port keeps the queue shorter while the line
 * accepts data.
 */
const WAITING_MAX = 64 * 1024
const MTU = 65_535

/**
 * MQTT-SN over a serial line, to a radio or a single client. There is only one route, because everything sent is received
 * by all.
 */
export class SerialDevice implements DatagramPort {
  readonly name: string
  readonly port = 0
  readonly mtu = MTU
  readonly #options: SerialOptions
  readonly #receive: Receive
  readonly #notice: NoticeSink
  readonly #Port: typeof SerialPort
  readonly #route: RouteKey
  #line: SerialPort | undefined
  #stat: Stats | undefined
  #timer: NodeJS.Timeout | undefined
  #wait = REOPEN_MIN_MS
  #closing = false
  /** Number of datagrams lost while the device was missing, reported when it is back. The protocol retransmits what matters. */
  #unsent = 0

  private constructor(options: SerialOptions, Port: typeof SerialPort, receive: Receive, notice: NoticeSink) {
    this.name = options.name
    this.#options = options
    this.#Port = Port
    this.#receive = receive
    this.#notice = notice
    this.#route = routeAt('line', options.name)
  }

  /** @throws Error with a one-line message if the device cannot be opened, or the package serialport is missing */
  static async open(options: SerialOptions, receive: Receive, notice: NoticeSink): Promise<SerialDevice> {
    // An optional package with a native binary: installations without a serial line do not need it.
    const { SerialPort } = await import('serialport').catch(({ code }: NodeJS.ErrnoException) => {
      if (code === 'ERR_MODULE_NOT_FOUND') throw new Error('needs the package serialport: npm install serialport')
      throw new Error('the binary of the package serialport is missing: npm rebuild @serialport/bindings-cpp')
    })
    const device = new SerialDevice(options, SerialPort, receive, notice)
    await device.#open()
    return device
  }

  get url(): string {
    return `serial:${this.#options.device}`
  }

  get broadcasts(): string {
    return `on ${this.#options.device}`
  }

  send(_route: RouteKey, bytes: Uint8Array): void {
    const line = this.#line
    if (line === undefined) {
      this.#unsent++
      return
    }
    if (line.writableLength > WAITING_MAX) {
      const reason = `the line takes nothing, ${WAITING_MAX} octets wait`
      this.#notice({ code: 'message-dropped', level: 'warn', peer: this.#route, reason })
      return
    }
    line.write(this.#options.framing.encode(bytes))
  }

  async close(): Promise<void> {
    this.#closing = true
    clearTimeout(this.#timer)
    const line = this.#line
    this.#line = undefined
    if (line?.isOpen === true) await new Promise<void>((resolve) => line.close(() => resolve()))
  }

  async #open(): Promise<void> {
    const { device: path, baudRate, framing } = this.#options
    const line = new this.#Port({ path, baudRate, autoOpen: false })
    await new Promise<void>((resolve, reject) => {
      line.open((error) => (error ? reject(cannotOpen(path, error)) : resolve()))
    })
    if (this.#closing) {
      line.close()
      return
    }
    this.#stat = statSync(path)
    this.#line = line
    line.on('data', (chunk: Buffer) => {
      for (const frame of framing.decode(performance.now(), chunk)) {
        if (!isDefect(frame)) this.#receive(this.#route, frame)
        else this.#notice({ code: 'malformed-datagram', level: 'info', peer: this.#route, reason: frame.reason })
      }
    })
    line.on('close', () => this.#lost(line, 'closed'))
    line.on('error', (error) => this.#lost(line, error.message))
    this.#timer = setTimeout(() => this.#probe(line), PROBE_MS)
  }

  /** Writes octets that mean nothing, and checks that the path still leads to the device that was opened. */
  #probe(line: SerialPort): void {
    const { device, framing } = this.#options
    let now: Stats | undefined
    try {
      now = statSync(device)
    } catch {}
    if (now?.rdev !== this.#stat?.rdev || now?.ino !== this.#stat?.ino) {
      this.#lost(line, 'it is not there any more')
      return
    }
    if (framing.nothing.length > 0 && line.writableLength === 0) line.write(framing.nothing)
    this.#timer = setTimeout(() => this.#probe(line), PROBE_MS)
  }

  /** Reported once for each loss. */
  #lost(line: SerialPort, reason: string): void {
    if (this.#line !== line) return
    this.#line = undefined
    clearTimeout(this.#timer)
    if (line.isOpen) line.close(() => {})
    this.#notice({
      code: 'port-failed',
      level: 'warn',
      reason: `${this.#options.device}: ${reason}; it is opened again as soon as it is there`,
    })
    this.#reopen()
  }

  #reopen(): void {
    this.#timer = setTimeout(() => {
      this.#open().then(
        () => {
          this.#wait = REOPEN_MIN_MS
          const reason = `${this.#options.device} is there again; ${this.#unsent} datagrams could not be sent meanwhile`
          this.#unsent = 0
          this.#notice({ code: 'port-recovered', level: 'warn', reason })
        },
        () => {
          this.#wait = Math.min(2 * this.#wait, REOPEN_MAX_MS)
          if (!this.#closing) this.#reopen()
        },
      )
    }, this.#wait)
  }
}

/** Turns `Error: No such file or directory, cannot open /dev/ttyUSB0` round. */
function cannotOpen(device: string, { message }: Error): Error {
  const reason = message.replace(/^Error: /, '').replace(/, cannot open .*$/, '')
  return new Error(`cannot open ${device}: ${reason.charAt(0).toLowerCase()}${reason.slice(1)}`)
}

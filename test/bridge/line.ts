import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** From the program that dials to the one that is dialled, and back. */
export type Way = 'up' | 'down'

/** Sees what goes over a line, in the order in which it is passed on. */
export interface LineTap {
  /** A connection has been made; `call` counts them from 1. */
  opened?(call: number): void
  passed?(call: number, way: Way, bytes: Buffer): void
  closed?(call: number): void
}

interface Call {
  readonly number: number
  readonly near: Socket
  readonly far: Socket
  /** Half-open: bytes go nowhere, and nobody is told. */
  silent: boolean
}

/** A TCP relay between two programs, which a test cuts, silences or slows down. */
export class Line {
  readonly port: number
  /** Where calls go; the program may come back on another port. */
  target: number
  /** Calls that were made, accepted or not: a program that dials without pause shows here. */
  dials = 0
  /** Every chunk takes this long, ms. */
  delayMs = 0
  /** Calls end as soon as they are made, as if nobody listened. */
  refuses = false
  readonly #server: Server
  readonly #tap: LineTap
  readonly #calls = new Set<Call>()
  #silent = false
  #left = Number.POSITIVE_INFINITY
  #leftOf: Way = 'up'
  #timer: NodeJS.Timeout | undefined

  private constructor(server: Server, target: number, tap: LineTap) {
    this.#server = server
    this.#tap = tap
    this.target = target
    this.port = (server.address() as AddressInfo).port
    server.on('connection', (near) => this.#called(near))
  }

  static async open(target: number, tap: LineTap = {}): Promise<Line> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Line(server, target, tap)
  }

  get isUp(): boolean {
    return this.#calls.size > 0
  }

  /** All calls end at once, with what was on its way. */
  cut(): void {
    for (const call of this.#calls) this.#end(call)
  }

  /** Cuts as soon as `bytes` more have passed this way: the last packet may be on the other side in part. */
  cutAfter(bytes: number, way: Way): void {
    this.#left = bytes
    this.#leftOf = way
  }

  /** Cuts every `ms`, until `close` or another interval; 0 is never. */
  cutEvery(ms: number): void {
    clearInterval(this.#timer)
    this.#timer = ms > 0 ? setInterval(() => this.cut(), ms) : undefined
  }

  /** Half-open: calls stay, and new ones are accepted, but nothing arrives any more, as behind a router that was switched off. */
  silence(): void {
    this.#silent = true
    for (const call of this.#calls) call.silent = true
  }

  /** Ends `silence` and `refuses`. What was lost cannot follow, so silent calls end. */
  heal(): void {
    this.refuses = false
    this.#silent = false
    for (const call of this.#calls) if (call.silent) this.#end(call)
  }

  /** Ends `silence` for new calls. Those that are silent stay so: their ends have to find out. */
  healAround(): void {
    this.#silent = false
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #called(near: Socket): void {
    const number = ++this.dials
    if (this.refuses) {
      near.on('error', () => {})
      near.destroy()
      return
    }
    const far = connect(this.target, '127.0.0.1')
    const call: Call = { number, near, far, silent: this.#silent }
    this.#calls.add(call)
    this.#tap.opened?.(number)
    this.#relay(call, 'up', near, far)
    this.#relay(call, 'down', far, near)
  }

  #relay(call: Call, way: Way, from: Socket, to: Socket): void {
    from.setNoDelay(true)
    from.on('data', (bytes) => {
      if (this.delayMs === 0) this.#pass(call, way, to, bytes)
      else setTimeout(() => this.#pass(call, way, to, bytes), this.delayMs)
    })
    from.on('error', () => {})
    from.on('close', () => {
      if (!call.silent) this.#end(call)
    })
  }

  #pass(call: Call, way: Way, to: Socket, bytes: Buffer): void {
    if (call.silent || !this.#calls.has(call)) return
    const isLast = way === this.#leftOf && bytes.length >= this.#left
    const passed = isLast ? bytes.subarray(0, this.#left) : bytes
    if (passed.length > 0) {
      this.#tap.passed?.(call.number, way, passed)
      to.write(passed)
    }
    if (way === this.#leftOf) this.#left -= passed.length
    if (!isLast) return
    this.#left = Number.POSITIVE_INFINITY
    // What was passed has to arrive before the end.
    to.end(() => this.#end(call))
  }

  #end(call: Call): void {
    if (!this.#calls.delete(call)) return
    call.near.destroy()
    call.far.destroy()
    this.#tap.closed?.(call.number)
  }
}

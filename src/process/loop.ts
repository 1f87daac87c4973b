import { uptime } from 'node:os'
import { performance } from 'node:perf_hooks'
import type { Instant } from '../base/machine.ts'
import type { AuthAnswer, AuthRequest } from '../broker/access.ts'
import type { PublishAnswer, PublishQuestion } from '../broker/hooks.ts'
import type { RouteKey } from '../gateway/ports/route.ts'
import type { ConnectionId, StreamInfo } from '../mqtt/connection.ts'
import { OutputBuffers } from '../mqtt/io/output-buffers.ts'
import type { Stream, StreamHost } from '../mqtt/io/stream-host.ts'
import type { LinkId } from '../mqtt/link.ts'
import type { Server, ServerInput } from '../server.ts'
import type { ClockReading } from '../store/clock.ts'
import { bootId } from '../store/io/owner.ts'
import type { WallClock } from '../store/store.ts'
import { type DialHost, Dialler } from '../upstream/io/dial.ts'

const NO_VERIFIER: AuthAnswer = {
  kind: 'refused',
  reasonCode: 0x88,
  reason: 'no authentication is available',
}

/** Verifies the identity of clients. Its promises never reject. */
export interface Verifier {
  authenticate(request: AuthRequest): Promise<AuthAnswer>
  /** The client of this link disconnected before it was answered. */
  abandon(link: LinkId): void
}

/** Decides about messages of clients. Neither throws nor rejects. */
export interface PublishHook {
  /** True while a function runs on which the server waits. */
  readonly isInside: boolean
  ask(question: PublishQuestion): PublishAnswer | Promise<PublishAnswer>
}

/** Without a hook the server does not ask. */
const NO_HOOK: PublishAnswer = { kind: 'refused', reasonCode: 0x80, reason: 'no hook is there' }

/** Maximum delay of setTimeout in milliseconds. For a later deadline the timer is set again. */
const TIMEOUT_MAX = 2 ** 31 - 1

export const instant = (): Instant => performance.now()
export const wallClock = (): WallClock => ({ epoch: Date.now() - performance.now() })

const BOOT_ID = bootId()
export const readClocks = (): ClockReading => ({ wall: Date.now(), bootId: BOOT_ID, uptime: uptime() * 1000 })

/** Interval in milliseconds at which the time is checked while nothing else happens. */
const BEAT_MS = 250
/** Number of beats between two readings of the machine's clocks. */
const BEATS_PER_READING = 4
/** A beat that is later than this, in milliseconds, means that the process was paused. */
const PAUSE_MS = 500
/**
 * Time in milliseconds after a pause during which input is handled before timers; it ends early when no more input
 * arrives.
 */
const CATCH_UP_MS = 1000

/**
 * Runs the server in real time. All inputs of one turn of the event loop are handled before the resulting output is
 * written, so that a socket gets one write per turn, however many packets that contains.
 */
export class Loop implements StreamHost, DialHost {
  readonly #server: Server
  readonly #streams = new Map<ConnectionId, Stream>()
  #sendDatagram: (route: RouteKey, bytes: Uint8Array) => void = () => {}
  #verifier: Verifier | undefined
  #hooks: PublishHook | undefined
  #nextConnection = 1
  #flushing: NodeJS.Immediate | undefined
  #timeout: NodeJS.Timeout | undefined
  #timeoutAt: Instant | undefined
  #due: NodeJS.Immediate | undefined
  #writing = false
  readonly #beat: NodeJS.Timeout
  #beats = 0
  /** When the process was last seen running. */
  #ranAt = instant()
  #catchUpUntil: Instant = Number.NEGATIVE_INFINITY
  #inputs = 0
  /** Value of `#inputs` at the last check for new input. */
  #inputsSeen = 0

  readonly #dialler = new Dialler(this)
  #turns = 0
  /** Output that waits for sockets. */
  readonly outputs: OutputBuffers

  constructor(server: Server) {
    this.#server = server
    const { memory } = server
    this.outputs = new OutputBuffers(memory.limits.memoryLimit)
    memory.count('output_buffers', () => this.outputs.total)
    this.#beat = setInterval(() => this.#onBeat(), BEAT_MS).unref()
  }

  get connectionCount(): number {
    return this.#streams.size
  }

  /** Number of the event loop's turns that have had input, to tell one from another. */
  get turns(): number {
    return this.#turns
  }

  sendDatagramsBy(send: (route: RouteKey, bytes: Uint8Array) => void): void {
    this.#sendDatagram = send
  }

  authenticateBy(verifier: Verifier): void {
    this.#verifier = verifier
  }

  askBy(hooks: PublishHook): void {
    this.#hooks = hooks
  }

  /** As `Connections.arriving`. */
  arriving(from: StreamInfo): string | undefined {
    return this.#server.connections.arriving(this.#enter(), from)
  }

  lingering(from: StreamInfo): void {
    this.#server.connections.lingering(from)
  }

  arrived(from: StreamInfo): void {
    this.#server.connections.arrived(from)
  }

  opened(stream: Stream, from: StreamInfo): ConnectionId {
    const connection = this.#nextConnection++
    this.#streams.set(connection, stream)
    this.handle({ kind: 'opened', connection, from })
    return connection
  }

  dialled(connection: ConnectionId, stream: Stream): void {
    this.#streams.set(connection, stream)
    this.handle({ kind: 'dialled', connection })
  }

  closed(connection: ConnectionId, reason: string): void {
    if (this.#streams.delete(connection)) this.handle({ kind: 'closed', connection, reason })
  }

  /**
   * True shortly after the process was paused: what a peer seems to have missed may already be waiting in the socket.
   */
  get wasPaused(): boolean {
    return this.#enter() < this.#catchUpUntil
  }

  handle(input: ServerInput): void {
    this.#inputs++
    this.#server.handle(this.#enter(), input)
    // Input that arises while `flush` writes is polled by that same loop.
    if (this.#writing) return
    if (this.#server.backlogged) this.flush(true)
    else this.#flushing ??= setImmediate(this.#flushNow)
  }

  /** Runs what is no input, such as a request over HTTP. What it leads to is written at the end of the turn, as after an input. */
  run<T>(step: (now: Instant) => T): T {
    // The server is not reentrant.
    if (this.#hooks?.isInside === true)
      throw new Error('not from within authorize or onDeliver: the broker waits for their answer')
    this.#inputs++
    try {
      return step(this.#enter())
    } finally {
      this.#flushing ??= setImmediate(this.#flushNow)
    }
  }

  /**
   * Carries out all output of the server, and sets the timer for its next deadline. `continues`: more input may follow in this turn
   * of the event loop.
   */
  flush(continues = false): void {
    const now = instant()
    let isFree: boolean | undefined
    this.#writing = true
    for (let output = this.#server.poll(now, continues); output !== undefined; output = this.#server.poll(now, continues)) {
      if (output.kind === 'datagram') this.#sendDatagram(output.route, output.bytes)
      else if (output.kind === 'auth') void this.#verify(output.request)
      else if (output.kind === 'auth-abandoned') this.#verifier?.abandon(output.link)
      else if (output.kind === 'hook') this.#ask(output.question)
      else if (output.kind === 'dial') this.#streams.set(output.connection, this.#dialler.dial(output.target, output.connection))
      else {
        const stream = this.#streams.get(output.connection)
        if (output.kind === 'write') isFree = stream?.write(output.bytes) === true && isFree !== false
        else if (output.kind === 'pause') stream?.pause()
        else if (output.kind === 'resume') stream?.resume()
        else if (output.kind === 'close') {
          this.#streams.delete(output.connection)
          stream?.end(output.saidGoodbye)
        }
      }
    }
    this.#writing = false
    if (isFree !== undefined) this.#server.connections.slab.written(!isFree)
    this.#setTimer(now)
  }

  stop(): void {
    clearInterval(this.#beat)
    if (this.#flushing !== undefined) clearImmediate(this.#flushing)
    if (this.#timeout !== undefined) clearTimeout(this.#timeout)
    if (this.#due !== undefined) clearImmediate(this.#due)
  }

  #ask(question: PublishQuestion): void {
    const { id } = question
    const answer = this.#hooks?.ask(question) ?? NO_HOOK
    if (answer instanceof Promise) void answer.then((later) => this.handle({ kind: 'hooked', id, answer: later }))
    else this.handle({ kind: 'hooked', id, answer })
  }

  async #verify(request: AuthRequest): Promise<void> {
    const answer = (await this.#verifier?.authenticate(request)) ?? NO_VERIFIER
    this.handle({ kind: 'authenticated', link: request.link, step: request.step, answer })
  }

  readonly #flushNow = (): void => {
    this.#flushing = undefined
    this.#turns++
    this.flush()
  }

  readonly #timedOut = (): void => {
    this.#timeout = undefined
    this.#timeoutAt = undefined
    const now = this.#enter()
    // Early, because the deadline has moved: only to be set again.
    if ((this.#server.nextTimeout() ?? Number.POSITIVE_INFINITY) > now) this.#setTimer(now)
    else this.#expire()
  }

  readonly #dueNow = (): void => {
    this.#due = undefined
    this.#expire()
  }

  #expire(): void {
    const now = this.#enter()
    if (this.#isCatchingUp(now)) {
      this.#due ??= setImmediate(this.#dueNow)
      return
    }
    this.#server.handleTimeout(now)
    this.flush()
  }

  #onBeat(): void {
    this.#enter()
    this.outputs.refresh()
    if (this.#beats++ % BEATS_PER_READING === 0) this.handle({ kind: 'clock', reading: readClocks() })
  }

  /**
   * Returns the time. Detects that the process was just paused, for example by SIGSTOP or together with its machine,
   * and reports it to the server.
   */
  #enter(): Instant {
    const now = instant()
    const ms = now - this.#ranAt
    this.#ranAt = now
    if (ms < BEAT_MS + PAUSE_MS) return now
    this.#catchUpUntil = now + CATCH_UP_MS
    this.#inputsSeen = -1
    this.#server.handle(now, { kind: 'paused', ms })
    return now
  }

  /**
   * Returns whether sockets may still hold data that arrived during a pause. A turn without input means that they do
   * not.
   */
  #isCatchingUp(now: Instant): boolean {
    if (now >= this.#catchUpUntil) return false
    const hadInput = this.#inputs !== this.#inputsSeen
    this.#inputsSeen = this.#inputs
    if (!hadInput) this.#catchUpUntil = Number.NEGATIVE_INFINITY
    return hadInput
  }

  #setTimer(now: Instant): void {
    const at = this.#server.nextTimeout()
    if (at !== undefined && at <= now) {
      // Already due, but pending inputs come first.
      this.#due ??= setImmediate(this.#dueNow)
      return
    }
    // One that fires early is set again then. Messages of sensors move the deadline in most turns, and to set it takes 0.3 us.
    if (at === undefined || (this.#timeoutAt !== undefined && this.#timeoutAt <= at)) return
    if (this.#timeout !== undefined) clearTimeout(this.#timeout)
    this.#timeoutAt = at
    // Rounded up: a timer that fires a fraction of a millisecond early would have nothing to do and be set again.
    this.#timeout = setTimeout(this.#timedOut, Math.min(Math.ceil(at - now), TIMEOUT_MAX))
  }
}

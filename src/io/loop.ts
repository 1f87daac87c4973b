import { performance } from 'node:perf_hooks'
import type { Instant } from '../base/machine.ts'
import type { AuthAnswer, AuthRequest } from '../broker/access.ts'
import type { RouteKey } from '../gateway/gateway.ts'
import type { ConnectionId, StreamInfo } from '../mqtt/connections.ts'
import type { LinkId } from '../mqtt/link.ts'
import type { Server, ServerInput } from '../server.ts'
import type { WallClock } from '../store/store.ts'

/** What the loop writes a connection's bytes to. */
export interface Stream {
  write(bytes: Uint8Array): void
  /** Sends what was written, then ends, even if the peer does not read. */
  end(): void
  pause(): void
  resume(): void
}

const NOBODY_VERIFIES: AuthAnswer = {
  kind: 'refused',
  reasonCode: 0x88,
  reason: 'there is nobody to ask',
}

/** Who finds out who a client is; never rejects. */
export interface Verifier {
  authenticate(request: AuthRequest): Promise<AuthAnswer>
  /** The client of this link has gone before the answer came. */
  abandon(link: LinkId): void
}

/** Milliseconds that setTimeout can count; a later deadline is looked at again when they have passed. */
const TIMEOUT_MAX = 2 ** 31 - 1

export const instant = (): Instant => performance.now()
export const wallClock = (): WallClock => ({ epoch: Date.now() - performance.now() })

/**
 * Drives the server with real time. Inputs of one turn of the event loop are taken in first, then everything that they led to is written,
 * so that a socket gets one write per turn however many packets that is.
 */
export class Loop {
  readonly #server: Server
  readonly #streams = new Map<ConnectionId, Stream>()
  #sendDatagram: (route: RouteKey, bytes: Uint8Array) => void = () => {}
  #verifier: Verifier | undefined
  #nextConnection = 1
  #flushing: NodeJS.Immediate | undefined
  #timeout: NodeJS.Timeout | undefined
  #timeoutAt: Instant | undefined
  #due: NodeJS.Immediate | undefined
  #writing = false

  constructor(server: Server) {
    this.#server = server
  }

  get connectionCount(): number {
    return this.#streams.size
  }

  sendDatagramsBy(send: (route: RouteKey, bytes: Uint8Array) => void): void {
    this.#sendDatagram = send
  }

  authenticateBy(verifier: Verifier): void {
    this.#verifier = verifier
  }

  /** As `Connections.arriving`. */
  arriving(peer: string): string | undefined {
    return this.#server.connections.arriving(peer)
  }

  lingering(peer: string): void {
    this.#server.connections.lingering(peer)
  }

  arrived(peer: string): void {
    this.#server.connections.arrived(peer)
  }

  opened(stream: Stream, from: StreamInfo): ConnectionId {
    const connection = this.#nextConnection++
    this.#streams.set(connection, stream)
    this.handle({ kind: 'opened', connection, from })
    return connection
  }

  closed(connection: ConnectionId, reason: string): void {
    if (this.#streams.delete(connection)) this.handle({ kind: 'closed', connection, reason })
  }

  handle(input: ServerInput): void {
    this.#server.handle(instant(), input)
    // What a socket says while it is written to is for the loop that writes.
    if (this.#writing) return
    if (this.#server.backlogged) this.flush()
    else this.#flushing ??= setImmediate(this.#flushNow)
  }

  /** Writes everything that the server has to say, and sets the timer for what it waits for. */
  flush(): void {
    const now = instant()
    this.#writing = true
    for (let output = this.#server.poll(now); output !== undefined; output = this.#server.poll(now)) {
      if (output.kind === 'datagram') this.#sendDatagram(output.route, output.bytes)
      else if (output.kind === 'auth') void this.#verify(output.request)
      else if (output.kind === 'auth-abandoned') this.#verifier?.abandon(output.link)
      else {
        const stream = this.#streams.get(output.connection)
        if (output.kind === 'write') stream?.write(output.bytes)
        else if (output.kind === 'pause') stream?.pause()
        else if (output.kind === 'resume') stream?.resume()
        else {
          this.#streams.delete(output.connection)
          stream?.end()
        }
      }
    }
    this.#writing = false
    this.#setTimer(now)
  }

  stop(): void {
    if (this.#flushing !== undefined) clearImmediate(this.#flushing)
    if (this.#timeout !== undefined) clearTimeout(this.#timeout)
    if (this.#due !== undefined) clearImmediate(this.#due)
  }

  async #verify(request: AuthRequest): Promise<void> {
    const answer = (await this.#verifier?.authenticate(request)) ?? NOBODY_VERIFIES
    this.handle({ kind: 'authenticated', link: request.link, step: request.step, answer })
  }

  readonly #flushNow = (): void => {
    this.#flushing = undefined
    this.flush()
  }

  readonly #timedOut = (): void => {
    this.#timeout = undefined
    this.#timeoutAt = undefined
    this.#expire()
  }

  readonly #dueNow = (): void => {
    this.#due = undefined
    this.#expire()
  }

  #expire(): void {
    this.#server.handleTimeout(instant())
    this.flush()
  }

  #setTimer(now: Instant): void {
    const at = this.#server.nextTimeout()
    if (at !== undefined && at <= now) {
      // Due already, but everybody else's turn comes first.
      this.#due ??= setImmediate(this.#dueNow)
      return
    }
    if (at === this.#timeoutAt) return
    if (this.#timeout !== undefined) clearTimeout(this.#timeout)
    this.#timeoutAt = at
    // Rounded up: a timer that fires a fraction early finds nothing to do and has to be set again.
    this.#timeout =
      at === undefined ? undefined : setTimeout(this.#timedOut, Math.min(Math.ceil(Math.max(0, at - now)), TIMEOUT_MAX))
  }
}

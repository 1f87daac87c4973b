import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import type { Memory, OverMemory } from '../base/memory.ts'
import { COST, stringBytes } from '../base/memory-costs.ts'
import { PacketType, type Subscribe, type Unsubscribe } from '../mqtt/packets.ts'
import type { ClientLink } from './client-link.ts'

/** Cost of all SUBSCRIBEs and UNSUBSCRIBEs in one turn, in levels examined: a few milliseconds. */
export const TURN_LOOKS = 2048
/** The smallest share of one of them. */
const SHARE_LEAST = 64

/** Bytes of a pending SUBSCRIBE or UNSUBSCRIBE. */
export function bytesOf(packet: Subscribe | Unsubscribe): number {
  let bytes = 0
  if (packet.type === PacketType.SUBSCRIBE)
    for (const { filter } of packet.subscriptions) bytes += COST.filter + stringBytes(filter)
  else for (const filter of packet.filters) bytes += stringBytes(filter)
  return bytes
}

/** Work in steps: yields the cost of each step, receives the current time, and returns its result. */
export type Work<T> = Generator<number, T, Instant>

/** Part of the memory that pending packets may take; beyond it only small packets are accepted. */
const UNDER_WAY_PART = 1 / 8
const SMALL_BYTES = 4096

interface Request {
  readonly link: ClientLink
  /** Bytes while it is pending. */
  readonly bytes: number
  readonly work: Work<unknown>
  readonly done: (now: Instant, result: never) => void
}

/**
 * SUBSCRIBE and UNSUBSCRIBE in steps: ten thousand filters, or a wildcard among a hundred thousand retained messages, take many
 * turns of the event loop, shared with everything else. Small requests complete immediately. The client is not read meanwhile, so
 * that its packets keep their order. The end of a session that a CONNECT waits for is done in the same way.
 */
export class Requests {
  #left = TURN_LOOKS
  readonly #waiting = new Fifo<Request>()
  readonly #bytesMost: number
  /** Bytes of pending packets. */
  #bytes = 0

  constructor(memory: Memory) {
    this.#bytesMost = memory.limits.memoryLimit * UNDER_WAY_PART
    memory.count('receive_buffers', () => this.#bytes)
  }

  /** When pending requests continue: as soon as everything else has had its turn. */
  next(): Instant | undefined {
    return this.#waiting.length === 0 ? undefined : OVERDUE
  }

  /** Starts a request; `bytes` is the size of its packet. If too much is pending already, does nothing and returns the limit. */
  begin<T>(
    now: Instant,
    link: ClientLink,
    bytes: number,
    work: Work<T>,
    done: (now: Instant, result: T) => void,
  ): OverMemory | undefined {
    const request: Request = { link, bytes, work, done: done as Request['done'] }
    // While its link is busy, only a stream that has ended delivers more packets: they need no answer, and the previous
    // request is not complete.
    if (link.busy !== '') return undefined
    if (bytes > SMALL_BYTES && this.#bytes + bytes > this.#bytesMost)
      return { limit: 'memory_limit', reason: `${bytes} bytes of filters beside ${this.#bytes} bytes that are under way` }
    link.busy = 'request'
    if (this.#goOn(now, request, this.#left)) return undefined
    this.#waiting.push(request)
    this.#bytes += bytes
    return undefined
  }

  handleTimeout(now: Instant): void {
    for (let count = this.#waiting.length; count > 0 && this.#left > 0; count--) {
      const request = this.#waiting.shift()
      // A completed request may end other connections, with their requests.
      if (request === undefined) return
      const share = Math.max(SHARE_LEAST, this.#left / count)
      if (this.#goOn(now, request, share)) this.#bytes -= request.bytes
      else this.#waiting.push(request)
    }
  }

  /** The turn is over. */
  endTurn(): void {
    this.#left = TURN_LOOKS
  }

  /** The connection has ended: drops its request; completed steps stay. */
  abandon(link: ClientLink): void {
    if (link.busy !== 'request') return
    this.#waiting.filter((request) => {
      if (request.link !== link) return true
      request.work.return(undefined)
      this.#bytes -= request.bytes
      return false
    })
  }

  /** False if there is more to do. */
  #goOn(now: Instant, { link, work, done }: Request, share: number): boolean {
    for (let left = share; left > 0; ) {
      const step = work.next(now)
      if (step.done === true) {
        link.busy = ''
        done(now, step.value as never)
        link.wake()
        return true
      }
      left -= step.value
      this.#left -= step.value
    }
    return false
  }
}

/** Before any instant. */
const OVERDUE = 0

import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import type { Memory, OverMemory } from '../base/memory.ts'
import { COST, stringBytes } from '../base/memory-costs.ts'
import { PacketType, type Subscribe, type Unsubscribe } from '../mqtt/packets.ts'
import type { ClientLink } from './client-link.ts'

/** What SUBSCRIBEs and UNSUBSCRIBEs may cost in one turn, all of them together: a few milliseconds. */
export const TURN_LOOKS = 2048
/** What each of them gets of it where there are many. */
const SHARE_LEAST = 64

/** What a SUBSCRIBE or UNSUBSCRIBE holds. */
export function bytesOf(packet: Subscribe | Unsubscribe): number {
  let bytes = 0
  if (packet.type === PacketType.SUBSCRIBE)
    for (const { filter } of packet.subscriptions) bytes += COST.filter + stringBytes(filter)
  else for (const filter of packet.filters) bytes += stringBytes(filter)
  return bytes
}

/** Work that can be left off and taken up again: yields what each step has cost, is told the time, and gives what it comes to. */
export type Work<T> = Generator<number, T, Instant>

/** Part of the memory that the packets under way may take; what is new then has to be small. */
const UNDER_WAY_PART = 1 / 8
const SMALL_BYTES = 4096

interface Request {
  readonly link: ClientLink
  /** What it holds as long as it is under way. */
  readonly bytes: number
  readonly work: Work<unknown>
  readonly done: (now: Instant, result: never) => void
}

/**
 * SUBSCRIBE and UNSUBSCRIBE in steps: ten thousand filters, or a wildcard among a hundred thousand retained messages, take many turns of the event loop, in
 * which everybody else goes on. What costs little is done at once. The client is not read meanwhile, so that its own packets keep their order. So is the
 * end of a session that a CONNECT waits for.
 */
export class Requests {
  #left = TURN_LOOKS
  readonly #waiting = new Fifo<Request>()
  readonly #bytesMost: number
  /** What the packets hold that are under way. */
  #bytes = 0

  constructor(memory: Memory) {
    this.#bytesMost = memory.limits.memoryLimit * UNDER_WAY_PART
    memory.count('receive_buffers', () => this.#bytes)
  }

  /** When they go on: as soon as everybody else has had a turn. */
  next(): Instant | undefined {
    return this.#waiting.length === 0 ? undefined : OVERDUE
  }

  /** `bytes`: what the packet holds. Gives the bound, and does nothing, where too much is under way already. */
  begin<T>(
    now: Instant,
    link: ClientLink,
    bytes: number,
    work: Work<T>,
    done: (now: Instant, result: T) => void,
  ): OverMemory | undefined {
    const request: Request = { link, bytes, work, done: done as Request['done'] }
    // Only a stream that is gone brings more while its link is held: nobody is left to answer, and the request before is not done either.
    if (link.busy) return undefined
    if (bytes > SMALL_BYTES && this.#bytes + bytes > this.#bytesMost)
      return { limit: 'memory_limit', reason: `${bytes} bytes of filters beside ${this.#bytes} bytes that are under way` }
    link.busy = true
    if (this.#goOn(now, request, this.#left)) return undefined
    this.#waiting.push(request)
    this.#bytes += bytes
    return undefined
  }

  handleTimeout(now: Instant): void {
    for (let count = this.#waiting.length; count > 0 && this.#left > 0; count--) {
      const request = this.#waiting.shift()
      // What is done may end other conversations, with what they wait for.
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

  /** The conversation is over: nobody waits for the answer, and what has been done stays done. */
  abandon(link: ClientLink): void {
    if (!link.busy) return
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
        link.busy = false
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

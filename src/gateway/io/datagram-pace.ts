import { performance } from 'node:perf_hooks'
import { Fifo } from '../../base/fifo.ts'
import type { NoticeSink } from '../../base/notice.ts'
import type { RouteKey } from '../ports/route.ts'
import type { Receive } from './datagram-port.ts'

/** Milliseconds for which datagrams are handled one after another in one turn of the event loop. */
const TURN_MS = 5
/** Memory in bytes that a waiting datagram takes beside its octets. */
const WAITING_BYTES = 256

/**
 * Shares the turns of the event loop between datagrams and everything else. Node reads up to 32 of a socket in one turn,
 * each up to 64 KiB long. Once they have taken `TURN_MS`, the rest waits for the next turn, in order.
 */
export class DatagramPace {
  readonly #receive: Receive
  readonly #notice: NoticeSink
  readonly #maxWaiting: number
  readonly #now: () => number
  readonly #waiting = new Fifo<{ readonly route: RouteKey; readonly bytes: Uint8Array }>()
  #waitingBytes = 0
  /** When the first datagram of this turn was handled. */
  #began = 0
  /** Begins the next turn; set in a turn that has had a datagram, and while any wait. */
  #turn: NodeJS.Immediate | undefined

  /** @param maxWaiting maximum memory in bytes of the datagrams that wait (sn_receive_queue_bytes) */
  constructor(receive: Receive, notice: NoticeSink, maxWaiting: number, now: () => number = () => performance.now()) {
    this.#receive = receive
    this.#notice = notice
    this.#maxWaiting = maxWaiting
    this.#now = now
  }

  /** Memory in bytes of the datagrams that wait. */
  get waitingBytes(): number {
    return this.#waitingBytes
  }

  /** Handles a datagram, now or in one of the next turns. */
  readonly receive: Receive = (route, bytes) => {
    const now = this.#now()
    if (this.#turn === undefined) {
      this.#began = now
      this.#turn = setImmediate(this.#next)
    } else if (this.#waiting.length > 0 || now - this.#began >= TURN_MS) {
      this.#wait(route, bytes)
      return
    }
    this.#receive(route, bytes)
  }

  /** Drops what waits: its senders retransmit what matters. */
  stop(): void {
    if (this.#turn !== undefined) clearImmediate(this.#turn)
    this.#turn = undefined
    this.#waiting.clear()
    this.#waitingBytes = 0
  }

  #wait(route: RouteKey, bytes: Uint8Array): void {
    const memory = bytes.length + WAITING_BYTES
    if (this.#waitingBytes + memory > this.#maxWaiting) {
      const reason = 'a datagram is dropped, because too many wait to be handled'
      this.#notice({ code: 'limit-reached', level: 'warn', peer: route, reason, limit: 'sn_receive_queue_bytes' })
      return
    }
    this.#waitingBytes += memory
    this.#waiting.push({ route, bytes })
  }

  readonly #next = (): void => {
    this.#turn = undefined
    if (this.#waiting.length === 0) return
    this.#began = this.#now()
    do {
      const { route, bytes } = this.#waiting.shift()!
      this.#waitingBytes -= bytes.length + WAITING_BYTES
      this.#receive(route, bytes)
    } while (this.#waiting.length > 0 && this.#now() - this.#began < TURN_MS)
    // Also if none waits any more: those that arrive before everything else had its turn belong to this one.
    this.#turn = setImmediate(this.#next)
  }
}

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
  readonly #turns: () => number
  readonly #now: () => number
  readonly #waiting = new Fifo<{ readonly route: RouteKey; readonly bytes: Uint8Array }>()
  #waitingBytes = 0
  /** The turn in which a datagram was last handled, and when the first of that turn was. */
  #turn = -1
  #began = 0
  /** Continues in the next turn; set while any wait. */
  #next: NodeJS.Immediate | undefined

  /**
   * @param maxWaiting maximum memory in bytes of the datagrams that wait (sn_receive_queue_bytes)
   * @param turns number of the event loop's current turn
   */
  constructor(
    receive: Receive,
    notice: NoticeSink,
    maxWaiting: number,
    turns: () => number,
    now: () => number = () => performance.now(),
  ) {
    this.#receive = receive
    this.#notice = notice
    this.#maxWaiting = maxWaiting
    this.#turns = turns
    this.#now = now
  }

  /** Memory in bytes of the datagrams that wait. */
  get waitingBytes(): number {
    return this.#waitingBytes
  }

  /** Handles a datagram, now or in one of the next turns. */
  readonly receive: Receive = (route, bytes) => {
    const turn = this.#turns()
    if (turn !== this.#turn && this.#waiting.length === 0) {
      this.#turn = turn
      this.#began = this.#now()
    } else if (this.#waiting.length > 0 || this.#now() - this.#began >= TURN_MS) {
      this.#wait(route, bytes)
      return
    }
    this.#receive(route, bytes)
  }

  /** Drops what waits: its senders retransmit what matters. */
  stop(): void {
    if (this.#next !== undefined) clearImmediate(this.#next)
    this.#next = undefined
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
    this.#next ??= setImmediate(this.#continue)
  }

  readonly #continue = (): void => {
    this.#began = this.#now()
    do {
      const { route, bytes } = this.#waiting.shift()!
      this.#waitingBytes -= bytes.length + WAITING_BYTES
      this.#receive(route, bytes)
    } while (this.#waiting.length > 0 && this.#now() - this.#began < TURN_MS)
    // Those that arrive before everything else had its turn belong to this one.
    this.#turn = this.#turns()
    this.#next = this.#waiting.length > 0 ? setImmediate(this.#continue) : undefined
  }
}

import type { EventEmitter } from 'node:events'
import type { Notice, NoticeCode } from '../base/notice.ts'
import type { ClientEvents, Connected, Disconnected, Slept, Woken } from '../mqtt/client-events.ts'
import type { ConnectEvent, DisconnectEvent, SleepEvent, WakeEvent } from '../process/hooks.ts'
import { stackOf } from './stack-of.ts'

/**
 * Events of a broker, with their arguments. Each listener is called soon after what it is about, outside of the broker; what it throws
 * is logged. The subscriptions of the program itself cause no events but notices.
 */
export interface RoostEvents {
  /** A client has connected: CONNACK with success. */
  connected: [client: ConnectEvent]
  /** A client has sent DISCONNECT. */
  disconnected: [client: DisconnectEvent]
  /** A connection has ended without DISCONNECT: broken, silent for too long, or closed by the broker. */
  lost: [client: DisconnectEvent]
  /** A sensor has gone to sleep, or sleeps again after it has fetched its messages. */
  asleep: [sensor: SleepEvent]
  /** A sensor has woken to fetch its messages. */
  awake: [sensor: WakeEvent]
  /** One or more messages for a client were dropped: `queue-full` or `message-dropped` (docs/notices.md). */
  dropped: [notice: Notice]
  /** `store-failed`, `store-full` or `store-damaged`: nothing that needs the disk is acknowledged until `store-recovered`. */
  'store-failed': [notice: Notice]
  /** Every notice (docs/notices.md), those above among them. */
  notice: [notice: Notice]
}

type Name = keyof RoostEvents
type Event = { readonly [N in Name]: { readonly name: N; readonly about: RoostEvents[N][0] } }[Name]

const EVENT_OF: Partial<Record<NoticeCode, 'dropped' | 'store-failed'>> = {
  'queue-full': 'dropped',
  'message-dropped': 'dropped',
  'store-failed': 'store-failed',
  'store-full': 'store-failed',
  'store-damaged': 'store-failed',
}

/** Events that wait for their listeners at most: those of one turn of the event loop. */
const WAITING_MAX = 100_000

/** Takes note of events in the middle of what they are about, and calls the listeners afterwards. */
export class EventQueue implements ClientEvents {
  readonly #failed: (line: string) => void
  #emitter: EventEmitter<RoostEvents> | undefined
  #waiting: Event[] = []
  #missed = 0
  #isStopped = false

  /** `failed`: logs a line about a listener that has thrown. */
  constructor(failed: (line: string) => void) {
    this.#failed = failed
  }

  /** From here on events go there. */
  emitTo(emitter: EventEmitter<RoostEvents>): void {
    this.#emitter = emitter
  }

  /** Nothing is emitted any more, after what waits. */
  stop(): void {
    this.#isStopped = true
  }

  readonly onConnect = (about: Connected): void => this.#note({ name: 'connected', about })
  readonly onDisconnect = (about: Disconnected): void => this.#note({ name: about.isLost ? 'lost' : 'disconnected', about })
  readonly onSleep = (about: Slept): void => this.#note({ name: 'asleep', about })
  readonly onWake = (about: Woken): void => this.#note({ name: 'awake', about })

  readonly onNotice = (about: Notice): void => {
    const name = EVENT_OF[about.code]
    if (name !== undefined) this.#note({ name, about })
    this.#note({ name: 'notice', about })
  }

  #note(event: Event): void {
    if (this.#isStopped || (this.#emitter?.listenerCount(event.name) ?? 0) === 0) return
    if (this.#waiting.length >= WAITING_MAX) {
      this.#missed++
      return
    }
    this.#waiting.push(event)
    if (this.#waiting.length === 1) queueMicrotask(this.#emitAll)
  }

  readonly #emitAll = (): void => {
    const [events, missed] = [this.#waiting, this.#missed]
    this.#waiting = []
    this.#missed = 0
    for (const { name, about } of events)
      for (const listener of this.#emitter?.rawListeners(name) ?? [])
        this.#call(name, listener as (about: unknown) => unknown, about)
    if (missed > 0) this.#failed(`${missed} events were not emitted: more than ${WAITING_MAX} at once`)
  }

  #call(name: Name, listener: (about: unknown) => unknown, about: unknown): void {
    const failed = (error: unknown): void => this.#failed(`a listener of '${name}' has failed: ${stackOf(error)}`)
    try {
      const result = listener.call(this.#emitter, about)
      if (result instanceof Promise) result.catch(failed)
    } catch (error) {
      failed(error)
    }
  }
}

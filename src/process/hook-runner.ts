import { inspect } from 'node:util'
import type { NoticeSink } from '../base/notice.ts'
import type { AuthRequest } from '../broker/access.ts'
import type { Hooks as CoreHooks, DeliveryFacts, MessageFacts, PublishAnswer, PublishQuestion } from '../broker/hooks.ts'
import type { ClientEvents } from '../mqtt/client-events.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import {
  accessAnswer,
  deliveryAnswer,
  HookResultError,
  isThenable,
  type LoginAnswer,
  loginAnswer,
  publishAnswer,
} from './hook-results.ts'
import type { HookName, Hooks, PublishEvent } from './hooks.ts'
import { type Message, messagePropertiesOf } from './messages.ts'

/** Milliseconds for an answer of `authenticate` and `onPublish`. */
export const HOOK_TIMEOUT_MS = 5_000
/** Milliseconds in which failures of the same hook are reported once. */
const REPORT_MS = 60_000

/**
 * Calls the functions of a program for the server: with time limits, and so that no exception reaches it. What fails counts as no:
 * nobody is let in, nothing is published or delivered because a hook has thrown.
 */
export class HookRunner {
  /** What the server sees. */
  readonly core: CoreHooks
  readonly #hooks: Hooks
  readonly #notice: NoticeSink
  readonly #timeoutMs: number
  readonly #timers = new Set<NodeJS.Timeout>()
  /** When the next failure of a hook is reported, and how many have not been. */
  readonly #failures = new Map<HookName, { until: number; unreported: number }>()
  #depth = 0

  constructor(hooks: Hooks, notice: NoticeSink, timeoutMs = HOOK_TIMEOUT_MS) {
    this.#hooks = hooks
    this.#notice = notice
    this.#timeoutMs = timeoutMs
    const { authorize, onPublish, onDeliver } = hooks
    this.core = {
      asksAboutMessages: onPublish !== undefined,
      authorize: authorize && ((question) => this.#atOnce('authorize', false, () => accessAnswer(authorize(question)))),
      onDeliver: onDeliver && ((delivery) => this.#deliver(onDeliver, delivery)),
      events: this.#events(),
    }
  }

  get authenticates(): boolean {
    return this.#hooks.authenticate !== undefined
  }

  /** True while a function runs on which the server waits: the server cannot be called from within it. */
  get isInside(): boolean {
    return this.#depth > 0
  }

  /** Ends all time limits: no answer is wanted any more. */
  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  /** Whether the client may connect. @throws Error if that is not known: the hook has thrown, or taken too long */
  async login({ info, clientId, username, password }: AuthRequest): Promise<LoginAnswer> {
    const { kind, listener, peer, identity } = info
    try {
      const result = this.#hooks.authenticate!({
        kind,
        clientId,
        username: identity ?? username,
        password: password && Buffer.from(password),
        peer,
        listener,
        certified: kind === 'mqtt' && identity !== undefined,
      })
      return loginAnswer(isThenable(result) ? await this.#inTime(result) : result)
    } catch (error) {
      throw new Error(`hook authenticate: ${this.#failed('authenticate', error)}`)
    }
  }

  /** The answer to a question of the server. Never rejects. */
  ask(question: PublishQuestion): PublishAnswer | Promise<PublishAnswer> {
    const { id: _, kind, clientId, username, listener, ...rest } = question
    const message: PublishEvent = Object.freeze({ kind, clientId, username, listener, ...messageFor(rest) })
    try {
      const result: unknown = this.#hooks.onPublish!(message)
      return isThenable(result) ? this.#later(result, message) : publishAnswer(result, message)
    } catch (error) {
      return this.#refused(error)
    }
  }

  async #later(result: PromiseLike<unknown>, message: PublishEvent): Promise<PublishAnswer> {
    try {
      return publishAnswer(await this.#inTime(result), message)
    } catch (error) {
      return this.#refused(error)
    }
  }

  #refused(error: unknown): PublishAnswer {
    const reason = `hook onPublish: ${this.#failed('onPublish', error)}`
    return { kind: 'refused', reasonCode: ReasonCode.UNSPECIFIED_ERROR, reason }
  }

  #deliver(onDeliver: NonNullable<Hooks['onDeliver']>, delivery: DeliveryFacts): ReturnType<NonNullable<CoreHooks['onDeliver']>> {
    const { kind, clientId, username, listener, from, ...rest } = delivery
    const message = Object.freeze({ kind, clientId, username, listener, from, ...messageFor(rest) })
    return this.#atOnce('onDeliver', 'drop', () => deliveryAnswer(onDeliver(message), message))
  }

  #atOnce<T, F>(name: HookName, whenFailed: F, call: () => T): T | F {
    this.#depth++
    try {
      return call()
    } catch (error) {
      this.#failed(name, error)
      return whenFailed
    } finally {
      this.#depth--
    }
  }

  #events(): ClientEvents | undefined {
    const { onConnect, onDisconnect, onSleep, onWake, onRegister } = this.#hooks
    const all = [onConnect, onDisconnect, onSleep, onWake, onRegister]
    if (all.every((hook) => hook === undefined)) return undefined
    return {
      onConnect: this.#told('onConnect', onConnect),
      onDisconnect: this.#told('onDisconnect', onDisconnect),
      onSleep: this.#told('onSleep', onSleep),
      onWake: this.#told('onWake', onWake),
      onRegister: this.#told('onRegister', onRegister),
    }
  }

  /** Called when the input is handled, because the server is not reentrant. */
  #told<E>(name: HookName, hook: ((event: E) => unknown) | undefined): ((event: E) => void) | undefined {
    if (hook === undefined) return undefined
    return (event) =>
      queueMicrotask(() => {
        try {
          const result = hook(event)
          if (isThenable(result)) result.then(undefined, (error: unknown) => this.#failed(name, error))
        } catch (error) {
          this.#failed(name, error)
        }
      })
  }

  /** The result of a promise. @throws Error if that takes too long */
  #inTime<T>(later: PromiseLike<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#timers.delete(timer)
      }
      const late = (): void => {
        this.#timers.delete(timer)
        reject(new HookResultError(`no answer after ${this.#timeoutMs / 1000} s`))
      }
      const timer = setTimeout(late, this.#timeoutMs)
      this.#timers.add(timer)
      later.then(
        (value) => {
          done()
          resolve(value)
        },
        (error: unknown) => {
          done()
          reject(error)
        },
      )
    })
  }

  /** Reports that a hook has failed, once a minute. Returns why, in one line. */
  #failed(name: HookName, error: unknown): string {
    const why = error instanceof HookResultError ? error.message : describe(error)
    const now = performance.now()
    const failures = this.#failures.get(name)
    if (failures !== undefined && now < failures.until) {
      failures.unreported++
      return why
    }
    this.#failures.set(name, { until: now + REPORT_MS, unreported: 0 })
    this.#notice({ code: 'hook-failed', level: 'error', reason: `${name}: ${why}`, count: 1 + (failures?.unreported ?? 0) })
    return why
  }
}

/** Hooks, and others who are told of the life of clients. */
export function withEvents(hooks: CoreHooks | undefined, events: ClientEvents | undefined): CoreHooks | undefined {
  if (hooks?.events === undefined || events === undefined) return events === undefined ? hooks : { ...hooks, events }
  const { events: first } = hooks
  return {
    ...hooks,
    events: {
      onConnect: both(first.onConnect, events.onConnect),
      onDisconnect: both(first.onDisconnect, events.onDisconnect),
      onSleep: both(first.onSleep, events.onSleep),
      onWake: both(first.onWake, events.onWake),
      onRegister: both(first.onRegister, events.onRegister),
    },
  }
}

type Listener<E> = ((event: E) => void) | undefined

const both = <E>(one: Listener<E>, other: Listener<E>): Listener<E> =>
  one === undefined || other === undefined
    ? (one ?? other)
    : (event) => {
        one(event)
        other(event)
      }

/** `TypeError: x is not a function (hooks.mjs:3:5)`: the place is that of the first line of the stack that is not ours. */
function describe(error: unknown): string {
  if (!(error instanceof Error))
    return `thrown: ${inspect(error, { depth: 0, breakLength: Number.POSITIVE_INFINITY }).slice(0, 200)}`
  const place = /\n\s+at (?:.*\()?(?:file:\/\/)?([^()\n]*:\d+:\d+)\)?/.exec(error.stack ?? '')?.[1]
  const first = `${error.name}: ${error.message}`.split('\n', 1)[0]!
  return place === undefined || place.startsWith('node:') ? first : `${first} (${place})`
}

/** A copy that the program may keep. It is frozen, apart from the payload: what a hook changed in it would be lost. */
function messageFor({ topic, payload, qos, retain, properties: given }: MessageFacts): Message {
  const properties = Object.freeze(messagePropertiesOf(given))
  if (properties.userProperties !== undefined) for (const pair of Object.freeze(properties.userProperties)) Object.freeze(pair)
  return { topic, payload: Buffer.from(payload), qos, retain, properties }
}

import type { Message } from '../process/messages.ts'
import type { LocalClient, Taken } from './local-client.ts'

/**
 * Called with one message at a time, in order: the next follows when this has returned or its promise has resolved, and then this
 * one is acknowledged. An exception is logged, and the message counts as handled.
 */
export type MessageHandler = (message: Message) => unknown

/** A subscription with a handler. */
export interface Subscription extends AsyncDisposable {
  /** As it was given to `subscribe`. */
  readonly filter: string
  /** Ends it. What waits for it is discarded. Further calls do nothing. */
  unsubscribe(): Promise<void>
}

/** A subscription without a handler: `for await (const message of subscription)`. */
export interface MessageIterator extends Subscription, AsyncIterableIterator<Message> {
  /**
   * The next message; the one before is acknowledged. Done after `unsubscribe`, `return` or `stop`. Rejects with a RoostError if the
   * broker has ended the subscription.
   */
  next(): Promise<IteratorResult<Message, undefined>>
  return(): Promise<IteratorResult<Message, undefined>>
  [Symbol.asyncIterator](): this
}

/** What both kinds share: when messages are taken from the client. */
abstract class Base implements Subscription {
  readonly filter: string
  protected readonly client: LocalClient
  /** The program does not take messages at the moment, and the broker has been told. */
  #isDeaf = false
  readonly #onEnd: () => void

  constructor(filter: string, client: LocalClient, onEnd: () => void) {
    this.filter = filter
    this.client = client
    this.#onEnd = onEnd
  }

  /** There may be messages. */
  abstract ready(): void

  protected listen(on: boolean): void {
    if (this.#isDeaf !== on) return
    this.#isDeaf = !on
    this.client.listen(on)
  }

  async unsubscribe(): Promise<void> {
    this.client.close()
    this.#onEnd()
    this.ready()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unsubscribe()
  }
}

export class HandledSubscription extends Base {
  readonly #handler: MessageHandler
  readonly #failed: (error: unknown) => void
  #isBusy = false
  /** The handler's promise is pending. */
  #isWaiting = false

  constructor(filter: string, client: LocalClient, onEnd: () => void, handler: MessageHandler, failed: (error: unknown) => void) {
    super(filter, client, onEnd)
    this.#handler = handler
    this.#failed = failed
  }

  ready(): void {
    if (!this.#isBusy) void this.#handleAll()
    else if (this.#isWaiting) this.listen(false)
  }

  async #handleAll(): Promise<void> {
    this.#isBusy = true
    for (;;) {
      this.listen(true)
      const taken = this.client.take()
      if (taken.length === 0) break
      await this.#handle(taken)
      // Sockets have their turn.
      await new Promise((next) => setImmediate(next))
    }
    this.#isBusy = false
  }

  async #handle(messages: readonly Taken[]): Promise<void> {
    const { client } = this
    let handled: Taken[] = []
    for (const taken of messages) {
      if (client.closed !== undefined) return
      try {
        const result = this.#handler(taken.message)
        if (isPromise(result)) {
          client.done(handled)
          handled = []
          this.#isWaiting = true
          await result
        }
      } catch (error) {
        this.#failed(error)
      }
      this.#isWaiting = false
      handled.push(taken)
    }
    client.done(handled)
  }
}

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function'

interface Waiting {
  resolve(result: IteratorResult<Message, undefined>): void
  reject(error: unknown): void
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined }

export class IteratedSubscription extends Base implements MessageIterator {
  /** Taken, and not handed out yet. */
  #taken: Taken[] = []
  /** Handed out, and not acknowledged yet. */
  #out: Taken[] = []
  #waiting: Waiting[] = []

  constructor(filter: string, client: LocalClient, onEnd: () => void) {
    super(filter, client, onEnd)
    this.listen(false)
  }

  ready(): void {
    if (this.#waiting.length === 0) this.listen(false)
    else this.#serve()
  }

  next(): Promise<IteratorResult<Message, undefined>> {
    return new Promise((resolve, reject) => {
      this.client.done(this.#out)
      this.#out = []
      this.#waiting.push({ resolve, reject })
      this.#serve()
    })
  }

  async return(): Promise<IteratorResult<Message, undefined>> {
    await this.unsubscribe()
    return DONE
  }

  override async unsubscribe(): Promise<void> {
    this.#taken = []
    await super.unsubscribe()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #serve(): void {
    while (this.#waiting.length > 0) {
      if (this.#taken.length === 0) {
        this.listen(true)
        this.#taken = this.client.take().reverse()
      }
      const taken = this.#taken.pop()
      if (taken !== undefined) {
        this.#out.push(taken)
        this.#waiting.shift()!.resolve({ done: false, value: taken.message })
      } else {
        const { closed } = this.client
        if (closed === undefined) return
        const { resolve, reject } = this.#waiting.shift()!
        if (closed.reasonCode === 0) resolve(DONE)
        else reject(closed)
      }
    }
  }
}

import type { Message } from '../process/messages.ts'
import type { RoostError } from './error.ts'
import type { LocalClient, Taken } from './local-client.ts'
import type { MessageHandler, MessageIterator, Subscription } from './roost.ts'

/** What the broker knows of a subscription of the program, beyond what the program does. */
export interface LocalSubscription extends Subscription {
  readonly clientId: string
  readonly isDurable: boolean
  /** `stop` should wait: the program is dealing with a message, or will with the next. */
  readonly isBusy: boolean
  /** A handler is dealing with a message. */
  readonly isHandling: boolean
  /** Messages that the program has not been given. */
  readonly left: number
  /** There may be messages. */
  ready(): void
  /** `stop` was called. */
  stopping(): void
  /** Ends it, but not the session of one that is durable. */
  leave(): void
}

/** What both kinds share: when messages are taken from the client. */
abstract class Base implements LocalSubscription {
  readonly filter: string
  protected readonly client: LocalClient
  /** The program does not take messages at the moment, and the broker has been told. */
  #isDeaf = false
  readonly #onEnd: () => unknown

  constructor(filter: string, client: LocalClient, onEnd: () => unknown) {
    this.filter = filter
    this.client = client
    this.#onEnd = onEnd
  }

  get clientId(): string {
    return this.client.clientId
  }

  get isDurable(): boolean {
    return this.client.isDurable
  }

  abstract readonly isBusy: boolean
  abstract readonly isHandling: boolean
  abstract readonly left: number
  abstract ready(): void
  abstract stopping(): void

  protected listen(on: boolean): void {
    if (this.#isDeaf !== on) return
    this.#isDeaf = !on
    this.client.listen(on)
  }

  async unsubscribe(): Promise<void> {
    const ended = this.client.end()
    this.#gone()
    await ended
  }

  leave(): void {
    this.client.leave()
    this.#gone()
  }

  #gone(): void {
    this.#onEnd()
    this.ready()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.leave()
  }
}

/** What the program learns only from the log, because nobody waits for it. */
export interface HandlerReports {
  /** The handler has thrown, or its promise was rejected. */
  failed(error: unknown): void
  /** The same after `stop` was called: the message is kept for the next start. */
  kept(error: unknown): void
  /** The broker has ended the subscription. */
  ended(error: RoostError): void
}

export class HandledSubscription extends Base {
  readonly #handler: MessageHandler
  readonly #reports: HandlerReports
  #isBusy = false
  /** The handler's promise is pending. */
  #isWaiting = false
  /** The handler has been called, and has not returned. */
  #isCalling = false
  /** The handler has called `stop`, and may wait for it: `stop` does not wait for the handler. */
  #hasStopped = false
  /** Messages that were taken from the client, and the handler has not been called with. */
  #taken = 0
  /** `stop` was called. */
  #isStopping = false
  /** The handler of a durable subscription has failed since then: its message, and those after it, wait for the next start. */
  #hasGivenUp = false
  /** The broker has ended it, and that has been reported. */
  #isOver = false

  constructor(filter: string, client: LocalClient, onEnd: () => unknown, handler: MessageHandler, reports: HandlerReports) {
    super(filter, client, onEnd)
    this.#handler = handler
    this.#reports = reports
  }

  get isBusy(): boolean {
    const { closed, backlog } = this.client
    if (closed !== undefined || this.#hasGivenUp || (this.#isWaiting && this.#hasStopped)) return false
    return this.#isBusy || backlog > 0
  }

  get isHandling(): boolean {
    return this.#isWaiting && !this.#hasStopped
  }

  get left(): number {
    return this.#taken + this.client.backlog
  }

  stopping(): void {
    this.#isStopping = true
    this.#hasStopped = this.#isCalling
  }

  ready(): void {
    if (this.#hasGivenUp) return
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
      if (this.#hasGivenUp) break
      // Sockets have their turn.
      await new Promise((next) => setImmediate(next))
    }
    this.#isBusy = false
    const { closed } = this.client
    if (closed !== undefined && closed.reasonCode !== 0 && !this.#isOver) {
      this.#isOver = true
      this.#reports.ended(closed)
    }
  }

  async #handle(messages: readonly Taken[]): Promise<void> {
    const { client } = this
    let handled: Taken[] = []
    this.#taken = messages.length
    for (const taken of messages) {
      if (client.closed !== undefined) break
      this.#taken--
      try {
        const result = this.#call(taken.message)
        if (isPromise(result)) {
          client.done(handled)
          handled = []
          this.#isWaiting = true
          await result
        }
      } catch (error) {
        this.#hasGivenUp = this.#isStopping && this.isDurable
        if (this.#hasGivenUp) this.#reports.kept(error)
        else this.#reports.failed(error)
      }
      this.#isWaiting = false
      if (this.#hasGivenUp) {
        this.#taken++
        client.done(handled)
        return
      }
      handled.push(taken)
    }
    this.#taken = 0
    client.done(handled)
  }

  #call(message: Message): unknown {
    this.#isCalling = true
    this.#hasStopped = false
    try {
      return this.#handler(message)
    } finally {
      this.#isCalling = false
    }
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

  constructor(filter: string, client: LocalClient, onEnd: () => unknown) {
    super(filter, client, onEnd)
    this.listen(false)
  }

  /** A loop that asks at once for the next message gets all of them; one that does something else meanwhile does not. */
  get isBusy(): boolean {
    return this.client.closed === undefined && this.#waiting.length > 0 && this.client.backlog > 0
  }

  get isHandling(): boolean {
    return false
  }

  get left(): number {
    return this.#taken.length + this.client.backlog
  }

  stopping(): void {}

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
    this.leave()
    return DONE
  }

  override async unsubscribe(): Promise<void> {
    this.#taken = []
    await super.unsubscribe()
  }

  override leave(): void {
    this.#taken = []
    super.leave()
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

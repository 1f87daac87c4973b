import type { Instant } from '../../base/machine.ts'
import { stringBytes } from '../../base/memory-costs.ts'
import { Timer } from '../../base/timers.ts'
import { type Message, MsgType, type SnConnect, type WillTopic } from '../../mqttsn/messages.ts'
import { retryDelayMs } from '../ports/retry-profile.ts'
import type { GatewayClient } from './client.ts'
import type { ClientTimer } from './client-host.ts'
import type { State } from './state-table.ts'

export const topicBytes = ({ topic = '' }: WillTopic): number => stringBytes(topic)

/**
 * The will dialogue of a CONNECT with the Will flag: WILLTOPICREQ, then WILLMSGREQ, each resent until answered [1.2 section
 * 6.2].
 */
export class WillDialogue {
  readonly connect: SnConnect
  /** The state before the dialogue, which is restored if the client does not answer. */
  readonly before: State
  #topic: WillTopic | undefined = undefined
  #counted = 0
  readonly #client: GatewayClient
  readonly #timer: Timer<ClientTimer>
  #retries = 0

  constructor(client: GatewayClient, connect: SnConnect, before: State) {
    this.#client = client
    this.connect = connect
    this.before = before
    this.#timer = new Timer<ClientTimer>({ client, about: 'dialogue' })
  }

  get topic(): WillTopic | undefined {
    return this.#topic
  }

  /** The client has sent its will topic. */
  answered(message: WillTopic): void {
    this.#topic = message
    this.#count(topicBytes(message))
  }

  #count(bytes: number): void {
    this.#client.host.wills.asked += bytes - this.#counted
    this.#counted = bytes
  }

  /** Asks for the topic, or for the message once the topic is known. */
  prompt(now: Instant): void {
    this.#retries = 0
    this.#ask(now)
  }

  timedOut(now: Instant): void {
    const { nRetry } = this.#client.retryProfile
    if (this.#retries >= nRetry) {
      this.#client.setup.unanswered(now, `no ${this.topic === undefined ? 'WILLTOPIC' : 'WILLMSG'} after ${nRetry} retries`)
      return
    }
    this.#retries++
    this.#ask(now)
  }

  end(): void {
    this.#count(0)
    this.#client.host.timers.disarm(this.#timer)
  }

  #ask(now: Instant): void {
    const { host, retryProfile } = this.#client
    const message: Message = { type: this.topic === undefined ? MsgType.WILLTOPICREQ : MsgType.WILLMSGREQ }
    host.timers.arm(this.#timer, now + retryDelayMs(retryProfile, this.#retries, host.chance()))
    this.#client.send(message)
  }
}

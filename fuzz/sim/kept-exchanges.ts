import { type Message, MsgType, ReturnCode, type SnPublish } from '../../src/mqttsn/messages.ts'
import type { Published } from './claims.ts'

/** Ids of kept exchanges, which are neither those of its client nor of bursts. */
const FIRST_ID = 0xc000

interface KeptExchange {
  readonly one: Published
  readonly publish: SnPublish
  /** PUBREC has come: from then on it is PUBREL that is sent again. */
  released: boolean
}

/**
 * The QoS 2 messages of a sensor that keeps them over its connections, and goes on with them when it is connected again [3.1.1 MQTT-4.4.0-1]: what
 * the client of src/mqttsn does not do.
 */
export class KeptExchanges {
  readonly #say: (message: Message) => void
  readonly #open = new Map<number, KeptExchange>()
  #lastId = FIRST_ID

  constructor(say: (message: Message) => void) {
    this.#say = say
  }

  begin(one: Published, publish: (msgId: number) => SnPublish): void {
    const msgId = ++this.#lastId
    this.#open.set(msgId, { one, publish: publish(msgId), released: false })
    this.#say(this.#open.get(msgId)!.publish)
  }

  heard(message: Message): void {
    if (!('msgId' in message)) return
    const { type, msgId } = message
    const exchange = this.#open.get(msgId)
    if (exchange === undefined) return
    if (type === MsgType.PUBREC) {
      exchange.released = true
      this.#say({ type: MsgType.PUBREL, msgId })
    } else if (type === MsgType.PUBCOMP && exchange.released) {
      exchange.one.acknowledged = true
      this.#open.delete(msgId)
    } else if (type === MsgType.PUBACK && message.returnCode !== ReturnCode.ACCEPTED && !exchange.released)
      this.#open.delete(msgId)
  }

  /** It is connected again. */
  resume(): void {
    for (const [msgId, { publish, released }] of this.#open)
      this.#say(released ? { type: MsgType.PUBREL, msgId } : { ...publish, dup: true })
  }

  /** All but this one. */
  forget(except = 0): void {
    for (const msgId of this.#open.keys()) if (msgId !== except) this.#open.delete(msgId)
  }
}

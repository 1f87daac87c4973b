import type { Instant } from '../../base/machine.ts'
import type { Link } from '../../mqtt/link.ts'
import { type Connack, PacketType, type Will } from '../../mqtt/packets.ts'
import { NO_PROPERTIES } from '../../mqtt/properties.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import { topicNameError } from '../../mqtt/topics.ts'
import { typeName } from '../../mqttsn/describe.ts'
import { type Message, MsgType, ReturnCode, type SnConnect, type WillMsg, type WillTopic } from '../../mqttsn/messages.ts'
import { connectPacket, returnCodeOf } from '../translate.ts'
import type { GatewayClient } from './client.ts'
import { tellIgnored } from './client-notices.ts'
import type { State } from './state-table.ts'
import { topicBytes, WillDialogue } from './will-dialogue.ts'

/** How a client gets from CONNECT to CONNACK [1.2 sections 6.2, 6.3]: the will dialogue, and the broker's answer. */
export class ConnectionSetup {
  readonly #client: GatewayClient
  /** Whose CONNECT the broker is answering: the client's own, or ours after a restart. */
  #connecting: 'client' | 'restart' | undefined = undefined
  /** The client's CONNECT that the broker is answering. */
  #connect: SnConnect | undefined = undefined
  /** The conversation that it ends, if the broker takes it. */
  #replaced: Link | undefined = undefined
  /** The will that the client had before. */
  #willBefore: Will | undefined = undefined
  #dialogue: WillDialogue | undefined = undefined
  /** The dialogue of its last CONNECT ended before it was answered: what may still come of it connects nobody. */
  wasCrossed = false

  constructor(client: GatewayClient) {
    this.#client = client
  }

  /** CONNECT has come. */
  connected(now: Instant, message: SnConnect): void {
    const client = this.#client
    this.#takeBackAnswers()
    this.wasCrossed = false
    const before = this.#dialogue?.before ?? settledState(client.state)
    this.#dialogue?.end()
    this.#dialogue = undefined
    if (!message.will) {
      // Section 6.3: a clean session begins without a will, any other keeps the one it had.
      this.#establish(now, message, message.cleanSession ? undefined : client.will)
      return
    }
    this.#dialogue = new WillDialogue(client, message, before)
    client.state = 'willTopic'
    client.outbound.suspend()
    client.supervision.arm(now)
    this.#dialogue.prompt(now)
  }

  willTopic(now: Instant, message: WillTopic): void {
    const client = this.#client
    const dialogue = this.#dialogue
    if (dialogue === undefined) return
    if (message.topic === undefined) {
      // An empty WILLTOPIC is no will after all [1.2 section 5.4.7].
      this.#establish(now, dialogue.connect, undefined)
      return
    }
    const wrong = topicNameError(message.topic)
    if (wrong !== '') {
      this.#refuse(now, ReturnCode.NOT_SUPPORTED, `WILLTOPIC, ${wrong}`)
      return
    }
    const { memory, wills, notice } = client.host
    const over = memory.refusal(undefined, topicBytes(message), wills.asked * ASKED_PART)
    if (over !== undefined) {
      notice({ code: 'limit-reached', level: 'warn', client: client.key, peer: client.route, ...over })
      this.#refuse(now, ReturnCode.CONGESTION, `WILLTOPIC, ${over.reason}`)
      return
    }
    dialogue.answered(message)
    client.state = 'willMsg'
    dialogue.prompt(now)
  }

  willMsg(now: Instant, { message: payload }: WillMsg): void {
    const dialogue = this.#dialogue
    if (dialogue?.topic === undefined) return
    const { topic = '', qos, retain } = dialogue.topic
    this.#establish(now, dialogue.connect, { topic, payload, qos, retain, properties: NO_PROPERTIES })
  }

  /** Nobody answered the prompts: the CONNECT was a late copy, or the client is out of reach, which supervision will find. */
  unanswered(now: Instant, reason: string): void {
    const client = this.#client
    client.host.notice({ code: 'retries-exhausted', level: 'info', client: client.key, peer: client.route, reason })
    this.breakOff(now)
    if (client.link === undefined && !client.recorded) client.host.forget(client)
  }

  timedOut(now: Instant): void {
    this.#dialogue?.timedOut(now)
  }

  /** Something other than an answer to a prompt: whoever was connected before goes on, anybody else has yet to answer. */
  crossed(now: Instant, message: Message): void {
    const client = this.#client
    // Once a dialogue is answered, CONNACK is all that the client can wait for.
    if (client.link === undefined || this.#dialogue === undefined || this.isUnderWay) return
    tellIgnored(client, `${typeName(message.type)} ends the will dialogue that its CONNECT began`)
    this.breakOff(now)
    this.wasCrossed = true
    client.react(now, message)
  }

  /** The client is what it was before the dialogue. `leaves`: it has said goodbye, and hears nothing more. */
  breakOff(now: Instant, leaves = false): void {
    const client = this.#client
    const dialogue = this.#dialogue!
    dialogue.end()
    this.#dialogue = undefined
    client.state = dialogue.before
    if (client.state === 'active' && !leaves) client.outbound.resume(now)
    client.supervision.arm(now)
  }

  /** Everything that CONNECT needs is known. */
  #establish(now: Instant, connect: SnConnect, will: Will | undefined): void {
    const client = this.#client
    this.#dialogue?.end()
    this.#dialogue = undefined
    // The same CONNECT again while the broker, or the disk, is still at it: one answer is enough.
    if (this.#connecting === 'client' && !connect.will && sameConnect(connect, this.#connect)) return
    const username = client.host.options.users.userOf(client.clientId, client.route)?.username
    // A clean session ends with its conversation: to make it last, the broker has to be told.
    const lasts = !connect.cleanSession && !client.cleanSession
    const sameUser = client.link !== undefined && username === client.username
    const goesOn = sameUser && lasts && !connect.will && this.#connecting === undefined
    client.durationSeconds = connect.duration
    client.registry.reconnected(client.host.options.register === 'never' && !connect.cleanSession)
    client.inbound.reconnected()
    if (goesOn) {
      // CONNECT again from `active` (CONNACK was lost) or from sleep: the conversation with the broker never ended (rulings A1, A9).
      this.#activate(now, 'client', client.will)
      return
    }
    // Our own replacement of the conversation is not the client's loss, so the old will must not fire.
    client.link?.setWill(now, undefined)
    client.outbound.abandon()
    client.inbound.abandon()
    // The broker may have answered in the meantime what the client had asked before its CONNECT.
    this.#takeBackAnswers()
    client.cleanSession = connect.cleanSession
    if (this.#connecting === undefined) this.#willBefore = client.will
    client.will = will
    this.#connecting = 'client'
    this.#connect = connect
    client.username = username
    this.#replaced = client.link
    client.link = client.host.openLink(now, client)
    client.toBroker(now, connectPacket(client.clientId, connect.cleanSession, client.expirySeconds, will, this.#window))
  }

  /** The broker's answer. */
  connacked(now: Instant, { reasonCode, sessionPresent, properties }: Connack): void {
    const client = this.#client
    const whose = this.#connecting ?? 'client'
    this.#connecting = undefined
    this.#connect = undefined
    const before = this.#willBefore
    this.#willBefore = undefined
    const { retainAvailable, maximumQoS: qos = 2, receiveMaximum = 0xffff } = properties
    client.tellKept()
    client.inbound.allow(retainAvailable !== false, qos, receiveMaximum)
    if (reasonCode >= 0x80) this.#replaced?.lost(now, 'refused')
    this.#replaced = undefined
    if (reasonCode >= 0x80) {
      client.host.closeLink(client)
      client.link = undefined
      if (whose === 'client') {
        client.will = before
        this.#refuse(now, returnCodeOf(reasonCode))
      }
      // The broker does not take it back: it is told to connect when it speaks next.
      else client.end(now, 'lost')
      return
    }
    if (!sessionPresent && whose === 'restart') {
      // Its session is over, with its will, published or not: only the record of that did not get to the disk. It has to connect to know.
      client.toBroker(now, { type: PacketType.DISCONNECT, reasonCode: ReasonCode.SUCCESS, properties: NO_PROPERTIES })
      client.end(now, 'lost')
      client.record(now)
      return
    }
    if (!sessionPresent && whose === 'client') {
      const { registry, inbound } = client
      const isKnown = registry.size > 0 || inbound.qos2.size > 0
      if (isKnown && client.host.store.append({ type: 'sn-end', clientId: client.clientId }) === 'full') {
        this.#refuseAdmitted(now, before)
        return
      }
      registry.clear()
      inbound.qos2.clear()
      client.tellKept()
    }
    if (sessionPresent) client.inbound.resumed(now)
    this.#activate(now, whose, before)
  }

  /** `before`: the will that the client had. */
  #activate(now: Instant, whose: 'client' | 'restart', before: Will | undefined): void {
    const client = this.#client
    // The sensor knows nothing of our restart, and goes on as it was.
    if (whose === 'restart') return
    // The broker took its time, and the client has begun anew: it is connected all the same.
    this.#dialogue?.end()
    this.#dialogue = undefined
    client.state = 'active'
    client.sleepSeconds = 0
    const lsn = client.record(now)
    if (lsn === 'full') {
      this.#refuseAdmitted(now, before)
      return
    }
    client.send({ type: MsgType.CONNACK, returnCode: ReturnCode.ACCEPTED }, lsn)
    client.supervision.arm(now)
    if (client.host.options.register === 'eager') client.outbound.registerAll(now)
    else client.outbound.resume(now)
  }

  /** The broker has taken the client in, and the store has no room to know it: its will must not fire because of that. */
  #refuseAdmitted(now: Instant, before: Will | undefined): void {
    const client = this.#client
    client.toBroker(now, { type: PacketType.DISCONNECT, reasonCode: ReasonCode.SUCCESS, properties: NO_PROPERTIES })
    client.will = before
    this.#refuse(now, ReturnCode.CONGESTION, 'the store is full')
  }

  /** CONNECT came to nothing: a conversation that there was before it is over too. */
  #refuse(now: Instant, returnCode: number, why?: string): void {
    const client = this.#client
    client.end(now, 'disconnected')
    client.send({ type: MsgType.CONNACK, returnCode }, 0, why)
    if (client.recorded) client.record(now)
    else client.host.forget(client)
  }

  /**
   * Takes up the conversation with the broker that the restart broke off, so long after the client's last record (ms). False if the rules do not let the
   * client in any more.
   */
  resume(now: Instant, elapsedMs: number): boolean {
    const client = this.#client
    client.inbound.qos2.recover(now)
    client.supervision.resume(now, elapsedMs)
    if (client.state !== 'active' && client.state !== 'asleep') return true
    const user = client.host.options.users.userOf(client.clientId, client.route)
    if (user === undefined) return false
    this.#connecting = 'restart'
    client.username = user.username
    client.link = client.host.openLink(now, client, true)
    client.link.listen(now, false)
    client.toBroker(now, connectPacket(client.clientId, false, client.expirySeconds, client.will, this.#window))
    return true
  }

  /** What still waits to be said to the client belongs to the conversation before. */
  #takeBackAnswers(): void {
    const { replies, host, route, registry } = this.#client
    replies.clear()
    for (const id of host.ports.forget(route)) registry.markUnknown(id)
  }

  /** The client is gone, or the broker has ended the conversation: nothing of a CONNECT goes on. */
  abandon(now: Instant): void {
    this.#dialogue?.end()
    this.#dialogue = undefined
    this.#connecting = undefined
    this.#connect = undefined
    this.#replaced?.lost(now, 'abandoned')
    this.#replaced = undefined
  }

  /** Messages that the broker may have on their way to the client. */
  get #window(): number {
    return this.#client.host.options.inflightMessages
  }

  /** The broker is answering the client's CONNECT. */
  get isUnderWay(): boolean {
    return this.#connecting === 'client'
  }

  /** What the client was before its will dialogue; `undefined` if there is none. */
  get before(): State | undefined {
    return this.#dialogue?.before
  }
}

/** Whoever is asked for a will has said nothing yet that proves it: all of them together may take a quarter of what one kind of thing may. */
const ASKED_PART = 4

/** What a client is apart from what is going on with it. */
function settledState(state: State): State {
  if (state === 'awake') return 'asleep'
  return state === 'willTopic' || state === 'willMsg' ? 'disconnected' : state
}

/** What two copies of one CONNECT have in common. */
const sameConnect = (a: SnConnect, b: SnConnect | undefined): boolean =>
  b !== undefined && a.will === b.will && a.cleanSession === b.cleanSession && a.duration === b.duration

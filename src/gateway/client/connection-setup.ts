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
import { reportIgnored } from './client-notices.ts'
import { allowedBy } from './inbound.ts'
import type { State } from './state-table.ts'
import { topicBytes, WillDialogue } from './will-dialogue.ts'

/** Connection setup of a client, from CONNECT to CONNACK: the will dialogue and the broker's answer [1.2 sections 6.2, 6.3]. */
export class ConnectionSetup {
  readonly #client: GatewayClient
  /** Which CONNECT the broker is processing: the client's, or the gateway's own after a restart. */
  #connecting: 'client' | 'restart' | undefined = undefined
  /** The client's CONNECT that the broker is processing. */
  #connect: SnConnect | undefined = undefined
  /** The link that this CONNECT replaces if the broker accepts it. */
  #replaced: Link | undefined = undefined
  /** The client's will before this CONNECT. */
  #willBefore: Will | undefined = undefined
  #dialogue: WillDialogue | undefined = undefined
  /** The dialogue of the last CONNECT was broken off: a delayed answer to one of its prompts must not connect the client. */
  wasBrokenOff = false

  constructor(client: GatewayClient) {
    this.#client = client
  }

  /** Handles CONNECT. */
  connected(now: Instant, message: SnConnect): void {
    const client = this.#client
    this.#takeBackAnswers()
    this.wasBrokenOff = false
    const before = this.#dialogue?.before ?? settledState(client.state)
    this.#dialogue?.end()
    this.#dialogue = undefined
    if (!message.will) {
      // Section 6.3: a clean session starts without a will; otherwise the previous will is kept.
      this.#establish(now, message, message.cleanSession ? undefined : client.will)
      return
    }
    this.#dialogue = new WillDialogue(client, message, before)
    client.host.sensorStates.enter(now, client, 'willTopic')
    client.outbound.suspend()
    client.supervision.arm(now)
    this.#dialogue.prompt(now)
  }

  willTopic(now: Instant, message: WillTopic): void {
    const client = this.#client
    const dialogue = this.#dialogue
    if (dialogue === undefined) return
    if (message.topic === undefined) {
      // An empty WILLTOPIC means that there is no will [1.2 section 5.4.7].
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
    client.host.sensorStates.enter(now, client, 'willMsg')
    dialogue.prompt(now)
  }

  willMsg(now: Instant, { message: payload }: WillMsg): void {
    const dialogue = this.#dialogue
    if (dialogue?.topic === undefined) return
    const { topic = '', qos, retain } = dialogue.topic
    this.#establish(now, dialogue.connect, { topic, payload, qos, retain, properties: NO_PROPERTIES })
  }

  /**
   * The prompts were not answered. Either CONNECT was a delayed copy, or the client is unreachable, which supervision will
   * detect.
   */
  unanswered(now: Instant, reason: string): void {
    const client = this.#client
    client.host.notice({ code: 'retries-exhausted', level: 'info', client: client.key, peer: client.route, reason })
    this.breakOff(now)
    if (client.link === undefined && !client.recorded) client.host.forget(client)
  }

  timedOut(now: Instant): void {
    this.#dialogue?.timedOut(now)
  }

  /**
   * The client sent something other than an answer to the prompt. If it was connected before the dialogue, it still is;
   * otherwise the answer is still to come.
   */
  crossed(now: Instant, message: Message): void {
    const client = this.#client
    // Once the dialogue is complete, the client can only be waiting for CONNACK.
    if (client.link === undefined || this.#dialogue === undefined || this.isUnderWay) {
      reportIgnored(client, `${typeName(message.type)} before CONNACK`)
      return
    }
    reportIgnored(client, `${typeName(message.type)} ends the will dialogue that its CONNECT began`)
    this.breakOff(now)
    client.react(now, message)
  }

  /** Restores the state before the dialogue. `leaves`: the client has sent DISCONNECT, so nothing is to be sent to it. */
  breakOff(now: Instant, leaves = false): void {
    const client = this.#client
    const dialogue = this.#dialogue!
    dialogue.end()
    this.#dialogue = undefined
    this.wasBrokenOff = true
    client.host.sensorStates.enter(now, client, dialogue.before)
    if (client.state === 'active' && !leaves) client.outbound.resume(now)
    client.supervision.arm(now)
  }

  /** Connects to the broker: everything that CONNECT needs is known. */
  #establish(now: Instant, connect: SnConnect, will: Will | undefined): void {
    const client = this.#client
    this.#dialogue?.end()
    this.#dialogue = undefined
    // A retransmission while the broker or the store is still processing the same CONNECT: one answer is enough.
    if (this.#connecting === 'client' && !connect.will && sameConnect(connect, this.#connect)) return
    const username = client.host.options.users.userOf(client.clientId, client.route)?.username
    // A clean session ends with its link. Making it persistent, or the reverse, takes a new CONNECT to the broker.
    const lasts = !connect.cleanSession && !client.cleanSession
    const sameUser = client.link !== undefined && username === client.username
    const isThere = this.#connecting === undefined && client.link?.isAway !== true
    const goesOn = sameUser && lasts && !connect.will && isThere
    client.durationSeconds = connect.duration
    client.registry.reconnected(client.host.options.register === 'never' && !connect.cleanSession)
    client.inbound.reconnected()
    if (goesOn) {
      // CONNECT again while active (CONNACK was lost) or asleep: the link to the broker has never been interrupted (rulings A1,
      // A9).
      this.#activate(now, 'client', client.will)
      return
    }
    // The gateway replaces the link itself, so the old will must not fire.
    client.link?.setWill(now, undefined)
    client.outbound.abandon()
    client.inbound.abandon()
    // The broker may have answered, in the meantime, requests that the client made before this CONNECT.
    this.#takeBackAnswers()
    client.cleanSession = connect.cleanSession
    if (this.#connecting === undefined) this.#willBefore = client.will
    client.will = will
    this.#connecting = 'client'
    this.#connect = connect
    client.username = username
    this.#replaced = client.link
    client.link = client.host.openLink(now, client)
    const { cleanSession, duration } = connect
    client.toBroker(now, connectPacket(client.clientId, cleanSession, client.expirySeconds, will, this.#window, duration))
  }

  /** Handles the broker's answer. */
  connacked(now: Instant, { reasonCode, sessionPresent, properties }: Connack): void {
    const client = this.#client
    const whose = this.#connecting ?? 'client'
    this.#connecting = undefined
    this.#connect = undefined
    const before = this.#willBefore
    this.#willBefore = undefined
    client.reportKept()
    client.inbound.allow(allowedBy(properties))
    if (reasonCode >= 0x80) this.#replaced?.lost(now, 'refused')
    this.#replaced = undefined
    if (reasonCode >= 0x80) {
      client.host.closeLink(client)
      client.link = undefined
      if (whose === 'client') {
        client.will = before
        this.#refuse(now, returnCodeOf(reasonCode))
      }
      // The broker refuses to restore the session: the client is sent DISCONNECT when it next sends something.
      else client.end(now, 'lost')
      return
    }
    if (!sessionPresent && whose === 'restart') {
      // The session, with its will, published or not, has ended, but the record of that did not reach the disk. The client must
      // reconnect to learn of it.
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
      client.topicIds.sessionEnded()
      // Registered after CONNECT, and lost with the session before it: the client must not use these ids.
      client.replies.cancel(MsgType.REGACK)
      inbound.qos2.clear()
      client.reportKept()
    }
    if (sessionPresent) client.inbound.resumed(now)
    this.#activate(now, whose, before)
  }

  /** `before`: the client's previous will. */
  #activate(now: Instant, whose: 'client' | 'restart', before: Will | undefined): void {
    const client = this.#client
    // The client does not know of our restart and continues in the state that it had.
    if (whose === 'restart') return
    // The client sent another CONNECT while the broker was still processing this one: it is connected all the same.
    this.#dialogue?.end()
    this.#dialogue = undefined
    client.state = 'active'
    client.sleepSeconds = 0
    const lsn = client.record(now)
    if (lsn === 'full') {
      this.#refuseAdmitted(now, before)
      return
    }
    client.host.sensorStates.enter(now, client, 'active')
    client.send({ type: MsgType.CONNACK, returnCode: ReturnCode.ACCEPTED }, lsn)
    client.supervision.arm(now)
    if (client.host.options.register === 'eager') client.outbound.registerAll(now)
    else client.outbound.resume(now)
  }

  /** The broker has accepted the client, but the store has no room for its record. The will must not fire because of that. */
  #refuseAdmitted(now: Instant, before: Will | undefined): void {
    const client = this.#client
    client.toBroker(now, { type: PacketType.DISCONNECT, reasonCode: ReasonCode.SUCCESS, properties: NO_PROPERTIES })
    client.will = before
    this.#refuse(now, ReturnCode.CONGESTION, 'the store is full')
  }

  /** Refuses CONNECT, which also ends any link that existed before it. */
  #refuse(now: Instant, returnCode: number, why?: string): void {
    const client = this.#client
    client.end(now, 'disconnected')
    client.send({ type: MsgType.CONNACK, returnCode }, 0, why)
    if (client.recorded) client.record(now)
    else client.host.forget(client)
  }

  /**
   * Reconnects to the broker after a restart. `elapsedMs` is the time since the client's last record. Returns false if the
   * access rules no longer admit the client.
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

  /** As `resume`, with a link to which CONNECT has been sent. */
  resumeOn(link: Link, username: string | undefined): void {
    this.#connecting = 'restart'
    this.#client.username = username
    this.#client.link = link
  }

  /** Drops replies that are still queued: they belong to the previous connection. */
  #takeBackAnswers(): void {
    const { replies, host, route, registry } = this.#client
    replies.clear()
    for (const id of host.ports.forget(route)) registry.markUnknown(id)
  }

  /** Ends connection setup: the client has left, or the broker has closed the link. */
  abandon(now: Instant): void {
    this.#dialogue?.end()
    this.#dialogue = undefined
    this.#connecting = undefined
    this.#connect = undefined
    this.#replaced?.lost(now, 'abandoned')
    this.#replaced = undefined
  }

  /** Number of messages that the broker may have in flight to the client. */
  get #window(): number {
    return this.#client.host.options.inflightMessages
  }

  /** True if no CONNECT is being processed, the gateway's own included, and no will dialogue is under way. */
  get isIdle(): boolean {
    return this.#connecting === undefined && this.#replaced === undefined && this.#dialogue === undefined
  }

  /** True while the broker is processing the client's CONNECT. */
  get isUnderWay(): boolean {
    return this.#connecting === 'client'
  }

  /** The client's state before its will dialogue; `undefined` outside a dialogue. */
  get before(): State | undefined {
    return this.#dialogue?.before
  }
}

/**
 * A client that is asked for its will has not validated its address. All such clients together may use this fraction, a quarter,
 * of the memory allowed for one kind of data.
 */
const ASKED_PART = 4

/** The state without anything transient: an awake period or a will dialogue. */
function settledState(state: State): State {
  if (state === 'awake') return 'asleep'
  return state === 'willTopic' || state === 'willMsg' ? 'disconnected' : state
}

/** True for two copies of the same CONNECT. */
const sameConnect = (a: SnConnect, b: SnConnect | undefined): boolean =>
  b !== undefined && a.will === b.will && a.cleanSession === b.cleanSession && a.duration === b.duration

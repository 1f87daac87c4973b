import { performance } from 'node:perf_hooks'
import { type IPublishPacket, type Packet, type Parser, parser } from 'mqtt-packet'
import type { LineTap, Way } from './line.ts'

/** One message of QoS 1 or 2 as the line has seen it, going one way. */
export interface Carried {
  readonly text: string
  readonly topic: string
  readonly qos: 1 | 2
  /** Where its PUBLISH packets were among all of this way. */
  readonly places: number[]
  /** How often it was begun as a new message: under a new packet id, or again after its exchange had ended. */
  begun: number
  /** As how many messages it may be begun: one more each time that it was refused, or the session was lost with it. */
  mayBegin: number
  /** How often it was published again though its PUBREL had passed, which the standard forbids (MQTT-4.3.3-6): its receiver takes it for a new one. */
  begunAfterRelease: number
  /** PUBREL has passed at any time. */
  isReleased: boolean
  /** PUBACK, PUBREC or PUBCOMP has passed, and is no refusal: the other side has taken it. */
  taken: boolean
  /** It was sent with QoS 2 under the packet id of another that was not completed: its sender has forgotten that one, and the receiver takes it for a copy. */
  collides: boolean
  /** What the line has seen of it: `+1.204 s call 3 down publish 7 dup`. */
  readonly history: string[]
}

interface Open {
  readonly carried: Carried
  /** PUBREL has passed. */
  released: boolean
  /** Its sender was killed since, and may not know it any more. */
  mayBeForgotten: boolean
}

interface Direction {
  /** PUBLISH packets with QoS 1 and 2. */
  published: number
  readonly messages: Map<string, Carried>
  /** By packet id. */
  readonly open: Map<number, Open>
  /** Most exchanges that were open at a time. */
  widest: number
}

/** Lines about one message, and about connections and faults, of which the last ones are kept. */
const HISTORY_MAX = 40

const direction = (): Direction => ({ published: 0, messages: new Map(), open: new Map(), widest: 0 })
const opposite = (way: Way): Way => (way === 'up' ? 'down' : 'up')

/**
 * What went over the line of a bridge, read with a codec of somebody else: which messages the other side has taken, and how often each was begun as a
 * new one. A far broker may lose at SIGKILL what it has acknowledged. What ends our responsibility is its acknowledgement, and only the line has seen it.
 */
export class LineLedger implements LineTap {
  readonly up = direction()
  readonly down = direction()
  /** Of the last CONNACK; undefined before the first. */
  sessionPresent: boolean | undefined = undefined
  /** CONNACK packets without Session Present, behind the first. */
  sessionsLost = 0
  /** Protocol level of the last CONNECT, without the bridge bit. */
  version = 0
  connects = 0
  /** Reason codes of refusals by the dialled program: in CONNACK, PUBACK, PUBREC, DISCONNECT. */
  readonly refusals: number[] = []
  /** Packets by kind and way: `up publish`. */
  readonly packets = new Map<string, number>()
  /** Connections, sessions, subscriptions and faults, for people. */
  readonly history: string[] = []
  readonly #began = performance.now()
  readonly #parsers = new Map<string, Parser>()
  readonly #trace: ((line: string) => void) | undefined

  /** `trace`: gets every line about every message, which is far more than is kept. */
  constructor(trace?: (line: string) => void) {
    this.#trace = trace
  }

  /** Writes something down that happens at the ends: what is lost is explained by what came before. */
  note(what: string, history = this.history): void {
    history.push(`${this.#now()} ${what}`)
    if (history.length > HISTORY_MAX) history.shift()
  }

  #now(): string {
    return `+${((performance.now() - this.#began) / 1000).toFixed(3)} s`
  }

  trace(what: string): void {
    this.#trace?.(`${new Date().toISOString()} ${this.#now()} ${what}`)
  }

  opened(call: number): void {
    const up = parser()
    up.on('packet', (packet) => {
      if (packet.cmd === 'connect') {
        this.version = packet.protocolVersion ?? 4
        this.connects++
        this.#parsers.set(`down ${call}`, this.#reader(call, 'down', { protocolVersion: this.version }))
      }
      this.#packet(call, 'up', packet)
    })
    // A broken line ends inside a packet; whatever else is wrong, its receiver says.
    up.on('error', () => {})
    this.#parsers.set(`up ${call}`, up)
  }

  #reader(call: number, way: Way, options: { protocolVersion: number }): Parser {
    const reader = parser(options as Parameters<typeof parser>[0])
    reader.on('packet', (packet) => this.#packet(call, way, packet))
    reader.on('error', () => {})
    return reader
  }

  passed(call: number, way: Way, bytes: Buffer): void {
    // The parser keeps what is no whole packet yet.
    this.#parsers.get(`${way} ${call}`)?.parse(Buffer.from(bytes))
  }

  closed(call: number): void {
    this.#parsers.delete(`up ${call}`)
    this.#parsers.delete(`down ${call}`)
    this.trace(`call ${call} closed`)
    this.note(`call ${call} closed`)
  }

  counted(way: Way, cmd: string): number {
    return this.packets.get(`${way} ${cmd}`) ?? 0
  }

  #packet(call: number, way: Way, packet: Packet): void {
    const name = `${way} ${packet.cmd}`
    this.packets.set(name, (this.packets.get(name) ?? 0) + 1)
    const what = `call ${call} ${way} ${inWords(packet)}`
    this.trace(packet.cmd === 'publish' ? `${what} qos=${packet.qos} "${packet.payload}"` : what)
    switch (packet.cmd) {
      case 'publish':
        if (packet.qos > 0) this.note(what, this.#published(this[way], packet).history)
        return
      case 'puback':
      case 'pubrec':
      case 'pubcomp':
        this.#answered(this[opposite(way)], packet.cmd, packet.messageId!, packet.reasonCode ?? 0, what)
        return
      case 'pubrel': {
        const open = this[way].open.get(packet.messageId!)
        if (open === undefined) return
        open.released = true
        open.carried.isReleased = true
        this.note(what, open.carried.history)
        return
      }
      case 'pingreq':
      case 'pingresp':
        return
      case 'connack': {
        const code = packet.reasonCode ?? packet.returnCode ?? 0
        if (code !== 0) this.refusals.push(code)
        else this.#connected(packet.sessionPresent)
        break
      }
      case 'disconnect':
        if ((packet.reasonCode ?? 0) >= 0x80) this.refusals.push(packet.reasonCode!)
        break
      default:
    }
    this.note(what)
  }

  /** Who sends this way has been killed, and may have forgotten what is on its way. */
  forgotten(way: Way): void {
    for (const open of this[way].open.values()) open.mayBeForgotten = true
  }

  #connected(sessionPresent: boolean): void {
    if (this.sessionPresent !== undefined && !sessionPresent) this.sessionsLost++
    this.sessionPresent = sessionPresent
    if (sessionPresent) return
    // Without the session no exchange goes on; what is sent now is new.
    for (const { open } of [this.up, this.down]) {
      for (const { carried } of open.values()) carried.mayBegin++
      open.clear()
    }
  }

  #published(direction: Direction, { messageId, topic, payload, qos }: IPublishPacket): Carried {
    const { messages, open } = direction
    const id = messageId!
    const text = String(payload)
    let carried = messages.get(text)
    if (carried === undefined) {
      carried = {
        text,
        topic,
        qos: qos as 1 | 2,
        places: [],
        begun: 0,
        mayBegin: 1,
        begunAfterRelease: 0,
        isReleased: false,
        taken: false,
        collides: false,
        history: [],
      }
      messages.set(text, carried)
    }
    carried.places.push(++direction.published)
    const before = open.get(id)
    if (before?.carried === carried && !before.released) return carried
    carried.begun++
    if (carried.isReleased) carried.begunAfterRelease++
    // PUBCOMP has not passed: PUBREL may be lost with the receiver.
    const isOpen = before !== undefined && before.carried !== carried && before.mayBeForgotten
    carried.collides ||= isOpen && before.carried.qos === 2 && qos === 2
    open.set(id, { carried, released: false, mayBeForgotten: false })
    direction.widest = Math.max(direction.widest, open.size)
    return carried
  }

  #answered(direction: Direction, cmd: 'puback' | 'pubrec' | 'pubcomp', id: number, code: number, what: string): void {
    const open = direction.open.get(id)
    if (open === undefined) return
    this.note(what, open.carried.history)
    const isRefused = code >= 0x80
    if (isRefused) {
      this.refusals.push(code)
      open.carried.mayBegin++
    } else open.carried.taken = true
    if (cmd !== 'pubrec' || isRefused) direction.open.delete(id)
  }
}

/** `publish 7 dup`, `connack present=true`. */
function inWords(packet: Packet): string {
  const { cmd, messageId } = packet
  const words = [cmd, messageId, 'dup' in packet && packet.dup ? 'dup' : undefined]
  if ('clean' in packet) words.push(`clean=${packet.clean}`)
  if ('sessionPresent' in packet) words.push(`present=${packet.sessionPresent}`)
  if ('reasonCode' in packet && (packet.reasonCode ?? 0) > 0) words.push(`code=${packet.reasonCode}`)
  return words.filter((word) => word !== undefined).join(' ')
}

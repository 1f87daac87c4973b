import { type Packet, type Parser, parser } from 'mqtt-packet'
import type { LineTap, Way } from './line.ts'

/** One message of QoS 1 or 2 as the line has seen it, going one way. */
export interface Carried {
  readonly text: string
  readonly topic: string
  readonly qos: 1 | 2
  /** PUBLISH packets, the first one included. */
  sent: number
  /** How often it was begun as a new message: under a new packet id, or again after its exchange had ended. */
  begun: number
  /** PUBACK, PUBREC or PUBCOMP has passed: the other side has taken it. */
  taken: boolean
  /** It was sent under the packet id of another message that was not released: its sender has forgotten that one, and the receiver takes it for a copy. */
  collides: boolean
}

interface Open {
  readonly carried: Carried
  /** PUBREL has passed. */
  released: boolean
}

interface Direction {
  readonly messages: Map<string, Carried>
  /** By packet id. */
  readonly open: Map<number, Open>
  /** Most exchanges that were open at a time. */
  widest: number
}

const direction = (): Direction => ({ messages: new Map(), open: new Map(), widest: 0 })
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
  readonly #parsers = new Map<string, Parser>()

  opened(call: number): void {
    const up = parser()
    const down: { current: Parser } = { current: parser({ protocolVersion: 4 }) }
    up.on('packet', (packet) => {
      if (packet.cmd === 'connect') {
        this.version = packet.protocolVersion ?? 4
        this.connects++
        down.current = this.#reader('down', { protocolVersion: this.version })
        this.#parsers.set(`down ${call}`, down.current)
      }
      this.#packet('up', packet)
    })
    // A broken line ends inside a packet; whatever else is wrong, its receiver says.
    up.on('error', () => {})
    this.#parsers.set(`up ${call}`, up)
  }

  #reader(way: Way, options: { protocolVersion: number }): Parser {
    const reader = parser(options as Parameters<typeof parser>[0])
    reader.on('packet', (packet) => this.#packet(way, packet))
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
  }

  counted(way: Way, cmd: string): number {
    return this.packets.get(`${way} ${cmd}`) ?? 0
  }

  #packet(way: Way, packet: Packet): void {
    const name = `${way} ${packet.cmd}`
    this.packets.set(name, (this.packets.get(name) ?? 0) + 1)
    switch (packet.cmd) {
      case 'connack': {
        const code = packet.reasonCode ?? packet.returnCode ?? 0
        if (code !== 0) this.refusals.push(code)
        else this.#connected(packet.sessionPresent)
        break
      }
      case 'publish':
        if (packet.qos > 0)
          this.#published(this[way], packet.messageId!, packet.topic, String(packet.payload), packet.qos as 1 | 2)
        break
      case 'puback':
      case 'pubrec':
      case 'pubcomp':
        this.#answered(this[opposite(way)], packet.cmd, packet.messageId!, packet.reasonCode ?? 0)
        break
      case 'pubrel': {
        const open = this[way].open.get(packet.messageId!)
        if (open !== undefined) open.released = true
        break
      }
      case 'disconnect':
        if ((packet.reasonCode ?? 0) >= 0x80) this.refusals.push(packet.reasonCode!)
        break
      default:
    }
  }

  #connected(sessionPresent: boolean): void {
    if (this.sessionPresent !== undefined && !sessionPresent) this.sessionsLost++
    this.sessionPresent = sessionPresent
    if (sessionPresent) return
    // Without the session no exchange goes on; what is sent now is new.
    this.up.open.clear()
    this.down.open.clear()
  }

  #published(direction: Direction, id: number, topic: string, text: string, qos: 1 | 2): void {
    const { messages, open } = direction
    let carried = messages.get(text)
    if (carried === undefined) {
      carried = { text, topic, qos, sent: 0, begun: 0, taken: false, collides: false }
      messages.set(text, carried)
    }
    carried.sent++
    const before = open.get(id)
    if (before?.carried === carried && !before.released) return
    carried.begun++
    carried.collides ||= before !== undefined && before.carried !== carried && !before.released
    open.set(id, { carried, released: false })
    direction.widest = Math.max(direction.widest, open.size)
  }

  #answered(direction: Direction, cmd: 'puback' | 'pubrec' | 'pubcomp', id: number, code: number): void {
    const open = direction.open.get(id)
    if (open === undefined) return
    if (code >= 0x80) this.refusals.push(code)
    open.carried.taken = true
    if (cmd !== 'pubrec' || code >= 0x80) direction.open.delete(id)
  }
}

import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net'
import { PacketDecoder } from '../../src/mqtt/decode.ts'
import { Framer } from '../../src/mqtt/framer.ts'
import { type Packet, PacketType } from '../../src/mqtt/packets.ts'
import type { Publish } from '../../src/mqtt/publish.ts'

const PACKET_MAX = 1024 * 1024

/** A connection of a client to a node, as it was recorded. */
interface Connection {
  readonly number: number
  readonly node: string
  clientId: string
  /** When CONNECT was sent: how many events were recorded before. */
  opened: number
  /** Likewise; undefined while it lasts. */
  closed: number | undefined
  /** Who ended it. */
  closedBy: 'client' | 'node' | undefined
  /** What the node has sent and the client has not acknowledged, by packet id. */
  readonly open: Map<number, string>
  /** What the client has published and the node has not acknowledged, by packet id. */
  readonly published: Map<number, string>
}

/** 'out': the cluster sent a message, 'taken': its receiver acknowledged it; 'in': a publisher sent it, 'accepted': the cluster acknowledged it. */
type What = 'out' | 'taken' | 'in' | 'accepted'

interface Event {
  /** In the order of all events and connections. */
  readonly index: number
  readonly what: What
  readonly connection: Connection
  readonly text: string
  readonly packetId: number
  readonly dup: boolean
  /** Of the clock of this process, ms. */
  readonly at: number
}

/**
 * How the cluster came to send a newer message first. 'taken over': when the connection over which it did that was opened, the client had another
 * one, which the cluster had not closed yet. 'reconnected': it had none, and the older message had been sent over one before. 'never sent': it had not.
 */
export type Overtaking = 'taken over' | 'reconnected' | 'never sent'

/**
 * Stands between clients and the nodes of a cluster, and records which message was sent over which connection, and what was acknowledged: it tells
 * whether the cluster or a gateway has changed the order. MQTT 3.1.1, and payloads that are texts.
 */
export class Wire {
  /** Of this round, by text. */
  #events = new Map<string, Event[]>()
  /** Events and connections so far, which are in one order. */
  #clock = 0
  readonly #connections = new Set<Connection>()
  readonly #servers: Server[] = []
  readonly #sockets = new Set<Socket>()
  #count = 0

  /** Relays to this port of a node; returns the port for clients. */
  async relay(node: string, port: number): Promise<number> {
    const server = createServer((socket) => this.#accept(socket, node, port)).listen(0, '127.0.0.1')
    this.#servers.push(server)
    await new Promise((resolve) => server.once('listening', resolve))
    return (server.address() as AddressInfo).port
  }

  stop(): void {
    for (const server of this.#servers) server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Another round: what was sent before is judged. */
  forget(): void {
    this.#events = new Map()
    for (const connection of this.#connections) if (connection.closed !== undefined) this.#connections.delete(connection)
  }

  #accept(client: Socket, node: string, port: number): void {
    const connection: Connection = {
      number: ++this.#count,
      node,
      clientId: '',
      opened: 0,
      closed: undefined,
      closedBy: undefined,
      open: new Map(),
      published: new Map(),
    }
    const far = dial(port, '127.0.0.1')
    this.#joined(client, far, () => this.#closed(connection, 'client'))
    this.#joined(far, client, () => this.#closed(connection, 'node'))
    records(client, 'client', (packet) => this.#fromClient(connection, packet))
    records(far, 'server', (packet) => this.#fromNode(connection, packet))
    client.pipe(far)
    far.pipe(client)
  }

  #joined(socket: Socket, other: Socket, ended: () => void): void {
    this.#sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('end', ended)
    socket.on('close', () => {
      ended()
      this.#sockets.delete(socket)
      other.end()
    })
  }

  #closed(connection: Connection, by: 'client' | 'node'): void {
    if (connection.closed !== undefined) return
    connection.closed = this.#clock++
    connection.closedBy = by
  }

  #fromClient(connection: Connection, packet: Packet): void {
    if (packet.type === PacketType.CONNECT) {
      connection.clientId = packet.clientId
      connection.opened = this.#clock++
      this.#connections.add(connection)
    } else if (packet.type === PacketType.PUBLISH) this.#published('in', connection, connection.published, packet)
    else if (packet.type === PacketType.PUBACK) this.#acknowledged('taken', connection, connection.open, packet.packetId)
  }

  #fromNode(connection: Connection, packet: Packet): void {
    if (packet.type === PacketType.PUBLISH) this.#published('out', connection, connection.open, packet)
    else if (packet.type === PacketType.PUBACK) this.#acknowledged('accepted', connection, connection.published, packet.packetId)
  }

  #published(what: What, connection: Connection, open: Map<number, string>, { payload, packetId, dup }: Publish): void {
    const text = decoder.decode(payload)
    open.set(packetId, text)
    this.#record(what, connection, text, packetId, dup)
  }

  #acknowledged(what: What, connection: Connection, open: Map<number, string>, packetId: number): void {
    const text = open.get(packetId)
    if (text === undefined) return
    open.delete(packetId)
    this.#record(what, connection, text, packetId, false)
  }

  #record(what: What, connection: Connection, text: string, packetId: number, dup: boolean): void {
    const event = { index: this.#clock++, what, connection, text, packetId, dup, at: performance.now() }
    const events = this.#events.get(text)
    if (events === undefined) this.#events.set(text, [event])
    else events.push(event)
  }

  #of(what: What, text: string, clientId?: string): Event[] {
    const all = this.#events.get(text) ?? []
    return all.filter((event) => event.what === what && (clientId === undefined || event.connection.clientId === clientId))
  }

  /**
   * Whether both messages reached the cluster in order: the older one was sent before on the connection that first carried the newer one, or the
   * cluster had acknowledged it.
   */
  #cameInOrder(older: string, newer: string): boolean {
    const first = this.#of('in', newer)[0]
    if (first === undefined) return false
    const before = [...this.#of('accepted', older), ...this.#of('in', older)].filter(({ index }) => index < first.index)
    return before.some(({ what, connection }) => what === 'accepted' || connection === first.connection)
  }

  /**
   * How the cluster itself has changed the order of two messages that reached it in order: over one connection it sent the newer one when it had
   * not sent the older one, of which it had no acknowledgement. Undefined if it has not done that.
   */
  overtaking(clientId: string, older: string, newer: string): Overtaking | undefined {
    if (!this.#cameInOrder(older, newer)) return undefined
    const olderOut = this.#of('out', older, clientId)
    const taken = this.#of('taken', older, clientId)[0]?.index ?? Number.POSITIVE_INFINITY
    for (const { index, connection } of this.#of('out', newer, clientId)) {
      const before = olderOut.filter((each) => each.index < index)
      if (taken < index || before.some((each) => each.connection === connection)) continue
      if (this.#isTakenOver(connection)) return 'taken over'
      return before.length === 0 ? 'never sent' : 'reconnected'
    }
    return undefined
  }

  /** Whether the client had another connection when this one was opened. */
  #isTakenOver({ clientId, opened }: Connection): boolean {
    for (const connection of this.#connections)
      if (connection.clientId === clientId && connection.opened < opened && (connection.closed ?? opened) >= opened) return true
    return false
  }

  /** Everything of these messages to a client, and its connections, in order. */
  course(clientId: string, texts: readonly string[]): string[] {
    const told: [number, string][] = []
    for (const connection of this.#connections) {
      if (connection.clientId !== clientId) continue
      told.push([connection.opened, `connection ${connection.number} to ${connection.node} opened`])
      if (connection.closed !== undefined)
        told.push([connection.closed, `connection ${connection.number} closed by the ${connection.closedBy}`])
    }
    for (const text of texts)
      for (const event of this.#events.get(text) ?? []) {
        const { index, what, connection, packetId, dup, at } = event
        if ((what === 'out' || what === 'taken') && connection.clientId !== clientId) continue
        const where = `connection ${connection.number} (${connection.clientId}), packet id ${packetId}${dup ? ', DUP' : ''}`
        told.push([index, `${at.toFixed(0)} ms: "${text}" ${what}, ${where}`])
      }
    return told.sort(([a], [b]) => a - b).map(([, text]) => text)
  }
}

const decoder = new TextDecoder()

/** Reads the packets that come from a socket. */
function records(socket: Socket, sender: 'client' | 'server', see: (packet: Packet) => void): void {
  const framer = new Framer(PACKET_MAX)
  const packets = new PacketDecoder(sender)
  socket.on('data', (chunk: Buffer) => {
    framer.push(chunk)
    while (framer.next()) {
      const packet = packets.decode(framer.bytes, framer.start, framer.bodyStart, framer.end)
      if (packet !== undefined) see(packet)
    }
  })
}

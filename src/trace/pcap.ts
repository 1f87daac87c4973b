import { addressOfRoute } from '../gateway/ports/route.ts'
import type { ConnectionId } from '../mqtt/connection.ts'
import type { TraceEvent } from './event.ts'
import { type Endpoint, endpointOf, ipPacket, ownEndFor, Protocol } from './ip-packet.ts'
import { redacted } from './redact.ts'

/** Ports of the server in a capture: Wireshark dissects MQTT at 1883 by itself; MQTT-SN by `-d udp.port==1884,mqttsn`. */
const MQTT_PORT = 1883
const MQTT_SN_PORT = 1884

/** Packets without a link layer, IPv4 or IPv6. */
const LINKTYPE_RAW = 101
const SNAP_LENGTH = 262_144
const [FIN, SYN, PSH, ACK] = [0x01, 0x02, 0x08, 0x10]
/** Maximum size in octets of a segment: a packet of MQTT may be larger than one of IP. */
const SEGMENT_MAX = 32 * 1024
/** Maximum size in octets of the payload of an IPv4 packet, and of the header of UDP in it. */
const CONTENT_MAX = 65_515
const UDP_HEADER = 8

/** First and last local port of streams to other brokers. */
const DIALLED_PORTS = [1024, 0xffff] as const

/** Bytes of memory that a stream takes in a writer. */
export const FLOW_BYTES = 200

/** A TCP connection of the capture. */
interface Flow {
  readonly client: Endpoint
  readonly server: Endpoint
  /** Roost is the client of this stream. */
  readonly isDialled: boolean
  /** The next sequence numbers. */
  clientSeq: number
  serverSeq: number
}

/**
 * Writes events as a capture file in the classic pcap format. Streams appear as plain MQTT over TCP, whatever carries them (TLS,
 * WebSocket), with a handshake at their beginning and sequence numbers that fit, so that Wireshark reassembles packets;
 * datagrams as UDP. Each stream to another broker has its own local port, so that streams to one target can be distinguished. A
 * peer that has no IP address (Unix socket, serial line) gets one in 198.18.0.0/15, which is reserved.
 */
export class PcapWriter {
  readonly #payloads: boolean
  readonly #flows = new Map<ConnectionId, Flow>()
  /** Ports of dialled streams that are open, and the last one that was chosen. */
  readonly #ports = new Set<number>()
  readonly #range: readonly [number, number]
  #lastPort: number

  /** `payloads`: otherwise zeros stand for payloads. Zeros always stand for passwords and authentication data. `range`: for tests. */
  constructor(payloads: boolean, range: readonly [number, number] = DIALLED_PORTS) {
    this.#payloads = payloads
    this.#range = range
    this.#lastPort = range[1]
  }

  /** Bytes of memory that the streams take. */
  get bytes(): number {
    return this.#flows.size * FLOW_BYTES
  }

  /** The beginning of the file. */
  header(): Uint8Array {
    const header = new Uint8Array(24)
    const view = new DataView(header.buffer)
    view.setUint32(0, 0xa1b2c3d4, true)
    view.setUint16(4, 2, true)
    view.setUint16(6, 4, true)
    view.setUint32(16, SNAP_LENGTH, true)
    view.setUint32(20, LINKTYPE_RAW, true)
    return header
  }

  /** Returns the records of an event. `at`: its time in milliseconds since 1970. */
  records(at: number, event: TraceEvent): Uint8Array[] {
    const bytes = redacted(event, this.#payloads)
    if (event.protocol === 'mqtt-sn') return [this.#datagram(at, event.way === '->', event.carrier, bytes)]
    const records: Uint8Array[] = []
    const flow = this.#flows.get(event.connection) ?? this.#begin(at, event.connection, event.peer, records)
    // '->' is from the peer.
    const isFromClient = (event.way === '->') !== flow.isDialled
    for (let from = 0; from < bytes.length; from += SEGMENT_MAX)
      records.push(segment(at, flow, isFromClient, PSH | ACK, bytes.subarray(from, from + SEGMENT_MAX)))
    return records
  }

  /** Returns the records of the end of a stream; none if it was not in the capture. */
  closed(at: number, connection: ConnectionId): Uint8Array[] {
    const flow = this.#flows.get(connection)
    if (flow === undefined) return []
    this.#flows.delete(connection)
    if (flow.isDialled) this.#ports.delete(flow.client.port)
    return [
      segment(at, flow, false, FIN | ACK, NOTHING),
      segment(at, flow, true, FIN | ACK, NOTHING),
      segment(at, flow, false, ACK, NOTHING),
    ]
  }

  #begin(at: number, connection: ConnectionId, peer: string, records: Uint8Array[]): Flow {
    const flow = connection < 0 ? this.#dialled(connection, peer) : accepted(peer)
    this.#flows.set(connection, flow)
    records.push(
      segment(at, flow, true, SYN, NOTHING),
      segment(at, flow, false, SYN | ACK, NOTHING),
      segment(at, flow, true, ACK, NOTHING),
    )
    return flow
  }

  /** A stream to a target, whose URL is the peer. Its port stands for MQTT, as ours does. */
  #dialled(connection: ConnectionId, peer: string): Flow {
    const server = { ip: endpointOf(peer.replace(/^\w+:\/\/|\/.*$/g, '')).ip, port: MQTT_PORT }
    const [first, last] = this.#range
    do this.#lastPort = this.#lastPort === last ? first : this.#lastPort + 1
    while (this.#ports.has(this.#lastPort) && this.#ports.size <= last - first)
    this.#ports.add(this.#lastPort)
    // A port may come again, and then must not look like a copy of the stream that had it.
    return {
      client: ownEndFor(server, this.#lastPort),
      server,
      isDialled: true,
      clientSeq: (-connection << 16) >>> 0,
      serverSeq: 0,
    }
  }

  #datagram(at: number, isFromClient: boolean, carrier: string, bytes: Uint8Array): Uint8Array {
    const client = endpointOf(addressOfRoute(carrier))
    const server = ownEndFor(client, MQTT_SN_PORT)
    const [from, to] = isFromClient ? [client, server] : [server, client]
    const data = bytes.subarray(0, CONTENT_MAX - UDP_HEADER)
    const udp = new Uint8Array(UDP_HEADER + data.length)
    writePorts(udp, from, to)
    new DataView(udp.buffer).setUint16(4, udp.length)
    udp.set(data, UDP_HEADER)
    return record(at, ipPacket(Protocol.UDP, from, to, udp, 6))
  }
}

const NOTHING = new Uint8Array(0)

function accepted(peer: string): Flow {
  const client = endpointOf(peer)
  return { client, server: ownEndFor(client, MQTT_PORT), isDialled: false, clientSeq: 0, serverSeq: 0 }
}

function segment(at: number, flow: Flow, isFromClient: boolean, flags: number, data: Uint8Array): Uint8Array {
  const { client, server } = flow
  const [from, to] = isFromClient ? [client, server] : [server, client]
  const tcp = new Uint8Array(20 + data.length)
  const view = new DataView(tcp.buffer)
  writePorts(tcp, from, to)
  view.setUint32(4, isFromClient ? flow.clientSeq : flow.serverSeq)
  if ((flags & ACK) !== 0) view.setUint32(8, isFromClient ? flow.serverSeq : flow.clientSeq)
  tcp[12] = 5 << 4
  tcp[13] = flags
  // The window, as large as it can be.
  view.setUint16(14, 0xffff)
  tcp.set(data, 20)
  const used = data.length + ((flags & (SYN | FIN)) === 0 ? 0 : 1)
  if (isFromClient) flow.clientSeq = (flow.clientSeq + used) >>> 0
  else flow.serverSeq = (flow.serverSeq + used) >>> 0
  return record(at, ipPacket(Protocol.TCP, from, to, tcp, 16))
}

function writePorts(bytes: Uint8Array, from: Endpoint, to: Endpoint): void {
  const view = new DataView(bytes.buffer)
  view.setUint16(0, from.port)
  view.setUint16(2, to.port)
}

function record(at: number, packet: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(16 + packet.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, Math.floor(at / 1000), true)
  view.setUint32(4, Math.floor((at % 1000) * 1000), true)
  view.setUint32(8, packet.length, true)
  view.setUint32(12, packet.length, true)
  bytes.set(packet, 16)
  return bytes
}

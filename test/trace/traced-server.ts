import { decodeAll, encoded } from '../../fuzz/packets.ts'
import type { Packet } from '../../src/mqtt/packets.ts'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { encodedMessage } from '../../src/mqttsn/encode.ts'
import { wrap } from '../../src/mqttsn/forwarder.ts'
import type { Message } from '../../src/mqttsn/messages.ts'
import { Server } from '../../src/server.ts'
import { MemoryStore } from '../../src/store/store.ts'
import { traceLine } from '../../src/trace/event.ts'
import { Tracer, type Watcher } from '../../src/trace/tracer.ts'
import { OPTIONS } from '../gateway/harness.ts'

/** A whole server without sockets, under a tracer. */
export class TracedServer {
  readonly server: Server
  readonly tracer: Tracer
  now = 0
  readonly lines: string[] = []
  /** Ends the trace that makes `lines`. */
  readonly stop: () => void
  readonly #versions = new Map<number, ProtocolVersion>()
  readonly #heard = new Map<number, Uint8Array[]>()
  /** Datagrams that have left, in hex. */
  readonly datagrams: string[] = []

  constructor({ payloads = false }: { payloads?: boolean } = {}) {
    this.server = new Server({
      store: new MemoryStore(),
      clock: { epoch: 0 },
      notice: () => {},
      random: () => 0.5,
      gateway: { ...OPTIONS, forwarders: true },
    })
    this.server.recover(0)
    this.tracer = new Tracer(this.server)
    this.stop = this.watch({ seen: (event) => this.lines.push(traceLine(event, payloads)) })
  }

  watch(watcher: Watcher): () => void {
    return this.tracer.watch(watcher)
  }

  open(connection: number, version: ProtocolVersion = 4): void {
    this.#versions.set(connection, version)
    this.server.handle(this.now, { kind: 'opened', connection, from: { peer: `10.0.0.${connection}:5000`, listener: 'mqtt' } })
  }

  say(connection: number, ...packets: Packet[]): void {
    const version = this.#versions.get(connection)!
    for (const packet of packets) this.bytes(connection, encoded(packet, version))
  }

  bytes(connection: number, bytes: Uint8Array): void {
    this.server.handle(this.now, { kind: 'chunk', connection, bytes })
    this.drain()
  }

  sn(route: string, message: Message, nodeId?: Uint8Array): void {
    const bytes = encodedMessage(message)
    this.server.handle(this.now, { kind: 'datagram', route, bytes: nodeId === undefined ? bytes : wrap(nodeId, bytes) })
    this.drain()
  }

  drain(): void {
    for (let out = this.server.poll(this.now); out !== undefined; out = this.server.poll(this.now)) {
      if (out.kind === 'datagram') this.datagrams.push(Buffer.from(out.bytes).toString('hex'))
      if (out.kind !== 'write') continue
      const heard = this.#heard.get(out.connection) ?? []
      heard.push(Uint8Array.from(out.bytes))
      this.#heard.set(out.connection, heard)
    }
  }

  /** What was written to a client, in hex. */
  written(connection: number): string {
    return Buffer.concat(this.#heard.get(connection) ?? []).toString('hex')
  }

  /** What a client has read, decoded. */
  heard(connection: number): Packet[] {
    return decodeAll(this.#heard.get(connection) ?? [], 'server', this.#versions.get(connection)!).packets
  }

  /** The lines since the last call. */
  traced(): string[] {
    return this.lines.splice(0)
  }
}

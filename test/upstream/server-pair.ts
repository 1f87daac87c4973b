import { MqttClient } from '../../src/mqtt/client.ts'
import type { ConnectionId } from '../../src/mqtt/connection.ts'
import { Server, type ServerOptions } from '../../src/server.ts'
import { MemoryStore, type Store } from '../../src/store/store.ts'
import { OPTIONS } from '../gateway/harness.ts'
import type { Dialling, Far } from './pair.ts'

/** A second server as the far side. */
export class FarServer implements Far {
  server: Server
  readonly #near: Dialling
  readonly #streams = new Map<ConnectionId, ConnectionId>()
  readonly #clients = new Map<ConnectionId, MqttClient>()
  #last = 0
  isUp = true

  constructor(near: Dialling, options: Partial<ServerOptions> = {}, store: Store = new MemoryStore()) {
    this.#near = near
    near.far = this
    this.server = new Server({
      gateway: OPTIONS,
      store,
      clock: { epoch: 1_800_000_000_000 },
      notice: () => {},
      random: () => 0.5,
      ...options,
    })
    this.server.recover(near.now)
  }

  opened(connection: ConnectionId): boolean {
    if (!this.isUp) return false
    const there = ++this.#last
    this.#streams.set(connection, there)
    this.server.handle(this.#near.now, { kind: 'opened', connection: there, from: { peer: '10.0.0.1:1', listener: 'mqtt' } })
    return true
  }

  wrote(connection: ConnectionId, bytes: Uint8Array): void {
    this.server.handle(this.#near.now, { kind: 'chunk', connection: this.#streams.get(connection)!, bytes })
    this.run()
  }

  closed(connection: ConnectionId): void {
    const there = this.#streams.get(connection)
    this.#streams.delete(connection)
    if (there !== undefined) this.server.handle(this.#near.now, { kind: 'closed', connection: there, reason: 'closed' })
    this.run()
  }

  /** The line is cut: both ends see it. */
  cut(): void {
    for (const [here, there] of this.#streams) {
      this.#streams.delete(here)
      this.server.handle(this.#near.now, { kind: 'closed', connection: there, reason: 'cut' })
      this.#near.break(here, 'cut')
    }
    this.run()
    this.#near.run()
  }

  client(clientId: string): MqttClient {
    const client = new MqttClient({ clientId, keepAliveSeconds: 0 })
    const there = ++this.#last
    this.#clients.set(there, client)
    this.server.handle(this.#near.now, { kind: 'opened', connection: there, from: { peer: '10.0.0.2:1', listener: 'mqtt' } })
    client.connect(this.#near.now)
    this.run()
    return client
  }

  run(): void {
    const { now } = this.#near
    for (let again = true; again; ) {
      again = false
      for (const [connection, client] of this.#clients)
        for (let out = client.poll(); out !== undefined; out = client.poll()) {
          again = true
          if (out.kind === 'bytes') this.server.handle(now, { kind: 'chunk', connection, bytes: out.bytes })
          else if (out.kind === 'event') this.events.push({ client: client.clientId, ...out })
        }
      this.server.handleTimeout(now)
      for (let out = this.server.poll(now); out !== undefined; out = this.server.poll(now)) {
        again = true
        if (out.kind !== 'write' && out.kind !== 'close') continue
        const client = this.#clients.get(out.connection)
        if (client !== undefined) {
          if (out.kind === 'write') client.handleChunk(now, Uint8Array.from(out.bytes))
          continue
        }
        const here = [...this.#streams].find(([, there]) => there === out.connection)?.[0]
        if (here === undefined) continue
        if (out.kind === 'write') this.#near.chunk(here, out.bytes)
        else {
          this.#streams.delete(here)
          this.#near.break(here, 'connection closed')
        }
      }
    }
  }

  readonly events: ({ client: string } & object)[] = []
}

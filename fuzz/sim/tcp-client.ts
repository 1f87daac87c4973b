import { MqttClient, type MqttClientOptions, type MqttEvent } from '../../src/mqtt/client.ts'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { Alarm } from './schedule.ts'
import type { World } from './world.ts'

const STREAM_DELAY_MS = [1, 20] as const
/** Bytes that a socket takes for somebody who does not read. */
const SOCKET_BYTES = 200
/** After which a socket that takes nothing is given up (write_timeout_seconds). */
const STUCK_MS = 30_000

/** A TCP client, and the stream it has at the moment. */
export class TcpClient {
  readonly client: MqttClient
  readonly version: ProtocolVersion
  onEvent: (event: MqttEvent) => void = () => {}
  connection: number | undefined = undefined
  readonly #world: World
  readonly #alarm: Alarm
  #arrivesAt = 0
  /** What waits in its socket, because it does not read. */
  #unread: Uint8Array[] | undefined = undefined
  /** Bytes that the server has written, and that have not arrived. */
  #onItsWay = 0
  #congested = false
  /** What waits in the server's socket, because the server does not read. */
  #held: Uint8Array[] = []
  #paused = false

  constructor(world: World, options: MqttClientOptions) {
    this.#world = world
    this.client = new MqttClient(options)
    this.version = options.version ?? 5
    this.#alarm = new Alarm(
      world.schedule,
      () => this.client.nextTimeout(),
      () => this.act((client, now) => client.handleTimeout(now)),
    )
  }

  connect(): void {
    if (this.connection !== undefined) return
    this.connection = this.#world.openStream(this)
    this.act((client, now) => client.connect(now))
  }

  act(what: (client: MqttClient, now: number) => void): void {
    what(this.client, this.#world.schedule.now)
    for (let out = this.client.poll(); out !== undefined; out = this.client.poll()) {
      if (out.kind === 'event') this.onEvent(out)
      else if (out.kind === 'close') this.#end()
      else this.say(out.bytes)
    }
    this.#alarm.update()
  }

  /** Bytes leave for the server, behind everything that was said before. */
  say(bytes: Uint8Array): void {
    const { connection } = this
    if (connection === undefined) return
    this.inOrder(() => {
      if (this.connection !== connection) return
      this.#held.push(bytes)
      this.#read()
    })
  }

  /** Behind everything that it has said. */
  #end(): void {
    const { connection } = this
    this.inOrder(() => {
      if (this.connection === connection) this.breakStream()
    })
  }

  /** The stream ends for both sides; what was on its way is gone. */
  breakStream(): void {
    const { connection } = this
    if (connection === undefined) return
    this.#forgetStream()
    this.#world.streamClosed(connection)
    this.#world.input({ kind: 'closed', connection, reason: 'broken' })
    this.act((client) => client.handleClosed())
  }

  /** The server is gone, and knows nothing of it. */
  streamLost(): void {
    this.#forgetStream()
    this.act((client) => client.handleClosed())
  }

  receive(bytes: Uint8Array): void {
    this.act((client, now) => client.handleChunk(now, bytes))
  }

  /** A stream delays, but never reorders. */
  inOrder(deliver: () => void): void {
    const { schedule, random } = this.#world
    this.#arrivesAt = Math.max(this.#arrivesAt, schedule.now + random.between(...STREAM_DELAY_MS))
    schedule.at(this.#arrivesAt, deliver)
  }

  // --- What a socket can do

  get unreadBytes(): number {
    return this.#unread?.reduce((sum, { length }) => sum + length, 0) ?? 0
  }

  /** The server writes; calls `congested` if the socket takes no more after this. */
  write(bytes: Uint8Array, congested: () => void): void {
    const { connection } = this
    this.#onItsWay += bytes.length
    this.inOrder(() => {
      if (this.connection !== connection) return
      this.#onItsWay -= bytes.length
      this.#arrived(bytes)
    })
    if (this.#unread === undefined || this.#congested || this.unreadBytes + this.#onItsWay <= SOCKET_BYTES) return
    this.#congested = true
    const { schedule } = this.#world
    const unread = this.#unread
    schedule.after(STUCK_MS, () => {
      if (this.#unread === unread && connection !== undefined) this.#world.input({ kind: 'stuck', connection })
    })
    congested()
  }

  /** It takes nothing from its socket any more. */
  lookAway(): void {
    if (this.connection !== undefined) this.#unread ??= []
  }

  /** It takes what waits in its socket, and what comes. */
  lookBack(): void {
    const { connection } = this
    const unread = this.#unread ?? []
    this.#unread = undefined
    for (const bytes of unread) if (this.connection === connection) this.receive(bytes)
    if (!this.#congested || this.connection !== connection || connection === undefined) return
    this.#congested = false
    this.#world.input({ kind: 'congested', connection, on: false })
  }

  /** The server reads nothing from it any more. */
  pause(): void {
    this.#paused = true
  }

  /** The server reads on, as soon as it is done with what it does. */
  resume(): void {
    this.#paused = false
    this.#world.schedule.after(0, () => this.#read())
  }

  #read(): void {
    while (!this.#paused && this.connection !== undefined && this.#held.length > 0)
      this.#world.chunk(this, this.connection, this.#held.shift()!)
  }

  #arrived(bytes: Uint8Array): void {
    if (this.#unread === undefined) this.receive(bytes)
    else this.#unread.push(bytes)
  }

  #forgetStream(): void {
    this.connection = undefined
    this.#unread = undefined
    this.#onItsWay = 0
    this.#congested = false
    this.#held = []
    this.#paused = false
  }
}

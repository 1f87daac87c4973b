import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { connect, type Socket as TcpSocket } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { Ledger, Sent } from '../fuzz/sim/ledger.ts'
import { MqttClient, type MqttClientOptions, type MqttEvent } from '../src/mqtt/client.ts'
import { SnClient, type SnClientOptions, type SnEvent } from '../src/mqttsn/client.ts'

/** Milliseconds between two attempts to connect. */
const RECONNECT_MS = 30
/** How often clients look at their clocks, ms. */
const TICK_MS = 10

/** What clients need to know of the run. */
export interface Run {
  ledger: Ledger
  ports: { mqtt: number; sn: number }
  violated(what: string): void
  /** A TCP client has heard that its message was taken; with 5.0 the reason code may say that nobody is subscribed. */
  acknowledged?(sent: Sent, reasonCode: number): void
}

/** A message on its way, by packet or message id. */
class Open {
  readonly #sent = new Map<number, Sent>()

  get size(): number {
    return this.#sent.size
  }

  add(id: number | undefined, sent: Sent): void {
    if (id !== undefined) this.#sent.set(id, sent)
  }

  /** Returns the message if it was taken. */
  end(id: number, ok: boolean): Sent | undefined {
    const sent = this.#sent.get(id)
    this.#sent.delete(id)
    if (sent === undefined || !ok) return undefined
    sent.acknowledged = true
    return sent
  }
}

/** A TCP client with a session that lasts, over a real socket, that comes back until it is stopped. */
export class LiveClient {
  readonly client: MqttClient
  readonly open = new Open()
  readonly #run: Run
  readonly #filters: readonly string[]
  readonly #timer: NodeJS.Timeout
  #socket: TcpSocket | undefined
  #subscribed = false
  #known = false
  #away = false

  constructor(run: Run, options: MqttClientOptions, filters: readonly string[] = []) {
    this.#run = run
    this.#filters = filters
    this.client = new MqttClient({ cleanStart: false, properties: { sessionExpiryInterval: 86_400 }, ...options })
    this.#timer = setInterval(() => this.#act(() => this.client.handleTimeout(performance.now())), TICK_MS)
    this.#connect()
  }

  get ready(): boolean {
    return this.client.state === 'connected' && (this.#subscribed || this.#filters.length === 0)
  }

  publish(topic: string, qos: 1 | 2, owed: readonly string[]): void {
    const sent = this.#run.ledger.publish(this.client.clientId, topic, qos, owed)
    this.#act(() => this.open.add(this.client.publish(performance.now(), { topic, payload: Buffer.from(sent.text), qos }), sent))
  }

  /** Breaks its connection, and stays away until it is told to come back. */
  set away(away: boolean) {
    this.#away = away
    if (away) this.#socket?.destroy()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#away = true
    this.#socket?.destroy()
  }

  #connect(): void {
    if (this.#away) {
      setTimeout(() => this.#connect(), RECONNECT_MS).unref()
      return
    }
    const socket = connect(this.#run.ports.mqtt, '127.0.0.1')
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('connect', () => this.#act(() => this.client.connect(performance.now())))
    socket.on('data', (bytes) => this.#act(() => this.client.handleChunk(performance.now(), bytes)))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#act(() => this.client.handleClosed())
      this.#socket = undefined
      setTimeout(() => this.#connect(), RECONNECT_MS).unref()
    })
  }

  #act(what: () => void): void {
    what()
    for (let out = this.client.poll(); out !== undefined; out = this.client.poll()) {
      if (out.kind === 'bytes') this.#socket?.write(out.bytes)
      else if (out.kind === 'close') this.#socket?.end()
      else this.#told(out)
    }
  }

  #told(event: MqttEvent): void {
    const { clientId } = this.client
    if (event.event === 'message') this.#run.ledger.receive(clientId, Buffer.from(event.message.payload).toString())
    else if (event.event === 'published') {
      if (event.reasonCode >= 0x80) this.#run.violated(`${clientId}: a message was refused with ${event.reasonCode}`)
      const sent = this.open.end(event.packetId, event.reasonCode < 0x80)
      if (sent !== undefined) this.#run.acknowledged?.(sent, event.reasonCode)
    } else if (event.event === 'subscribed') this.#subscribed = true
    else if (event.event === 'refused') this.#run.violated(`${clientId}: refused with ${event.reasonCode}`)
    else if (event.event === 'connected') {
      if (this.#known && !event.sessionPresent) this.#run.violated(`${clientId} lost its session`)
      this.#known = true
      if (this.#subscribed || this.#filters.length === 0) return
      const wanted = this.#filters.map(
        (filter) => ({ filter, qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 }) as const,
      )
      this.#act(() => this.client.subscribe(performance.now(), wanted))
    }
  }
}

/** A sensor over a real UDP socket, which keeps its address whatever happens to the gateway. */
export class LiveSensor {
  readonly client: SnClient
  readonly open = new Open()
  /** Between two awake periods, ms; `undefined` for one that does not sleep. */
  readonly #sleepMs: number | undefined
  readonly #run: Run
  readonly #socket: Socket
  readonly #filter: string | undefined
  readonly #timer: NodeJS.Timeout
  readonly #topicIds = new Map<string, number>()
  #subscribed = false
  #wakeAt = 0
  /** Awake periods that ended with PINGRESP. */
  wakes = 0

  private constructor(
    run: Run,
    socket: Socket,
    options: SnClientOptions,
    filter: string | undefined,
    sleepMs: number | undefined,
  ) {
    this.#run = run
    this.#socket = socket
    this.#filter = filter
    this.#sleepMs = sleepMs
    this.client = new SnClient({ cleanSession: false, keepAliveSeconds: 300, tRetryMs: 150, nRetry: 1000, ...options })
    socket.on('message', (bytes) => this.#act(() => this.client.handleDatagram(performance.now(), bytes)))
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
    this.#act(() => this.client.connect(performance.now()))
  }

  static async open(run: Run, options: SnClientOptions, filter?: string, sleepMs?: number): Promise<LiveSensor> {
    const socket = createSocket('udp4')
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return new LiveSensor(run, socket, options, filter, sleepMs)
  }

  get isAsleep(): boolean {
    return this.client.state === 'asleep'
  }

  get ready(): boolean {
    return this.#sleepMs === undefined ? this.client.state === 'active' && this.client.idle : this.wakes > 0
  }

  publish(topic: string, qos: 1 | 2, owed: readonly string[]): void {
    const sent = this.#run.ledger.publish(this.client.clientId, topic, qos, owed)
    this.#act(() => this.open.add(this.client.publish(performance.now(), topic, Buffer.from(sent.text), qos), sent))
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#socket.close()
  }

  #tick(): void {
    const now = performance.now()
    this.#act(() => this.client.handleTimeout(now))
    if (this.isAsleep && this.#sleepMs !== undefined && now >= this.#wakeAt) this.#act(() => this.client.wake(now))
  }

  #act(what: () => void): void {
    what()
    for (let out = this.client.poll(); out !== undefined; out = this.client.poll()) {
      if (out.kind === 'datagram') this.#socket.send(out.bytes, this.#run.ports.sn, '127.0.0.1')
      else this.#told(out)
    }
  }

  #told(event: SnEvent): void {
    const { clientId } = this.client
    const now = performance.now()
    switch (event.event) {
      case 'message':
        this.#message(event)
        break
      case 'published':
        // Congestion is no promise: a message that it repeated may still be waiting for its acknowledgement when the next one comes.
        if (event.returnCode > 1) this.#run.violated(`${clientId}: a message was refused with ${event.returnCode}`)
        this.open.end(event.msgId, event.returnCode === 0)
        break
      case 'registered': {
        const known = this.#topicIds.get(event.topicName)
        if (known !== undefined && known !== event.topicId) {
          this.#run.violated(`${clientId}: ${event.topicName} had the topic id ${known}, and now ${event.topicId}`)
        }
        this.#topicIds.set(event.topicName, event.topicId)
        break
      }
      case 'connected':
        if (this.#filter !== undefined && !this.#subscribed) this.#act(() => this.client.subscribe(now, this.#filter!, 2))
        break
      case 'subscribed':
        this.#subscribed = true
        if (this.#sleepMs !== undefined) this.#act(() => this.client.sleep(now, 600))
        break
      case 'asleep':
      case 'wakeEnded':
        if (event.event === 'wakeEnded') this.wakes++
        this.#wakeAt = now + (this.#sleepMs ?? 0)
        break
      case 'disconnected':
      case 'timedOut':
      case 'refused':
        this.#run.violated(`${clientId}: ${event.event}, as a sensor that should have noticed nothing`)
        break
      default:
    }
  }

  #message({ topic, message }: Extract<SnEvent, { event: 'message' }>): void {
    const text = Buffer.from(message.data).toString()
    const expected = this.#run.ledger.sent.get(text)?.topic
    if (expected !== undefined && topic !== expected)
      this.#run.violated(`${this.client.clientId} took "${text}" for one on ${topic}`)
    this.#run.ledger.receive(this.client.clientId, text)
  }
}

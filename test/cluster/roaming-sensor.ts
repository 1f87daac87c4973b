import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Ledger, Sent } from '../../fuzz/sim/ledger.ts'
import type { Random } from '../../fuzz/sim/random.ts'
import { SnClient, type SnEvent, type SnWill } from '../../src/mqttsn/client.ts'
import { ReturnCode } from '../../src/mqttsn/messages.ts'

/** How often sensors look at their clocks, ms. */
const TICK_MS = 10
/** Until a sensor whose CONNECT was refused tries again, ms. */
const PAUSE_MS = 300
/** Six seconds without an answer, and it looks for another gateway. */
const PATIENCE = { tRetryMs: 300, nRetry: 20 }

/** What sensors need to know of the run. */
export interface Field {
  readonly ledger: Ledger
  readonly random: Random
  /** UDP ports of the gateways in reach. */
  readonly snPorts: readonly number[]
  /** Sensors publish what they measure, and go elsewhere. */
  readonly isBusy: boolean
  violated(what: string): void
}

export interface SensorHabits {
  readonly clientId: string
  readonly publishes: { readonly topic: string; readonly qos: 1 | 2; readonly owed: readonly string[] }
  readonly subscribes: { readonly filter: string; readonly qos: 0 | 1 | 2 }
  /** From one wake to the next, ms; undefined for one that does not sleep. */
  readonly sleepMs?: number
  /** How likely it is at another gateway when it wakes. */
  readonly roams?: number
  readonly will?: SnWill
  /** The gateway that it begins at. */
  readonly at?: number
}

/** What a sensor has met. */
export class Met {
  wakes = 0
  /** CONNECT at another gateway than before. */
  roamed = 0
  acknowledged = 0
  congested = 0
  /** Topic ids of another gateway, which were refused. */
  invalidIds = 0
  timedOut = 0
  refused = 0
  /** Told that its session is unknown or over. */
  disconnected = 0
}

/**
 * A battery sensor over a real UDP socket: it wakes, publishes or only asks for its messages, and sleeps again; when its gateway does not answer, or
 * when it is carried elsewhere, it connects at another one. It subscribes once in its life: CONNACK does not say whether a session was lost.
 */
export class RoamingSensor {
  readonly met = new Met()
  readonly clientId: string
  /** Its SUBSCRIBE is granted: from now on it is owed what is published for it. */
  isSubscribed = false
  /** Stays silent until this is undone, as if out of reach. */
  isAway = false
  at: number
  readonly #client: SnClient
  readonly #field: Field
  readonly #habits: SensorHabits
  readonly #socket: Socket
  readonly #timer: NodeJS.Timeout
  #open: { readonly msgId: number; readonly sent: Sent } | undefined
  /** When it acts next, ms; until then it is asleep or pauses. */
  #due = 0

  private constructor(field: Field, habits: SensorHabits, socket: Socket) {
    this.#field = field
    this.#habits = habits
    this.#socket = socket
    this.clientId = habits.clientId
    this.at = habits.at ?? 0
    const { will } = habits
    const options = { clientId: habits.clientId, cleanSession: false, keepAliveSeconds: 600, ...PATIENCE }
    this.#client = new SnClient(will === undefined ? options : { ...options, will })
    socket.on('message', (bytes, { port }) => {
      // It has left the others behind, and hears nothing of them.
      if (!this.isAway && port === this.#field.snPorts[this.at]) this.#act((now) => this.#client.handleDatagram(now, bytes))
    })
    this.#timer = setInterval(() => this.#act((now) => this.#tick(now)), TICK_MS)
  }

  static async open(field: Field, habits: SensorHabits): Promise<RoamingSensor> {
    const socket = createSocket('udp4')
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return new RoamingSensor(field, habits, socket)
  }

  get state(): SnClient['state'] {
    return this.#client.state
  }

  /** A message of its own is on its way. */
  get isOpen(): boolean {
    return this.#open !== undefined
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#socket.close()
  }

  /** Connects at this gateway at once, or as soon as it is not busy. */
  goTo(gateway: number): void {
    this.at = gateway
    this.#act((now) => this.#connect(now))
  }

  #tick(now: number): void {
    if (this.isAway) return
    const client = this.#client
    client.handleTimeout(now)
    if (now < this.#due || !client.idle) return
    if (client.state === 'disconnected') this.#connect(now)
    else if (client.state === 'asleep') this.#awake(now)
    else if (client.state === 'active' && this.#habits.sleepMs === undefined) this.#live(now)
  }

  /** One that never sleeps publishes now and then. */
  #live(now: number): void {
    const { random, isBusy } = this.#field
    this.#due = now + random.between(5, 50)
    if (!this.isSubscribed) this.#connect(now)
    if (!isBusy || !this.isSubscribed) return
    if (this.#mayRoam()) this.#connect(now)
    else this.#publish(now)
  }

  #awake(now: number): void {
    const { random, isBusy } = this.#field
    if (isBusy) this.#mayRoam()
    // At another gateway PINGREQ is answered with DISCONNECT, which makes it connect.
    if (!this.isSubscribed || (isBusy && random.chance(0.5))) this.#connect(now)
    else this.#client.wake(now)
  }

  #mayRoam(): boolean {
    const { random, snPorts } = this.#field
    if (snPorts.length < 2 || !random.chance(this.#habits.roams ?? 0)) return false
    this.#elsewhere()
    return true
  }

  #elsewhere(): void {
    const { random, snPorts } = this.#field
    if (snPorts.length < 2) return
    this.at = (this.at + random.between(1, snPorts.length - 1)) % snPorts.length
    this.met.roamed++
  }

  #connect(now: number): void {
    this.#open = undefined
    this.#client.connect(now)
  }

  #publish(now: number): void {
    const { topic, qos, owed } = this.#habits.publishes
    const sent = this.#field.ledger.publish(this.clientId, topic, qos, owed)
    this.#open = { msgId: this.#client.publish(now, topic, Buffer.from(sent.text), qos), sent }
  }

  #sleep(now: number): void {
    if (this.#habits.sleepMs !== undefined) this.#client.sleep(now, 600)
  }

  #act(what: (now: number) => void): void {
    const now = performance.now()
    what(now)
    const client = this.#client
    for (let out = client.poll(); out !== undefined; out = client.poll()) {
      if (out.kind === 'event') this.#told(now, out)
      else if (!this.isAway) this.#socket.send(out.bytes, this.#field.snPorts[this.at]!, '127.0.0.1')
    }
  }

  #told(now: number, event: SnEvent): void {
    const { met } = this
    switch (event.event) {
      case 'connected':
        if (!this.isSubscribed) this.#client.subscribe(now, this.#habits.subscribes.filter, this.#habits.subscribes.qos)
        else if (this.#field.isBusy) this.#publish(now)
        else this.#sleep(now)
        break
      case 'subscribed':
        if (event.returnCode === ReturnCode.ACCEPTED) this.isSubscribed = true
        else this.#pause(now)
        this.#sleep(now)
        break
      case 'published':
        this.#published(event.msgId, event.returnCode)
        this.#sleep(now)
        break
      case 'message':
        this.#message(event)
        break
      case 'wakeEnded':
        met.wakes++
        this.#due = now + this.#sleepMs
        break
      case 'asleep':
        this.#due = now + this.#sleepMs
        break
      case 'refused':
        met.refused++
        this.#pause(now)
        if (this.#field.random.chance(0.5)) this.#elsewhere()
        break
      case 'timedOut':
        met.timedOut++
        this.#open = undefined
        this.#elsewhere()
        break
      case 'disconnected':
        met.disconnected++
        this.#open = undefined
        break
      default:
    }
  }

  get #sleepMs(): number {
    return (this.#habits.sleepMs ?? 0) * (0.5 + this.#field.random.next())
  }

  #pause(now: number): void {
    this.#due = now + PAUSE_MS
  }

  #published(msgId: number, returnCode: number): void {
    const { met } = this
    const open = this.#open
    if (open?.msgId !== msgId) return
    this.#open = undefined
    if (returnCode === ReturnCode.ACCEPTED) {
      open.sent.acknowledged = true
      met.acknowledged++
    } else if (returnCode === ReturnCode.CONGESTION) met.congested++
    else if (returnCode === ReturnCode.INVALID_TOPIC_ID) met.invalidIds++
    else this.#field.violated(`${this.clientId}: a message was refused with ${returnCode}`)
  }

  #message({ topic, message }: Extract<SnEvent, { event: 'message' }>): void {
    const text = Buffer.from(message.data).toString()
    const { ledger } = this.#field
    const expected = ledger.sent.get(text)?.topic
    if (expected !== undefined && topic !== expected)
      this.#field.violated(`${this.clientId} took "${text}" of ${expected} for one of ${topic}`)
    ledger.receive(this.clientId, text)
  }
}

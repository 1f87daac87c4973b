import type { Instant } from '../../base/machine.ts'
import { SnClient, type SnEvent } from '../../mqttsn/client.ts'
import { ReturnCode } from '../../mqttsn/messages.ts'
import type { Tally } from './tally.ts'

/** What all sensors of a fleet have in common. */
export interface SensorHabits {
  /** First level of all topics. */
  readonly topicPrefix: string
  /** Time between two wakes, milliseconds; each sensor's clock is off by up to a tenth. */
  readonly sleepMs: number
  readonly qos: 0 | 1 | 2
  readonly tRetryMs: number
  readonly nRetry: number
}

/** Every other wake publishes a reading, and every fourth of these also a command for another sensor. */
const WAKES_PER_READING = 2
const READINGS_PER_COMMAND = 4
/** DISCONNECT announces a longer sleep than planned, so that a late wake is no loss. */
const ANNOUNCED = 1.5
/** Commands whose text a sensor remembers, to recognise duplicates. */
const REMEMBERED_MAX = 256

const ENCODER = new TextEncoder()
const DECODER = new TextDecoder()

/** The exchange under way; `off` between two of them, while the radio is off. */
type Step = 'off' | 'check' | 'connect' | 'subscribe' | 'reading' | 'command' | 'sleep' | 'end'

/** Attempts to ask for messages once more before its session ends. */
const LAST_CHECKS = 3

/**
 * A battery sensor, sans-I/O. It joins with a will, subscribes to its own commands, and sleeps. At every other wake it only asks for
 * messages (PINGREQ); at the others it connects and publishes a reading.
 */
export class SimulatedSensor {
  readonly clientId: string
  /** Return code with which CONNECT was refused last; undefined if it was not. */
  refused: number | undefined
  /** The gateway has answered something. */
  answered = false
  readonly #habits: SensorHabits
  readonly #tally: Tally
  readonly #random: () => number
  readonly #peer: () => string
  #client: SnClient
  /** When the radio is switched on again. */
  #due: Instant
  #step: Step = 'off'
  #mode: 'living' | 'stopping' | 'leaving' | 'gone' = 'living'
  #joined = false
  #wakes = 0
  #readings = 0
  #commands = 0
  #lastChecks = 0
  #command = { text: '', receiver: '' }
  #hasAll = false
  #onSince: Instant = 0
  #celsius: number
  readonly #remembered = new Set<string>()
  #retransmissions = 0

  /** `startAt`: when it switches itself on. `peer` chooses the sensor that a command is for. */
  constructor(clientId: string, habits: SensorHabits, tally: Tally, random: () => number, startAt: Instant, peer: () => string) {
    this.clientId = clientId
    this.#habits = habits
    this.#tally = tally
    this.#random = random
    this.#peer = peer
    this.#due = startAt
    this.#celsius = 15 + 10 * random()
    this.#client = this.#newClient(false)
  }

  /** True while its radio is off. */
  get isOff(): boolean {
    return this.#step === 'off'
  }

  get isAsleep(): boolean {
    return this.#client.state === 'asleep'
  }

  /** True once it has ended its session. */
  get isGone(): boolean {
    return this.#mode === 'gone'
  }

  /** True if it has ended its session after the gateway had said that nothing waits for it. */
  get hasAll(): boolean {
    return this.#hasAll
  }

  /** Stays asleep from now on. */
  stop(): void {
    if (this.#mode === 'living') this.#mode = 'stopping'
    if (this.isOff) this.#due = Number.POSITIVE_INFINITY
  }

  /** Asks for its messages once more, then ends its session. */
  leave(now: Instant): void {
    this.#mode = 'leaving'
    if (this.isOff) this.#due = now
  }

  handleDatagram(now: Instant, bytes: Uint8Array): void {
    this.answered = true
    this.#client.handleDatagram(now, bytes)
  }

  handleTimeout(now: Instant): void {
    this.#client.handleTimeout(now)
    if (this.isOff && this.#due <= now && !this.isGone) this.#switchOn(now)
  }

  nextTimeout(): Instant {
    if (this.isOff) return this.isGone ? Number.POSITIVE_INFINITY : this.#due
    return this.#client.nextTimeout() ?? Number.POSITIVE_INFINITY
  }

  /** The next datagram to send. */
  poll(now: Instant): Uint8Array | undefined {
    for (let output = this.#client.poll(); output !== undefined; output = this.#client.poll()) {
      if (output.kind === 'datagram') {
        const { retransmissions } = this.#client
        this.#tally.retransmissions += retransmissions - this.#retransmissions
        this.#retransmissions = retransmissions
        return output.bytes
      }
      this.#on(now, output)
    }
    return undefined
  }

  #switchOn(now: Instant): void {
    this.#onSince = now
    if (this.isAsleep && (this.#mode === 'leaving' || this.#wakes++ % WAKES_PER_READING === 0)) {
      this.#step = 'check'
      this.#client.wake(now)
    } else {
      this.#step = 'connect'
      this.#client.connect(now)
    }
  }

  #switchOff(now: Instant): void {
    this.#tally.awakeMs += now - this.#onSince
    this.#step = 'off'
    const pause = (this.#habits.sleepMs / WAKES_PER_READING) * (0.9 + 0.2 * this.#random())
    this.#due = this.#mode === 'living' ? now + pause : this.#mode === 'leaving' ? now : Number.POSITIVE_INFINITY
  }

  #on(now: Instant, event: SnEvent): void {
    switch (event.event) {
      case 'connected':
        this.refused = undefined
        if (this.#step === 'end') this.#client.disconnect(now)
        else if (this.#mode !== 'living') this.#sleep(now)
        else if (this.#joined) this.#report(now)
        else this.#subscribe(now)
        return
      case 'subscribed':
        this.#joined = event.returnCode === ReturnCode.ACCEPTED
        if (!this.#joined) this.#tally.refusals++
        this.#report(now)
        return
      case 'published':
        this.#published(now, event.returnCode)
        return
      case 'message':
        this.#message(DECODER.decode(event.message.data))
        return
      case 'asleep':
        this.#switchOff(now)
        return
      case 'wakeEnded':
        this.#tally.woke(now - this.#onSince)
        this.#hasAll = this.#mode === 'leaving'
        if (this.#hasAll) this.#end(now)
        else this.#switchOff(now)
        return
      case 'refused':
        this.#tally.refusals++
        this.refused = event.returnCode
        this.#broken(now)
        return
      case 'timedOut':
        this.#tally.timeouts++
        // The gateway may have lost its session, which CONNACK does not say: it subscribes again.
        this.#joined = false
        this.#broken(now)
        return
      case 'disconnected':
        // The gateway does not know it, or has ended its session.
        this.#joined = false
        this.#broken(now)
        return
      default:
    }
  }

  #subscribe(now: Instant): void {
    this.#step = 'subscribe'
    this.#client.subscribe(now, this.#topic(this.clientId, 'set'), 1)
  }

  #report(now: Instant): void {
    this.#step = 'reading'
    this.#celsius += this.#random() - 0.5
    const temperature = Math.round(this.#celsius * 10) / 10
    const reading = JSON.stringify({ n: ++this.#readings, temperature, battery: 3 - this.#readings / 1e5 })
    this.#tally.published++
    const { qos } = this.#habits
    this.#client.publish(now, this.#topic(this.clientId, 'state'), ENCODER.encode(reading), qos)
    if (qos === 0) this.#published(now, ReturnCode.ACCEPTED)
  }

  #published(now: Instant, returnCode: number): void {
    const isAccepted = returnCode === ReturnCode.ACCEPTED
    if (!isAccepted) this.#tally.refusals++
    if (this.#step === 'reading') {
      if (isAccepted) this.#tally.acknowledged++
      else this.#tally.givenUp++
      if (this.#mode === 'living' && this.#readings % READINGS_PER_COMMAND === 0) this.#sendCommand(now)
      else this.#sleep(now)
    } else if (this.#step === 'command') {
      if (isAccepted) this.#tally.commanded(this.#command.text, this.#command.receiver)
      this.#sleep(now)
    }
  }

  #sendCommand(now: Instant): void {
    this.#step = 'command'
    const receiver = this.#peer()
    this.#command = { text: `${this.clientId} ${++this.#commands}`, receiver }
    this.#client.publish(now, this.#topic(receiver, 'set'), ENCODER.encode(this.#command.text), 1)
  }

  #sleep(now: Instant): void {
    this.#step = 'sleep'
    this.#client.sleep(now, Math.ceil((this.#habits.sleepMs * ANNOUNCED) / 1000))
  }

  #message(text: string): void {
    if (this.#remembered.has(text)) {
      this.#tally.duplicates++
      return
    }
    this.#remembered.add(text)
    if (this.#remembered.size > REMEMBERED_MAX) this.#remembered.delete(this.#remembered.values().next().value!)
    this.#tally.received(text)
  }

  /** The exchange has ended without success: it tries again at its next wake. */
  #broken(now: Instant): void {
    const step = this.#step
    if (step === 'reading') this.#tally.givenUp++
    if (step === 'end' || (this.#mode === 'leaving' && ++this.#lastChecks >= LAST_CHECKS)) this.#mode = 'gone'
    this.#switchOff(now)
  }

  /** Ends its session with a clean one, so that the gateway keeps nothing of it. */
  #end(now: Instant): void {
    this.#client = this.#newClient(true)
    this.#retransmissions = 0
    this.#step = 'end'
    this.#client.connect(now)
  }

  #newClient(cleanSession: boolean): SnClient {
    const { clientId } = this
    const { tRetryMs, nRetry, sleepMs } = this.#habits
    const will = { topic: this.#topic(clientId, 'lost'), message: ENCODER.encode('lost'), qos: 1 as const, retain: false }
    const keepAliveSeconds = Math.min(0xffff, Math.max(60, Math.ceil(sleepMs / 1000)))
    return new SnClient({ clientId, cleanSession, keepAliveSeconds, tRetryMs, nRetry, ...(!cleanSession && { will }) })
  }

  #topic(clientId: string, name: string): string {
    return `${this.#habits.topicPrefix}/${clientId}/${name}`
  }
}

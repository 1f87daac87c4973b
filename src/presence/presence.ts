import { earliest, type Instant } from '../base/machine.ts'
import type { Memory } from '../base/memory.ts'
import type { LiveTopics } from '../broker/live-topics.ts'
import type { Sensor, Sensors } from '../gateway/sensors.ts'
import { BridgePresence, type BridgeSurroundings } from './bridge-presence.ts'
import { discovery } from './home-assistant.ts'
import { presenceText } from './message.ts'
import { BY_CLIENT_ID, BY_OBJECT_ID, SensorSpace } from './sensor-space.ts'

export interface PresenceOptions {
  /** Another topic beside the one under `$SYS`. `%c`, a whole level but not the first, stands for the client id. */
  readonly topic?: string | undefined
  /** Discovery prefix of Home Assistant, which is told of no sensor if it is absent. Needs `topic`. */
  readonly discoveryPrefix?: string | undefined
}

/** What presence is made of. */
interface Surroundings {
  readonly sensors: Sensors
  readonly live: LiveTopics
  readonly memory: Memory
  /** Returns the wall clock at instant 0, in milliseconds since 1970. */
  readonly wallEpoch: () => number
  /** Presence is published under `$SYS`. */
  readonly sys: boolean
  /** Roost's version, for Home Assistant. */
  readonly version: string
  /** Undefined without bridges. */
  readonly bridges?: BridgeSurroundings | undefined
}

/** Milliseconds between two messages about one sensor. */
const INTERVAL_MS = 1000
/** Sensors and deliveries in one turn of the event loop: about 2 ms. */
const TURN_WORK = 256
/** Bytes of memory of a sensor that has changed within the last second. */
const CHANGE_BYTES = 200
/** Before any instant: work that continues as soon as everything else has had its turn. */
const OVERDUE = 0
const NOTHING = new Uint8Array(0)
const ENCODER = new TextEncoder()

/** A sensor that was sent within the last second. */
interface Sent {
  readonly until: Instant
  /** It has changed since. */
  again: boolean
  /** It has appeared or disappeared since. */
  announce: boolean
  /** While messages wait for an active sensor: how many there were. It gets them without a change of state. */
  readonly waiting: number | undefined
}

/**
 * Shows subscribers which sensor is active, asleep, awake or lost: a retained JSON message for each sensor, and for Home Assistant
 * a retained discovery message. They are made when a client subscribes, and sent when something changes, at most once a second
 * for each sensor. While nobody subscribes, a change of state costs one comparison (`SensorStates.changed`).
 *
 * None of them is stored, not even the discovery messages: the sensors themselves are, so the same messages are made after a
 * restart, and none is left behind by a sensor that has ended, or when the option is turned off. As stored retained messages,
 * those of 100,000 sensors would take 150 MB, and count towards the limits on what clients retain.
 */
export class Presence {
  readonly #around: Surroundings
  /** Of `SensorSpace`: `#discovery` has the messages that change only when a sensor appears or disappears. */
  readonly #presence: SensorSpace[] = []
  readonly #discovery: SensorSpace | undefined
  readonly #bridges: BridgePresence | undefined
  /** The sensors to send next, and whether each has appeared or disappeared. */
  readonly #due = new Map<string, boolean>()
  /** Those that were sent within the last second, in that order. */
  readonly #sent = new Map<string, Sent>()

  constructor({ topic, discoveryPrefix }: PresenceOptions, around: Surroundings) {
    this.#around = around
    const { sensors, live, memory, sys, version, bridges, wallEpoch } = around
    const wanted = (): void => this.#wanted()
    const present = (sensor: Sensor): Uint8Array => ENCODER.encode(presenceText(sensor, around.wallEpoch()))
    if (sys) this.#presence.push(new SensorSpace(['$SYS/broker/roost/sensors/', ''], BY_CLIENT_ID, sensors, present, wanted))
    if (topic !== undefined) {
      const [before = '', after = ''] = topic.split('%c')
      const space = new SensorSpace([before, after], BY_CLIENT_ID, sensors, present, wanted)
      this.#presence.push(space)
      const textOf = discovery(version)
      const announce = ({ clientId }: Sensor): Uint8Array => ENCODER.encode(textOf(clientId, space.topicOf(clientId)))
      if (discoveryPrefix !== undefined)
        this.#discovery = new SensorSpace([`${discoveryPrefix}/device/`, '/config'], BY_OBJECT_ID, sensors, announce, wanted)
    }
    if (sys && bridges !== undefined) this.#bridges = new BridgePresence(bridges, live, wallEpoch)
    for (const space of this.#presence) live.add(space)
    if (this.#discovery !== undefined) live.add(this.#discovery)
    memory.count('sessions', () => (this.#due.size + this.#sent.size) * CHANGE_BYTES)
  }

  handleTimeout(now: Instant): void {
    this.#bridges?.handleTimeout(now)
    let left = TURN_WORK
    for (const [clientId, sent] of this.#sent) {
      if (sent.until > now || left-- === 0) break
      this.#sent.delete(clientId)
      if (sent.again || this.#hasChanged(clientId, sent)) this.#due.set(clientId, sent.announce)
      else if (sent.waiting !== undefined) this.#sent.set(clientId, { ...sent, until: now + INTERVAL_MS })
    }
    left = TURN_WORK
    for (const [clientId, announce] of this.#due) {
      if (left <= 0) break
      this.#due.delete(clientId)
      left -= 1 + this.#send(now, clientId, announce)
    }
  }

  nextTimeout(): Instant | undefined {
    if (this.#due.size > 0) return OVERDUE
    const bridges = this.#bridges?.nextTimeout()
    for (const { until } of this.#sent.values()) return earliest(until, bridges)
    return bridges
  }

  /** Somebody has subscribed, or nobody subscribes any more. */
  #wanted(): void {
    const { sensors, live } = this.#around
    const isWanted = this.#discovery?.isWanted === true || this.#presence.some((space) => space.isWanted)
    live.waits = isWanted ? (clientId) => this.#changed(clientId, false) : undefined
    if (isWanted) {
      sensors.observe(this.#changed)
      return
    }
    sensors.unobserve(this.#changed)
    this.#due.clear()
    this.#sent.clear()
  }

  readonly #changed = (clientId: string, announce: boolean): void => {
    const sent = this.#sent.get(clientId)
    if (sent === undefined) this.#due.set(clientId, announce || this.#due.get(clientId) === true)
    else {
      sent.again = true
      sent.announce ||= announce
    }
  }

  #hasChanged(clientId: string, { waiting }: Sent): boolean {
    return waiting !== undefined && this.#around.sensors.get(clientId)?.waiting.messages !== waiting
  }

  /** Returns the number of deliveries. */
  #send(now: Instant, clientId: string, announce: boolean): number {
    const sensor = this.#around.sensors.get(clientId)
    const waiting = sensor?.state === 'active' && sensor.waiting.messages > 0 ? sensor.waiting.messages : undefined
    // Before it is published, because what changes during that has not been told.
    this.#sent.set(clientId, { until: now + INTERVAL_MS, again: false, announce: false, waiting })
    let deliveries = 0
    // Home Assistant drops an entity before its state disappears.
    if (announce) deliveries += this.#publish(now, this.#discovery, clientId, sensor)
    for (const space of this.#presence) deliveries += this.#publish(now, space, clientId, sensor)
    return deliveries
  }

  #publish(now: Instant, space: SensorSpace | undefined, clientId: string, sensor: Sensor | undefined): number {
    if (space?.isWanted !== true) return 0
    const payload = sensor === undefined ? NOTHING : space.payloadOf(sensor)
    return this.#around.live.publish(now, space.topicOf(clientId), payload)
  }
}

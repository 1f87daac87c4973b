import type { LiveLevel, LiveSpace } from '../broker/live-topics.ts'
import type { Sensor, Sensors } from '../gateway/sensors.ts'
import { clientIdOf, hasObjectId, levelOf, OBJECT_ID_PREFIX, objectIdOf, plainIdOf } from './names.ts'

/** Seats examined between two results of a search: about 20 us. */
const STEP = 32

/** How sensors are named in a topic. */
interface Naming {
  levelOf(clientId: string): string
  owns(level: string): boolean
  /** Whether `find` looks at all sensors. */
  isSearch(level: string): boolean
  /** The sensor, and `undefined` for each other one that was examined. */
  find(sensors: Sensors, level: string): Iterable<Sensor | undefined>
}

export const BY_CLIENT_ID: Naming = {
  levelOf,
  owns: () => true,
  isSearch: () => false,
  find: (sensors, level) => {
    const clientId = clientIdOf(level)
    return clientId === undefined ? [] : [sensors.get(clientId)]
  },
}

const ownsObjectId = (level: string): boolean => level.startsWith(OBJECT_ID_PREFIX)
/** Where a `_` may stand for something else: the hash cannot be undone. */
const isAmbiguous = (level: string): boolean => ownsObjectId(level) && plainIdOf(level).includes('_')

export const BY_OBJECT_ID: Naming = {
  levelOf: objectIdOf,
  owns: ownsObjectId,
  isSearch: isAmbiguous,
  *find(sensors, level) {
    if (!ownsObjectId(level)) return
    const plain = sensors.get(plainIdOf(level))
    if (plain !== undefined && hasObjectId(plain.clientId, level)) yield plain
    else if (isAmbiguous(level))
      for (const sensor of every(sensors)) {
        const isFound = sensor !== undefined && hasObjectId(sensor.clientId, level)
        yield isFound ? sensor : undefined
        if (isFound) return
      }
  },
}

/** One retained message for each sensor. */
export class SensorSpace implements LiveSpace {
  readonly prefix: string
  readonly suffix: string
  /** Whether somebody subscribes to any of them. */
  isWanted = false
  readonly payloadOf: (sensor: Sensor) => Uint8Array
  readonly #naming: Naming
  readonly #sensors: Sensors
  readonly #wanted: () => void

  /** `wanted` is called when `isWanted` has changed. */
  constructor(
    [prefix, suffix]: readonly [string, string],
    naming: Naming,
    sensors: Sensors,
    payloadOf: (sensor: Sensor) => Uint8Array,
    wanted: () => void,
  ) {
    this.prefix = prefix
    this.suffix = suffix
    this.payloadOf = payloadOf
    this.#naming = naming
    this.#sensors = sensors
    this.#wanted = wanted
  }

  topicOf(clientId: string): string {
    return this.prefix + this.#naming.levelOf(clientId) + this.suffix
  }

  owns(level: string): boolean {
    return this.#naming.owns(level)
  }

  isSearch(level: string): boolean {
    return this.#naming.isSearch(level)
  }

  *find(level: string | undefined): Generator<LiveLevel | undefined, void> {
    const found = level === undefined ? every(this.#sensors) : this.#naming.find(this.#sensors, level)
    for (const sensor of found)
      yield sensor && { level: this.#naming.levelOf(sensor.clientId), payload: () => this.payloadOf(sensor) }
  }

  wanted(on: boolean): void {
    this.isWanted = on
    this.#wanted()
  }
}

/** All sensors, each as it is when its turn comes, and `undefined` once in a while, so that the caller may stop. */
function* every(sensors: Sensors): Generator<Sensor | undefined, void> {
  for (let seat: number | undefined = 0; seat !== undefined; ) {
    const page = sensors.page(seat, STEP)
    yield* page.sensors
    yield undefined
    seat = page.next
  }
}

import { decodeMessage, isMalformed } from '../../../src/mqttsn/decode.ts'
import type { Message } from '../../../src/mqttsn/messages.ts'
import type { Node } from '../node.ts'
import type { Site } from '../site.ts'
import type { Station } from '../station.ts'
import type { TcpClient } from '../tcp-client.ts'
import type { Observer, Sensor } from '../world.ts'

/** Looks on at a site, and says what must not have happened. */
export interface Checker extends Observer {
  readonly name: string
  /** What it has found so far; asked after every step. */
  readonly found: readonly string[]
  /** Looks at the state between two steps. */
  look?(): void
  /** Faults have ended, everybody has come back, and has had the time that what is owed may take. */
  settled?(): void
}

export const messageOf = (datagram: Uint8Array): Message | undefined => {
  const message = decodeMessage(datagram)
  return isMalformed(message) ? undefined : message
}

/** Until what a store has refused is tried again, and has had its turn. */
const STORE_RETRY_MS = 11_000

export abstract class SiteChecker implements Checker {
  abstract readonly name: string
  readonly found: string[] = []
  protected readonly site: Site

  constructor(site: Site) {
    this.site = site
  }

  protected tell(what: string): void {
    this.found.push(`${this.site.world.schedule.now} ms: ${what}`)
  }

  #refusals = 0
  #waitsUntil = Number.NEGATIVE_INFINITY

  /** The store has refused something, or has no room, or has had so a moment ago: what is due may wait for it, and is tried again. To be asked in `look`. */
  protected storeMayWait(): boolean {
    const { store, schedule } = this.site.world
    if (store.refuse || !store.hasRoom || store.refusals !== this.#refusals) this.#waitsUntil = schedule.now + STORE_RETRY_MS
    this.#refusals = store.refusals
    return schedule.now < this.#waitsUntil
  }

  protected nodeOf(sensor: Sensor): Node {
    return this.site.nodes.find((node) => node.sensor === sensor)!
  }

  protected stationOf(tcp: TcpClient): Station {
    return this.site.stations.find((station) => station.tcp === tcp)!
  }
}

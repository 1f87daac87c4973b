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

  protected nodeOf(sensor: Sensor): Node {
    return this.site.nodes.find((node) => node.sensor === sensor)!
  }

  protected stationOf(tcp: TcpClient): Station {
    return this.site.stations.find((station) => station.tcp === tcp)!
  }
}

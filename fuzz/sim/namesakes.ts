import type { Site } from './site.ts'
import type { TcpClient } from './tcp-client.ts'

/** For which the session of a namesake outlives its stream. */
const LASTS_SECONDS = 30
/** MQTT 5.0 reason code: Client Identifier not valid. */
const ID_NOT_VALID = 0x85

/**
 * TCP clients with the client ids of sensors. They do nothing but come and go, with sessions that last; what is promised to the sensors has to hold all
 * the same, and nobody may be kept out because of the name (ruling A32).
 */
export class Namesakes {
  readonly #site: Site
  readonly #clients = new Map<string, TcpClient>()
  /** Those that were refused for their name. */
  readonly refused: string[] = []

  constructor(site: Site) {
    this.#site = site
  }

  /** The namesake of this sensor comes, or goes if it is there. */
  comeOrGo(clientId: string): void {
    const namesake = this.#clients.get(clientId) ?? this.#made(clientId)
    if (namesake.client.state === 'connected') namesake.act((mqtt, now) => mqtt.disconnect(now))
    else namesake.connect()
  }

  /** All of them go. */
  leave(): void {
    for (const namesake of this.#clients.values()) if (namesake.client.state !== 'closed') namesake.breakStream()
  }

  #made(clientId: string): TcpClient {
    const properties = { sessionExpiryInterval: LASTS_SECONDS }
    const made = this.#site.world.addTcpClient({ clientId, cleanStart: false, properties }, 'unobserved')
    made.onEvent = (event) => {
      if (event.event === 'refused' && event.reasonCode === ID_NOT_VALID) this.refused.push(clientId)
    }
    this.#clients.set(clientId, made)
    return made
  }
}

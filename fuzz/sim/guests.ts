import type { TcpClient } from './tcp-client.ts'
import type { World } from './world.ts'

/** For everything that has a delay of its own. */
const SHORT_SECONDS = 10
const FILTERS = ['room/b/+', '+/+/c', '$share/guests/room/#', '$share/guests/xy']

/**
 * TCP clients that make use of what no sensor has: shared subscriptions, topic aliases, wills that wait, 3.1.1. Nothing is promised of them; they are
 * there to leave something behind.
 */
export class Guests {
  readonly #clients: readonly TcpClient[]

  constructor(world: World) {
    const will = { topic: 'guests/gone', payload: Buffer.from('gone'), qos: 1, retain: false } as const
    this.#clients = [
      world.addTcpClient({
        clientId: 'g0',
        cleanStart: false,
        will: { ...will, properties: { willDelayInterval: SHORT_SECONDS / 2 } },
        properties: { sessionExpiryInterval: SHORT_SECONDS, topicAliasMaximum: 10, receiveMaximum: 2 },
      }),
      world.addTcpClient({ clientId: 'g1', version: 4, will: { ...will, properties: {} } }),
      world.addTcpClient({ clientId: 'g2', properties: { topicAliasMaximum: 2 } }),
    ]
    for (const [i, guest] of this.#clients.entries())
      guest.onEvent = ({ event }) => {
        if (event !== 'connected') return
        const filters = i === 1 ? FILTERS.slice(0, 3) : FILTERS
        guest.act((mqtt, now) =>
          mqtt.subscribe(
            now,
            filters.map((filter) => ({ filter, qos: 2 - i }) as never),
          ),
        )
      }
  }

  /** Whoever is not there comes, and says something. */
  come(): void {
    for (const guest of this.#clients) {
      guest.connect()
      if (guest.client.state !== 'connected') continue
      const topic = 'room/b/c'
      guest.act((mqtt, now) => mqtt.publish(now, { topic, payload: Buffer.from('hello'), qos: 1 }))
    }
  }

  leave(silently: boolean): void {
    for (const guest of this.#clients) {
      if (silently) guest.breakStream()
      else if (guest.client.state === 'connected') guest.act((mqtt, now) => mqtt.disconnect(now))
    }
  }
}

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Packet } from '../src/mqtt/packets.ts'
import { Publish } from '../src/mqtt/publish.ts'
import { Wire } from '../test/mqtt/wire.ts'
import { runs } from './runs.ts'

const TOPICS = ['in/a', 'in/b', 'out/a'] as const

type Step =
  | {
      readonly do: 'say'
      readonly who: 'bridge' | 'other'
      readonly topic: number
      readonly qos: 0 | 1
      readonly retain: boolean
    }
  | { readonly do: 'leave' | 'come' | 'subscribe' | 'restart' }

const STEP: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('say' as const),
      who: fc.constantFrom('bridge', 'other'),
      topic: fc.nat(TOPICS.length - 1),
      qos: fc.constantFrom(0, 1),
      retain: fc.boolean(),
    }),
  },
  ...(['leave', 'come', 'subscribe', 'restart'] as const).map((name) => ({
    weight: 1,
    arbitrary: fc.constant({ do: name }),
  })),
)

/**
 * A Mosquitto bridge as it says itself (protocol level 0x84) with a lasting session, and an ordinary client: what the bridge says never comes back to
 * it, what the other says reaches it as it was published, and with QoS 1 also what was said while it was away, or while there was no process.
 */
class Site {
  #wire = Wire.stored()
  #bridge: number | undefined
  #other = 0
  #count = 0
  /** What the bridge has still to get, and may have to. */
  readonly #owed = new Map<string, boolean>()
  readonly #mayCome = new Map<string, boolean>()
  readonly found: string[] = []

  constructor() {
    this.#come()
    this.#subscribe()
    this.#other = this.#wire.connect({ protocolVersion: 4, clientId: 'other' })
  }

  take(step: Step): void {
    if (step.do === 'say') this.#say(step)
    else if (step.do === 'come') this.#come()
    else if (step.do === 'subscribe') this.#subscribe()
    else if (step.do === 'leave') this.#leave()
    else {
      this.#leave()
      this.#wire = this.#wire.restarted()
      this.#other = this.#wire.connect({ protocolVersion: 4, clientId: 'other' })
    }
    this.#read()
  }

  /** What is still owed when the bridge is there. */
  settle(): string[] {
    this.#come()
    this.#read()
    return [...this.found, ...[...this.#owed.keys()].map((text) => `the bridge never got ${text}`)]
  }

  #come(): void {
    if (this.#bridge !== undefined) return
    this.#bridge = this.#wire.connect({ protocolVersion: 4, bridge: true, clientId: 'bridge', cleanStart: false })
  }

  #leave(): void {
    if (this.#bridge === undefined) return
    this.#wire.close(this.#bridge)
    this.#bridge = undefined
  }

  #subscribe(): void {
    if (this.#bridge === undefined) return
    const options = { qos: 1 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 as const }
    const subscriptions = [
      { filter: 'in/#', ...options },
      { filter: 'out/#', ...options },
    ]
    this.#wire.send(this.#bridge, { type: 8, packetId: 7, subscriptions, properties: {} })
  }

  #say({ who, topic, qos, retain }: Extract<Step, { do: 'say' }>): void {
    const from = who === 'bridge' ? this.#bridge : this.#other
    if (from === undefined) return
    const text = `${who} ${++this.#count}`
    if (who === 'other') (qos === 1 || this.#bridge !== undefined ? this.#owed : this.#mayCome).set(text, retain)
    this.#wire.send(from, Publish.of(TOPICS[topic]!, Buffer.from(text), qos, retain, qos))
  }

  #read(): void {
    if (this.#bridge === undefined) return
    for (let seen = this.#wire.packets(this.#bridge); seen.length > 0; seen = this.#wire.packets(this.#bridge))
      for (const packet of seen) if (typeof packet !== 'string' && packet.type === 3) this.#got(packet)
  }

  #got(packet: Extract<Packet, { type: 3 }>): void {
    const text = Buffer.from(packet.payload).toString()
    if (packet.qos === 1) this.#wire.send(this.#bridge!, { type: 4, packetId: packet.packetId, reasonCode: 0, properties: {} })
    const retain = this.#owed.get(text) ?? this.#mayCome.get(text)
    // Retained messages come again with each subscription, those of the bridge among them [3.1.1 section 3.3.1.3].
    if (!this.#owed.delete(text) && packet.retain) return
    if (retain === undefined) this.found.push(`the bridge got ${text}`)
    else if (retain !== packet.retain) this.found.push(`the bridge got ${text} with RETAIN ${packet.retain}`)
    this.#mayCome.set(text, retain ?? false)
  }
}

test('a bridge gets what others say, as they have said it, and nothing of its own', () => {
  const property = fc.property(fc.array(STEP, { maxLength: 40 }), (steps) => {
    const site = new Site()
    for (const step of steps) site.take(step)
    expect(site.settle()).toEqual([])
  })
  fc.assert(property, runs(100))
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Connect } from '../src/mqtt/packets.ts'
import { type Peer, STAYS, STAYS_OLD, World } from '../test/mqtt/peers.ts'
import { runs } from './runs.ts'
import { DelayedStore } from './sim/delayed-store.ts'

/** What happens next: a message, acknowledgements (of what fraction), a subscriber that comes back (with what window), a new process. */
type Step =
  | { readonly do: 'publish'; readonly qos: 1 | 2 }
  | { readonly do: 'answer'; readonly every: number }
  | { readonly do: 'reconnect'; readonly window: number | undefined }
  | { readonly do: 'restart' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('publish' as const), qos: fc.constantFrom(1 as const, 2 as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('answer' as const), every: fc.integer({ min: 1, max: 3 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('reconnect' as const),
      window: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'restart' as const }) },
)

/** A subscriber that keeps what the protocol has it keep, and notes where the broker breaks it. */
class Subscriber {
  readonly got = { 1: [] as number[], 2: [] as number[] }
  readonly wrong: string[] = []
  #world: World
  #peer: Peer
  #window = 20
  /** Packet ids of QoS 2 messages that wait for PUBREL; they outlive connections. */
  readonly #open = new Set<number>()
  /** PUBLISH packets of this connection that are not fully acknowledged. */
  #unanswered = new Set<number>()
  #owed: (() => void)[] = []

  constructor(world: World) {
    this.#world = world
    this.#peer = world.peer('s', STAYS)
    this.#peer.subscribe('a', 2)
    world.commit()
    this.#peer.read()
  }

  reconnect(world: World, window: number | undefined): void {
    if (world === this.#world) this.#peer.lost()
    this.#world = world
    this.#unanswered = new Set()
    this.#owed = []
    this.#window = window ?? 20
    const five: Partial<Connect> = { ...STAYS, properties: { ...STAYS.properties, receiveMaximum: this.#window } }
    this.#peer = world.peer('s', window === undefined ? STAYS_OLD : five)
    this.#take(this.#peer.greeting.split(','))
  }

  /** Answers every so many of what it owes an answer, and what comes of that. */
  answer(every: number): void {
    for (let i = 0; i < 100; i++) {
      this.#world.commit()
      this.#take(this.#peer.read())
      const owed = this.#owed
      if (owed.length === 0) return
      this.#owed = []
      for (const [at, answer] of owed.entries()) if (at % every === 0) answer()
    }
  }

  #take(lines: readonly string[]): void {
    for (const line of lines) {
      const [, payload, qos, packetId] = /^a=(\d+) q([12]) #(\d+)/.exec(line) ?? []
      if (packetId !== undefined) this.#publish(Number(payload), qos === '1' ? 1 : 2, Number(packetId), line)
      const released = Number(/^PUBREL #(\d+)/.exec(line)?.[1] ?? 0)
      if (released > 0) {
        this.#open.delete(released)
        this.#owed.push(() => this.#done('PUBCOMP', released))
      }
    }
  }

  #publish(payload: number, qos: 1 | 2, packetId: number, line: string): void {
    this.#unanswered.add(packetId)
    if (this.#unanswered.size > this.#window) this.wrong.push(`${this.#unanswered.size} in flight, above ${this.#window}`)
    if (qos === 1) {
      this.got[1].push(payload)
      this.#owed.push(() => this.#done('PUBACK', packetId))
      return
    }
    if (!this.#open.has(packetId)) this.got[2].push(payload)
    else if (!line.endsWith('dup')) this.wrong.push(`${line} while its packet id is in use`)
    this.#open.add(packetId)
    this.#owed.push(() => this.#peer.ack('PUBREC', packetId))
  }

  #done(type: 'PUBACK' | 'PUBCOMP', packetId: number): void {
    this.#unanswered.delete(packetId)
    this.#peer.ack(type, packetId)
  }
}

test('QoS 2 exactly once and QoS 1 at least once, in order and within the window, over reconnects and restarts', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let world = new World({ store: new DelayedStore() })
      const subscriber = new Subscriber(world)
      let publisher = world.peer('p', STAYS)
      const sent = { 1: [] as number[], 2: [] as number[] }
      for (const [i, happens] of steps.entries()) {
        if (happens.do === 'publish') {
          sent[happens.qos].push(i)
          publisher.publish('a', String(i), { qos: happens.qos, id: i + 1 })
        } else if (happens.do === 'answer') subscriber.answer(happens.every)
        else if (happens.do === 'reconnect') subscriber.reconnect(world, happens.window)
        else {
          world.commit()
          world = world.restarted()
          subscriber.reconnect(world, undefined)
          publisher = world.peer('p', STAYS)
        }
      }
      for (let i = 0; i < 3; i++) {
        subscriber.reconnect(world, 2)
        subscriber.answer(1)
      }
      expect(subscriber.wrong).toEqual([])
      expect(subscriber.got[2]).toEqual(sent[2])
      expect([...new Set(subscriber.got[1])]).toEqual(sent[1])
      expect(world.broker.sessions.waiting().messages).toBe(0)
    }),
    runs(50),
  )
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { silenceMs } from '../src/gateway/client/supervision.ts'
import { OPTIONS, say } from '../test/gateway/harness.ts'
import { type Connected, type Got, taken, World } from '../test/server-world.ts'
import { runs } from './runs.ts'

const ALL = 'roost/sensors/#'
const SENSORS = ['a', 'b/c', '%', 'asleep']
const RETRY = { tRetryMs: OPTIONS.tRetryMs, nRetry: OPTIONS.nRetry, backoff: 1, jitter: 0 } as never

type Act =
  | { readonly do: 'connect'; readonly sensor: number; readonly keepAlive: number }
  | { readonly do: 'sleep'; readonly sensor: number; readonly seconds: number }
  | { readonly do: 'ping' | 'disconnect' | 'publish'; readonly sensor: number }
  | { readonly do: 'send'; readonly sensor: number }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'watch' | 'unwatch' }

const sensor = fc.nat(SENSORS.length - 1)
const ACT: fc.Arbitrary<Act> = fc.oneof(
  fc.record({ do: fc.constant('connect' as const), sensor, keepAlive: fc.constantFrom(0, 10, 100) }),
  fc.record({ do: fc.constant('sleep' as const), sensor, seconds: fc.constantFrom(1, 30, 300) }),
  fc.record({ do: fc.constantFrom('ping', 'disconnect', 'publish') as fc.Arbitrary<'ping'>, sensor }),
  fc.record({ do: fc.constant('send' as const), sensor }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 1, 300, 999, 1000, 5000, 40_000) }),
  fc.record({ do: fc.constantFrom('watch', 'unwatch') as fc.Arbitrary<'watch'> }),
)

/** What a sensor knows of itself. Its sessions do not expire. */
class Ledger {
  state: 'none' | 'active' | 'asleep' | 'disconnected' = 'none'
  keepAlive = 0
  sleepSeconds = 0
  heard = 0

  /** The state in which it ought to be reported. */
  at(now: number): string | undefined {
    const { state, keepAlive: durationSeconds, sleepSeconds } = this
    if (state === 'none') return undefined
    if (state === 'disconnected') return state
    const silence = silenceMs({ state, durationSeconds, sleepSeconds, cleanSession: false }, OPTIONS, RETRY)
    return silence !== undefined && now >= this.heard + silence ? 'lost' : state
  }

  /** True if it is connected, and so may sleep or be heard. */
  lives(now: number): boolean {
    const state = this.at(now)
    return state === 'active' || state === 'asleep'
  }
}

class Life {
  readonly world = new World()
  readonly publisher = this.world.connect('publisher')
  readonly ledgers = SENSORS.map(() => new Ledger())
  /** What a subscriber knows by its messages alone. */
  known = new Map<string, string>()
  /** When it last had a message on a topic that was not retained. */
  readonly last = new Map<string, number>()
  readonly watcher: Connected = this.world.connect('watcher')
  watches = false

  constructor() {
    for (const [i] of SENSORS.entries()) this.world.answering.add(`r${i}`)
  }

  act(act: Act): void {
    const { world } = this
    if (act.do === 'wait') this.wait(act.ms)
    else if (act.do === 'watch') this.#watch()
    else if (act.do === 'unwatch') this.#unwatch()
    else if (act.do === 'publish') world.publish(this.publisher, `to/${act.sensor}`, 'x', { qos: 1 })
    else if ('sensor' in act) this.#say(act)
    this.#answered()
    this.#take()
  }

  wait(ms: number): void {
    const until = this.world.now + ms
    for (let at = this.world.server.nextTimeout(); at !== undefined && at <= until; at = this.world.server.nextTimeout()) {
      this.world.advance(Math.max(0, at - this.world.now))
      this.#answered()
      this.#take()
    }
    this.world.advance(until - this.world.now)
  }

  /** Acknowledgements are heard too. */
  #answered(): void {
    for (const [i, ledger] of this.ledgers.entries()) ledger.heard = Math.max(ledger.heard, this.world.answered.get(`r${i}`) ?? 0)
  }

  #say(act: Extract<Act, { sensor: number }>): void {
    const { world } = this
    const ledger = this.ledgers[act.sensor]!
    const id = SENSORS[act.sensor]!
    const route = `r${act.sensor}`
    const lives = ledger.lives(world.now)
    if (act.do === 'connect') {
      world.send(route, say.connect(id, { clean: false, duration: act.keepAlive }), say.subscribe(`to/${act.sensor}`, 1))
      Object.assign(ledger, { state: 'active', keepAlive: act.keepAlive })
    } else if (act.do === 'sleep') {
      world.send(route, say.disconnect(act.seconds))
      if (lives) Object.assign(ledger, { state: 'asleep', sleepSeconds: act.seconds })
    } else if (act.do === 'disconnect') {
      world.send(route, say.disconnect())
      if (lives) ledger.state = 'disconnected'
    } else if (act.do === 'ping') world.send(route, say.ping(id))
    else world.send(route, say.publish(1, 'x', 0, 0, 'predefined'))
    if (lives || act.do === 'connect') ledger.heard = world.now
  }

  #watch(): void {
    this.watches = true
    this.world.subscribe(this.watcher, ALL)
  }

  #unwatch(): void {
    this.watcher.client.unsubscribe(this.world.now, [ALL])
    this.world.run()
    this.#take()
    this.watches = false
    this.known = new Map()
    this.last.clear()
  }

  #take(): void {
    for (const { topic, text, retain } of taken(this.watcher)) {
      if (text === '') this.known.delete(topic)
      else this.known.set(topic, text)
      if (retain) continue
      expect(this.world.now - (this.last.get(topic) ?? Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(1000)
      this.last.set(topic, this.world.now)
    }
  }
}

const byTopic = (got: readonly Got[]): Map<string, string> => new Map(got.map(({ topic, text }) => [topic, text]))
/** Without what changes although nothing is sent: a message that is heard in a state is no change. */
const settled = (messages: ReadonlyMap<string, string>): unknown[] =>
  [...messages]
    .map(([topic, text]) => ({ topic, ...JSON.parse(text), last_heard: undefined, next_wake: undefined }))
    .sort((a, b) => (a.topic < b.topic ? -1 : 1))

test('presence is what the sensors know of themselves, for who follows it and for who asks now', { timeout: 300_000 }, () => {
  const lives = fc.property(fc.array(ACT, { minLength: 1, maxLength: 60, size: 'max' }), (acts) => {
    const life = new Life()
    for (const act of acts) life.act(act)
    life.wait(2500)
    const asking = life.world.connect('asking')
    life.world.subscribe(asking, ALL)
    const found = byTopic(taken(asking))
    const states = new Map([...found.values()].map((text) => [JSON.parse(text).client_id, JSON.parse(text).state]))
    const expected = life.ledgers.map((ledger, i) => [SENSORS[i], ledger.at(life.world.now)] as const)
    expect(states).toEqual(new Map(expected.filter(([, state]) => state !== undefined)))
    if (life.watches) expect(settled(life.known)).toEqual(settled(found))
  })
  fc.assert(lives, runs(150))
})

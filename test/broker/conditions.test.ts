import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { ConfiguredConditions } from '../../src/broker/conditions.ts'
import { CelLanguage } from '../../src/filters/io/cel.ts'
import { PacketType } from '../../src/mqtt/packets.ts'
import type { Properties } from '../../src/mqtt/properties.ts'
import { MemoryStore } from '../../src/store/store.ts'
import { PERSISTENT, TestBroker, type TestClient, will } from './harness.ts'

const conditions = { language: new CelLanguage() }
const filter = (...texts: string[]): Properties => ({ userProperties: texts.map((text) => ['filter', text] as const) })
const HOT = filter('json.t > 25')
const reading = (t: number): string => JSON.stringify({ t })

const world = (more: ConstructorParameters<typeof TestBroker>[0] = {}): TestBroker => new TestBroker({ conditions, ...more })

/** The SUBACK that was sent last. */
function suback(client: TestClient): { codes: readonly number[]; reason: string | undefined } | undefined {
  for (let out = client.link.poll(client.world.now); out !== undefined; out = client.link.poll(client.world.now))
    if (out.type === PacketType.SUBACK) return { codes: out.reasonCodes, reason: out.properties.reasonString }
  return undefined
}

describe('SUBSCRIBE', () => {
  test('with a condition lets through what fulfils it', () => {
    const { connect } = bound(world())
    const reader = connect('reader')
    reader.subscribe('a', 1, {}, HOT)
    expect(reader.poll()).toEqual(['SUBACK #100 1'])
    const publisher = connect('publisher')
    for (const t of [24, 26, 25, 30]) publisher.publish('a', reading(t))
    expect(reader.poll()).toEqual(['a={"t":26} q0', 'a={"t":30} q0'])
  })

  test.each([
    ['json.t >', 'the user property filter is not valid: character 8: found > but expecting end of input'],
    ['jsn.t > 25', 'the user property filter is not valid: character 1: there is no variable jsn (did you mean json?)'],
    ['json.t + 1', 'the user property filter is not valid: character 8: a condition must be true or false'],
  ])('is refused for %s, every filter of it', (text, reason) => {
    const here = world()
    const reader = here.connect('reader')
    const subscriptions = ['a', 'b'].map((topic) => ({
      filter: topic,
      qos: 0 as const,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0 as const,
    }))
    reader.send({ type: PacketType.SUBSCRIBE, packetId: 1, subscriptions, properties: filter(text) })
    expect(suback(reader)).toEqual({ codes: [0x83, 0x83], reason })
    expect(here.codes().filter((code) => code === 'subscribe-refused')).toHaveLength(2)
    expect(here.broker.subscriptionCount).toBe(0)
    expect(here.broker.conditions.size).toBe(0)
  })

  test('with two of them is refused', () => {
    const reader = world().connect('reader')
    reader.subscribe('a', 0, {}, filter('true', 'false'))
    expect(suback(reader)).toEqual({ codes: [0x83], reason: 'a SUBSCRIBE can have one user property filter' })
  })

  test('is refused by a broker without a language', () => {
    const reader = new TestBroker().connect('reader')
    reader.subscribe('a', 0, {}, HOT)
    expect(suback(reader)?.codes).toEqual([0x83])
  })

  test('again replaces the condition, or removes it', () => {
    const here = world()
    const { connect } = bound(here)
    const reader = connect('reader')
    const publisher = connect('publisher')
    reader.subscribe('a', 0, {}, HOT)
    reader.subscribe('a', 0, {}, filter('json.t < 10'))
    for (const t of [5, 30]) publisher.publish('a', reading(t))
    expect(reader.poll()).toEqual(['SUBACK #100', 'SUBACK #100', 'a={"t":5} q0'])
    expect(Array.from(here.broker.conditions.values(), ({ text }) => text)).toEqual(['json.t < 10'])
    reader.subscribe('a')
    publisher.publish('a', reading(30))
    expect(reader.poll()).toEqual(['SUBACK #100', 'a={"t":30} q0'])
    expect(here.broker.conditions.size).toBe(0)
  })

  test('beyond max_conditions and max_conditions_per_session is refused with 0x97, and replacing is not', () => {
    const here = world({ limits: { maxConditions: 2, maxConditionsPerSession: 2 } })
    const reader = here.connect('reader')
    for (const [topic, text] of [
      ['a', 'true'],
      ['b', 'false'],
    ] as const)
      reader.subscribe(topic, 0, {}, filter(text))
    reader.poll()
    reader.subscribe('c', 0, {}, filter('true'))
    expect(suback(reader)?.codes).toEqual([0x97])
    reader.subscribe('a', 0, {}, filter('false'))
    expect(suback(reader)?.codes).toEqual([0])
    const other = here.connect('other')
    other.subscribe('a', 0, {}, HOT)
    other.subscribe('b', 0, {}, filter('qos == 1'))
    expect(suback(other)?.codes).toEqual([0])
    expect(suback(other)?.codes).toEqual([0x97])
    expect(here.notices.map(({ limit }) => limit)).toEqual(
      expect.arrayContaining(['max_conditions_per_session', 'max_conditions']),
    )
  })

  test('the end of a subscription, and of a session, ends its condition and its memory', () => {
    const here = world()
    const reader = here.connect('reader')
    reader.subscribe('a', 0, {}, HOT)
    reader.subscribe('b', 0, {}, filter('qos == 1'))
    reader.subscribe('$share/g/c', 0, {}, filter('qos == 2'))
    expect(here.broker.conditions.size).toBe(3)
    expect(here.broker.conditions.bytes).toBeGreaterThan(1000)
    reader.unsubscribe('a')
    expect(here.broker.conditions.size).toBe(2)
    reader.disconnect()
    here.advance(0)
    expect(here.broker.conditions.size).toBe(0)
    expect(here.broker.conditions.bytes).toBe(0)
  })
})

describe('all conditions on one message', () => {
  const costly = (i: number): string => `json.l.exists(x, x == ${i}.5)`
  const LONG = JSON.stringify({ t: 30, l: Array.from({ length: 1000 }, (_, i) => i) })

  test('are bounded together: a simple one is evaluated however much those of others cost', () => {
    const here = world({ limits: { maxConditions: 1000 } })
    for (let i = 0; i < 40; i++) here.connect(`greedy${i}`).subscribe('a', 0, {}, filter(costly(i)))
    const reader = here.connect('reader')
    reader.subscribe('a', 0, {}, HOT)
    reader.poll()
    const before = here.broker.conditions.looked.sum
    here.connect('publisher').publish('a', LONG)
    expect(reader.poll()).toEqual([`a=${LONG} q0`])
    expect(here.broker.conditions.looked.sum - before).toBeLessThan(100_000 / 8)
    const cut = here.notices.filter(({ reason }) => reason?.includes('beside the other conditions on the same message'))
    expect(cut.length).toBeGreaterThan(20)
    expect(cut[0]).toMatchObject({ code: 'condition-failed', level: 'info' })
  })

  test('of one client cost none of what those of others may', () => {
    const here = world()
    const greedy = here.connect('greedy')
    const same = 'json.l.all(x, x >= 0)'
    for (const [i, topic] of ['a', '+', '#', 'a/#'].entries()) greedy.subscribe(topic, 0, {}, filter(costly(i)))
    greedy.subscribe('+/#', 0, {}, filter(same))
    const reader = here.connect('reader')
    reader.subscribe('a', 0, {}, filter(same))
    reader.poll()
    here.connect('publisher').publish('a', LONG)
    expect(reader.poll()).toEqual([`a=${LONG} q0`])
    expect(greedy.poll().filter((out) => out.startsWith('a='))).toEqual([])
  })

  test('is compiled at its cost, also if it is refused', () => {
    const here = world()
    const reader = here.connect('reader')
    reader.subscribe('a', 0, {}, filter(`${'json.a == 1 && '.repeat(60)}$`))
    expect(suback(reader)).toBeUndefined()
    here.advance(1)
    expect(suback(reader)?.codes).toEqual([0x83])
  })
})

describe('retained messages', () => {
  test('are sent if they fulfil the condition, and by their own time', () => {
    const here = world()
    const publisher = here.connect('publisher')
    for (const t of [20, 30, 40]) publisher.publish(`site/${t}`, reading(t), 0, 0, { retain: true })
    const reader = here.connect('reader')
    reader.subscribe('site/+', 0, {}, HOT)
    expect(reader.poll()).toEqual(['SUBACK #100', 'site/30={"t":30} q0 retain', 'site/40={"t":40} q0 retain'])
    expect(here.codes()).not.toContain('queue-full')
  })

  test('of $SYS too', () => {
    const here = world()
    here.broker.publishSys(0, '$SYS/broker/uptime', '5')
    here.broker.publishSys(0, '$SYS/broker/version', 'roost')
    const reader = here.connect('reader')
    reader.subscribe('$SYS/#', 0, {}, filter('string(payload) == "5"'))
    expect(reader.poll()).toEqual(['SUBACK #100', '$SYS/broker/uptime=5 q0 retain'])
    here.broker.publishSys(0, '$SYS/broker/uptime', '6')
    here.broker.publishSys(0, '$SYS/broker/version', '5')
    expect(reader.poll()).toEqual(['$SYS/broker/version=5 q0'])
  })

  test('that the broker makes when they are asked for', () => {
    const here = world()
    const levels = ['a', 'b'].map((level) => ({ level, payload: () => Buffer.from(`{"t":${level === 'a' ? 1 : 50}}`) }))
    here.broker.live.add({
      prefix: 'live/',
      suffix: '',
      owns: () => true,
      isSearch: () => false,
      find: () => levels,
      wanted: () => {},
    })
    const reader = here.connect('reader')
    reader.subscribe('live/+', 0, {}, HOT)
    expect(reader.poll()).toEqual(['SUBACK #100', 'live/b={"t":50} q0 retain'])
    here.broker.live.publish(0, 'live/a', Buffer.from('{"t":2}'))
    here.broker.live.publish(0, 'live/a', Buffer.from('{"t":60}'))
    expect(reader.poll()).toEqual(['live/a={"t":60} q0'])
  })
})

describe('overlapping subscriptions of one session', () => {
  test('are combined from those that let the message through', () => {
    const here = world()
    const { connect } = bound(here)
    const reader = connect('reader')
    reader.subscribe('a', 2, {}, { ...HOT, subscriptionIdentifiers: [1] })
    reader.subscribe('+', 1, {}, { ...filter('json.t > 10'), subscriptionIdentifiers: [2] })
    reader.subscribe('#', 0, { retainAsPublished: true }, { subscriptionIdentifiers: [3] })
    reader.poll()
    const publisher = connect('publisher')
    for (const [i, t] of [5, 15, 30].entries()) publisher.publish('a', reading(t), 2, i + 1)
    const lines = reader.poll()
    expect(lines[0]).toBe('a={"t":5} q0 ids 3')
    expect(lines[1]).toMatch(/^a=\{"t":15\} q1 #\d ids 3,2$/)
    expect(lines[2]).toMatch(/^a=\{"t":30\} q2 #\d ids 3,[12],[12]$/)
    expect(lines).toHaveLength(3)
  })

  test('respect No Local', () => {
    const { connect } = bound(world())
    const client = connect('both')
    client.subscribe('a', 0, { noLocal: true }, HOT)
    client.subscribe('+', 0, {}, filter('json.t > 50'))
    client.poll()
    for (const t of [30, 60]) client.publish('a', reading(t))
    expect(client.poll()).toEqual(['a={"t":60} q0'])
    connect('other').publish('a', reading(30))
    expect(client.poll()).toEqual(['a={"t":30} q0'])
  })
})

describe('shared subscriptions', () => {
  test('go to members whose condition lets the message through', () => {
    const { connect } = bound(world())
    const hot = connect('hot')
    const cold = connect('cold')
    hot.subscribe('$share/g/a', 0, {}, HOT)
    cold.subscribe('$share/g/a', 0, {}, filter('json.t < 10'))
    const publisher = connect('publisher')
    for (const t of [30, 5, 40, 15, 7]) publisher.publish('a', reading(t))
    expect(hot.poll().slice(1)).toEqual(['a={"t":30} q0', 'a={"t":40} q0'])
    expect(cold.poll().slice(1)).toEqual(['a={"t":5} q0', 'a={"t":7} q0'])
  })

  test('a session that ends hands its messages to such members only', () => {
    const here = world()
    const { connect } = bound(here)
    const leaving = connect('leaving', PERSISTENT)
    leaving.subscribe('$share/g/a', 1)
    leaving.poll()
    leaving.lost()
    const publisher = connect('publisher')
    for (const [i, t] of [5, 30].entries()) publisher.publish('a', reading(t), 1, i + 1)
    const hot = connect('hot')
    hot.subscribe('$share/g/a', 1, {}, HOT)
    expect(hot.poll()).toEqual(['SUBACK #100 1'])
    connect('leaving', { cleanStart: true }).disconnect()
    here.advance(0)
    expect(hot.poll()).toEqual(['a={"t":30} q1 #1'])
    expect(here.codes()).toContain('message-dropped')
  })
})

describe('a message that no condition lets through', () => {
  test('has no subscriber: PUBACK and PUBREC say so', () => {
    const { connect } = bound(world())
    const reader = connect('reader')
    reader.subscribe('a', 2, {}, HOT)
    connect('member').subscribe('$share/g/a', 2, {}, HOT)
    const publisher = connect('publisher')
    publisher.publish('a', reading(5), 1, 1)
    publisher.publish('a', reading(30), 1, 2)
    publisher.publish('a', reading(5), 2, 3)
    expect(publisher.poll()).toEqual(['PUBACK #1 16', 'PUBACK #2', 'PUBREC #3 16'])
  })

  test('does not wait for a client that is away', () => {
    const here = world()
    const { connect } = bound(here)
    const reader = connect('reader', PERSISTENT)
    reader.subscribe('a', 2, {}, HOT)
    reader.poll()
    reader.lost()
    const publisher = connect('publisher')
    for (const [i, t] of [5, 30, 6].entries()) publisher.publish('a', reading(t), 2, i + 1)
    const again = connect('reader', PERSISTENT)
    expect(again.poll()).toEqual(['a={"t":30} q2 #1'])
  })

  test('wills too', () => {
    const { connect } = bound(world())
    const reader = connect('reader')
    reader.subscribe('a', 0, {}, HOT)
    reader.poll()
    connect('x', { will: will('a', reading(5)) }).lost()
    connect('y', { will: will('a', reading(35)) }).lost()
    expect(reader.poll()).toEqual(['a={"t":35} q0'])
  })
})

describe('evaluation', () => {
  test('1,000 subscribers with 50 different conditions cost 50 evaluations and one parse for each message', () => {
    const here = world()
    for (let i = 0; i < 1000; i++) here.connect(`c${i}`).subscribe('a', 0, {}, filter(`json.temperature > ${i % 50}`))
    const publisher = here.connect('publisher')
    const payload = JSON.stringify({ temperature: 24.5, name: 'kitchen', rest: 'x'.repeat(150) })
    expect(payload.length).toBeGreaterThan(195)
    const { parse } = JSON
    let parsed = 0
    JSON.parse = (...args) => {
      parsed++
      return parse(...args)
    }
    try {
      for (let i = 0; i < 3; i++) publisher.publish('a', payload)
    } finally {
      JSON.parse = parse
    }
    const { evaluated, passed, failed } = here.broker.conditions.stats
    expect({ evaluated, passed, failed, parsed }).toEqual({ evaluated: 150, passed: 75, failed: 0, parsed: 3 })
    expect(here.broker.takeQueued()).toBe(1500)
  })

  test('one that fails is false, counted, and reported once', () => {
    const here = world()
    const reader = here.connect('reader')
    reader.subscribe('a', 0, {}, HOT)
    reader.poll()
    const publisher = here.connect('publisher')
    for (const payload of ['{"x":1}', 'not json', '{"t":30}', '{}']) publisher.publish('a', payload)
    expect(reader.poll()).toEqual(['a={"t":30} q0'])
    expect(here.broker.conditions.stats).toMatchObject({ evaluated: 4, passed: 1, failed: 3 })
    const told = here.notices.filter(({ code }) => code === 'condition-failed')
    expect(told.map(({ reason }) => reason)).toEqual(['field not found: t, which counts as false: json.t > 25'])
  })

  test('counts in the turn of the publisher', () => {
    const here = world()
    here.connect('reader').subscribe('a', 0, {}, filter('json.list.all(x, x > 0 || x < 0 || x == 0)'))
    const publisher = here.connect('publisher')
    const before = here.broker.work
    publisher.publish('a', JSON.stringify({ list: Array.from({ length: 1000 }, (_, i) => i) }))
    expect(here.broker.work - before).toBeGreaterThan(500)
  })

  test('and so does each client that is asked, although nobody wants the message', () => {
    const here = world()
    for (let i = 0; i < 800; i++) here.connect(`reader${i}`).subscribe('a', 0, {}, filter('false'))
    const publisher = here.connect('publisher')
    const before = here.broker.work
    publisher.publish('a', '1')
    expect(here.broker.work - before).toBeGreaterThanOrEqual(100)
  })
})

describe('a restart', () => {
  const persistent = (store = new DelayedStore()): { store: DelayedStore; here: TestBroker } => {
    const here = new TestBroker({ conditions }, store)
    const reader = here.connect('reader', PERSISTENT)
    reader.subscribe('a', 1, {}, HOT)
    reader.subscribe('$share/g/b', 1, {}, filter('qos == 1'))
    here.commit()
    return { store, here }
  }

  test.each(['log', 'rows'])('keeps conditions, from %s', (from) => {
    const { store } = persistent()
    const again = TestBroker.restarted(store, 1000, from === 'rows' ? store.durable : 0, { conditions })
    const texts = Array.from(again.broker.conditions.values(), ({ text }) => text)
    expect(texts).toEqual(['json.t > 25', 'qos == 1'])
    const publisher = again.connect('publisher')
    for (const [i, t] of [5, 30].entries()) publisher.publish('a', reading(t), 1, i + 1)
    const reader = again.connect('reader', PERSISTENT)
    expect(reader.poll()).toEqual(['a={"t":30} q1 #1'])
  })

  test('a condition that is no longer valid matches nothing, and is reported', () => {
    const { store } = persistent()
    const again = TestBroker.restarted(store, 1000, store.durable, {
      conditions: { language: { ...conditions.language, compile: () => ({ error: 'character 1: no more' }) } as never },
    })
    expect(again.broker.subscriptionCount).toBe(2)
    const told = again.notices.filter(({ code }) => code === 'condition-failed')
    expect(told.map(({ level, reason }) => `${level} ${reason}`)).toEqual([
      'warn a stored condition is not valid, its subscriptions match nothing: character 1: no more: json.t > 25',
      'warn a stored condition is not valid, its subscriptions match nothing: character 1: no more: qos == 1',
    ])
  })

  test('and so with a broker that has no conditions', () => {
    const { store } = persistent()
    const again = TestBroker.restarted(store, 1000)
    again.connect('publisher').publish('a', reading(30), 1)
    expect(again.connect('reader', PERSISTENT).poll()).toEqual([])
  })
})

describe('conditions of the configuration', () => {
  const configured: ConfiguredConditions = {
    conditionFor: (clientId, username, topic) =>
      clientId.startsWith('sensor-') && username === 'site' && topic === 'a' ? 'json.t > 25' : undefined,
  }

  test('apply to subscriptions of clients that have none of their own', () => {
    const here = new TestBroker({ conditions: { ...conditions, configured } }, new MemoryStore())
    const options = { protocolVersion: 4 as const, username: 'site' }
    const sensor = here.connect('sensor-1', options)
    const other = here.connect('other', options)
    const own = here.connect('sensor-2', { username: 'site' })
    for (const client of [sensor, other]) client.subscribe('a')
    own.subscribe('a', 0, {}, filter('json.t < 10'))
    const publisher = here.connect('publisher')
    for (const t of [5, 30]) publisher.publish('a', reading(t))
    expect(sensor.poll()).toEqual(['SUBACK #100', 'a={"t":30} q0'])
    expect(other.poll()).toHaveLength(3)
    expect(own.poll()).toEqual(['SUBACK #100', 'a={"t":5} q0'])
  })

  test('are not stored, but found again: another configuration applies after a restart', () => {
    const store = new DelayedStore()
    const here = new TestBroker({ conditions: { ...conditions, configured } }, store)
    here.connect('sensor-1', { ...PERSISTENT, username: 'site' }).subscribe('a', 1)
    here.commit()
    const same = TestBroker.restarted(store, 1000, store.durable, { conditions: { ...conditions, configured } })
    expect(Array.from(same.broker.conditions.values(), ({ text }) => text)).toEqual(['json.t > 25'])
    const none = TestBroker.restarted(store, 1000, store.durable, { conditions })
    expect(none.broker.conditions.size).toBe(0)
  })
})

const bound = (here: TestBroker): { connect: TestBroker['connect'] } => ({ connect: here.connect.bind(here) })

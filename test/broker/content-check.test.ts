import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { PublishAnswer } from '../../src/broker/hooks.ts'
import { Contents } from '../../src/filters/contents.ts'
import { TopicTypes, type TypeDefinition } from '../../src/filters/topic-types.ts'
import { TYPE_ERROR, TypeCheck } from '../../src/filters/type-check.ts'
import { OutgoingType } from '../../src/mqtt/link.ts'
import { NO_PROPERTIES, type Properties } from '../../src/mqtt/properties.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import type { Store } from '../../src/store/store.ts'
import { bytes, connectPacket, PERSISTENT, TestBroker, type TestClient, text, will } from './harness.ts'

const definition = (more: Partial<TypeDefinition> = {}): TypeDefinition => ({
  name: 'number',
  topics: ['n/+'],
  contentType: 'application/json',
  schema: { value: { type: 'number' }, placeOf: (pointer) => pointer },
  invalid: 'refuse',
  invalidMqtt3: 'acknowledge',
  ...more,
})

function checkOf(...definitions: TypeDefinition[]): TypeCheck {
  const validate = (value: unknown): string => (typeof value === 'number' ? '' : 'must be number')
  const validators = new Map(definitions.map(({ name }) => [name, validate]))
  return new TypeCheck(new Contents(new TopicTypes(definitions)), validators)
}

const brokerWith = (more: Partial<TypeDefinition> = {}, store?: Store): TestBroker =>
  new TestBroker({ content: checkOf(definition(more)) }, store)

/** Properties of the next delivery. */
function described({ world, link }: TestClient): Properties | undefined {
  for (let out = link.poll(world.now); out !== undefined; out = link.poll(world.now))
    if (out.type === OutgoingType.DELIVERY) return out.message.properties
  return undefined
}

describe('a payload that does not fit', () => {
  test('is refused with 0x99 in PUBACK and PUBREC, reaches nobody, and is told', () => {
    const world = brokerWith()
    const sub = world.connect('sub')
    sub.subscribe('#', 2)
    sub.poll()
    const pub = world.connect('pub')
    pub.publish('n/a', '"x"', 1, 7)
    pub.publish('n/a', '"x"', 2, 8)
    pub.publish('n/a', '"x"')
    expect(pub.poll()).toEqual(['PUBACK #7 153', 'PUBREC #8 153'])
    expect(sub.poll()).toEqual([])
    expect(world.codes().filter((code) => code === 'publish-refused')).toHaveLength(3)
    expect(world.notices.at(-1)).toMatchObject({
      client: 'mqtt:pub',
      reason: 'not of type number: must be number: n/a: reason code 0x99',
    })
  })

  test('has a reason string', () => {
    const world = brokerWith()
    const pub = world.connect('pub')
    pub.publish('n/a', '{', 1, 7)
    expect(pub.link.poll(0)).toMatchObject({ properties: { reasonString: 'not of type number: is not valid JSON' } })
  })

  test('is acknowledged to MQTT 3, and reaches nobody; QoS 2 ends its exchange', () => {
    const world = brokerWith()
    const sub = world.connect('sub')
    sub.subscribe('#', 2)
    sub.poll()
    const pub = world.connect('pub', { protocolVersion: 4 })
    pub.publish('n/a', '"x"', 1, 7)
    pub.publish('n/a', '"x"', 2, 8)
    // Again, because the answer was lost.
    pub.publish('n/a', '"x"', 2, 8)
    pub.ack(6, 8)
    // The connection encodes no reason code for this version.
    expect(pub.poll()).toEqual(['PUBACK #7 153', 'PUBREC #8 153', 'PUBREC #8 153', 'PUBCOMP #8 146'])
    expect(sub.poll()).toEqual([])
  })

  test('ends the connection of MQTT 3 where that is configured, except with QoS 0; MQTT 5 has a reason code', () => {
    const world = brokerWith({ invalidMqtt3: 'close' })
    const old = world.connect('old', { protocolVersion: 4 })
    old.publish('n/a', '"x"')
    expect(old.poll()).toEqual([])
    old.publish('n/a', '"x"', 1, 7)
    expect(old.poll()).toEqual(['CLOSE 153'])
    const now = world.connect('now')
    now.publish('n/a', '"x"', 1, 7)
    expect(now.poll()).toEqual(['PUBACK #7 153'])
  })

  test('is not retained, and what is retained stays', () => {
    const world = brokerWith()
    const pub = world.connect('pub')
    pub.publish('n/a', '1', 1, 7, { retain: true })
    pub.publish('n/a', '"x"', 1, 8, { retain: true })
    expect(pub.poll()).toEqual(['PUBACK #7 16', 'PUBACK #8 153'])
    expect(text(world.broker.retained.get('n/a')!.payload)).toBe('1')
  })

  test('does not hinder the deletion of a retained message', () => {
    const world = brokerWith()
    const pub = world.connect('pub')
    pub.publish('n/a', '1', 1, 7, { retain: true })
    pub.publish('n/a', '', 1, 8, { retain: true })
    pub.publish('n/a', '', 1, 9)
    expect(pub.poll()).toEqual(['PUBACK #7 16', 'PUBACK #8 16', 'PUBACK #9 153'])
    expect(world.broker.retained.count).toBe(0)
  })

  test('of somebody who may not publish there is not looked at', () => {
    const content = checkOf(definition())
    const world = new TestBroker({ content })
    world.connect('pub').publish('$SYS/a', '"x"', 1)
    expect(content.figures()).toEqual([{ type: 'number', valid: 0, refused: 0, marked: 0 }])
  })

  test('of an operator is refused too', () => {
    const world = brokerWith()
    const published = world.broker.operator.publish(0, 'eva', Publish.of('n/a', bytes('"x"'), 1))
    expect(published).toEqual({
      kind: 'refused',
      reasonCode: 0x99,
      reason: 'not of type number: must be number',
      limit: undefined,
    })
    expect(world.broker.operator.publish(0, 'eva', Publish.of('n/a', bytes('1'), 1))).toMatchObject({ kind: 'accepted' })
  })

  test('names from it can do nothing to a terminal or to a subscriber, and are cut', () => {
    const check = new TypeCheck(
      new Contents(new TopicTypes([definition()])),
      new Map([['number', () => `must NOT have: \u0000\u001b[31m\ud800${'x'.repeat(300)}`]]),
    )
    const misfit = check.check(Publish.of('n/a', bytes('{}')))!
    expect(misfit.problem).toBe(`must NOT have: ??[31m?${'x'.repeat(178)}...`)
  })
})

describe('a mark', () => {
  const marked = { invalid: 'mark' } as const

  test('goes with the message to subscribers of MQTT 5', () => {
    const world = brokerWith(marked)
    const sub = world.connect('sub')
    sub.subscribe('#', 1)
    sub.poll()
    const pub = world.connect('pub')
    pub.publish('n/a', '"x"', 1, 7, { properties: { userProperties: [['a', 'b']] } })
    expect(pub.poll()).toEqual(['PUBACK #7'])
    expect(described(sub)).toEqual({
      contentType: 'application/json',
      userProperties: [
        ['a', 'b'],
        [TYPE_ERROR, 'number: must be number'],
      ],
    })
    expect(world.notices.at(-1)).toMatchObject({
      code: 'publish-marked',
      client: 'mqtt:pub',
      reason: 'n/a is not of type number: must be number',
    })
  })

  test('of a publisher is removed, whether its message fits or not', () => {
    const world = brokerWith(marked)
    const sub = world.connect('sub')
    sub.subscribe('#', 1)
    sub.poll()
    const pub = world.connect('pub')
    const forged = [[TYPE_ERROR, 'forged']] as const
    pub.publish('n/a', '1', 1, 7, { properties: { userProperties: forged } })
    expect(described(sub)).toEqual({ contentType: 'application/json', userProperties: [] })
    pub.publish('n/a', '"x"', 1, 8, { properties: { userProperties: forged } })
    expect(described(sub)?.userProperties).toEqual([[TYPE_ERROR, 'number: must be number']])
  })

  test('stays with a message that is retained, over a restart', () => {
    const store = new DelayedStore()
    const world = brokerWith(marked, store)
    world.connect('pub').publish('n/a', '"x"', 1, 7, { retain: true })
    world.commit()
    const again = TestBroker.restarted(store, 0)
    expect(again.broker.retained.get('n/a')?.properties).toEqual({
      contentType: 'application/json',
      userProperties: [[TYPE_ERROR, 'number: must be number']],
    })
  })
})

describe('the content type', () => {
  test('is that of the type, unless the publisher gives one', () => {
    const world = brokerWith()
    const sub = world.connect('sub')
    sub.subscribe('#', 0)
    sub.poll()
    const pub = world.connect('pub')
    pub.publish('n/a', '1')
    expect(described(sub)).toEqual({ contentType: 'application/json' })
    pub.publish('n/a', '1', 0, 0, { properties: { contentType: 'text/plain', responseTopic: 'r' } })
    expect(described(sub)).toEqual({ contentType: 'text/plain', responseTopic: 'r' })
    pub.publish('n/a', '1', 0, 0, { properties: { responseTopic: 'r' } })
    expect(described(sub)).toEqual({ contentType: 'application/json', responseTopic: 'r' })
    pub.publish('other', '1')
    expect(described(sub)).toBe(NO_PROPERTIES)
  })

  test('is stored with what waits', () => {
    const store = new DelayedStore()
    const world = brokerWith({}, store)
    const sub = world.connect('sub', PERSISTENT)
    sub.subscribe('#', 1)
    world.commit()
    sub.disconnect()
    world.connect('pub').publish('n/a', '1', 1, 7)
    world.commit()
    const again = TestBroker.restarted(store, 0)
    expect(described(again.connect('sub', PERSISTENT))).toEqual({ contentType: 'application/json' })
  })

  test('counts towards the limits on retained messages', () => {
    const world = new TestBroker({ content: checkOf(definition()), limits: { maxRetainedBytes: 10 } })
    const pub = world.connect('pub')
    pub.publish('n/a', '1', 1, 7, { retain: true })
    expect(pub.poll()).toEqual(['PUBACK #7 151'])
    expect(world.broker.retained.bytes).toBe(0)
  })
})

describe('the type of a topic', () => {
  const types = new TopicTypes([
    definition({ name: 'first', topics: ['a/b', 'c/#'] }),
    definition({ name: 'second', topics: ['a/+', 'a/b'] }),
    definition({ name: 'rest', topics: ['#'] }),
  ])

  test.each([
    ['a/b', 'first'],
    ['a/c', 'second'],
    ['c', 'first'],
    ['x', 'rest'],
    ['$x', undefined],
  ])('%s: %s', (topic, name) => {
    // The second time from the cache.
    for (let time = 0; time < 2; time++) expect(types.of(topic)?.name).toBe(name)
  })

  test('is remembered within bounds', () => {
    for (let i = 0; i < 50_000; i++) types.of(`a/${i}`)
    types.of(`a/${'x'.repeat(60_000)}`)
    expect(types.bytes).toBeLessThan(4 * 1024 * 1024)
    expect(types.bytes).toBeGreaterThan(0)
  })
})

describe('a will that does not fit', () => {
  const gone = will('n/a', '"x"', 1)
  const connack = (world: TestBroker, protocolVersion: 4 | 5, kind: 'mqtt' | 'sn' = 'mqtt'): string[] => {
    const client = world.open({ kind })
    client.send(connectPacket('c', { will: gone, protocolVersion }))
    return client.poll()
  }

  test('is refused at CONNECT', () => {
    expect(connack(brokerWith(), 5)).toEqual(['CONNACK 153', 'CLOSE 153'])
    expect(connack(brokerWith(), 5, 'sn')).toEqual(['CONNACK 153', 'CLOSE 153'])
    expect(connack(brokerWith({ invalidMqtt3: 'close' }), 4)).toEqual(['CONNACK 153', 'CLOSE 153'])
  })

  test('of MQTT 3 is accepted, and dropped when it is due', () => {
    const world = brokerWith()
    const sub = world.connect('sub')
    sub.subscribe('#')
    sub.poll()
    world.connect('old', { protocolVersion: 4, will: gone }).lost()
    expect(sub.poll()).toEqual([])
    expect(world.notices.at(-1)).toMatchObject({ code: 'will-refused', reason: 'not of type number: must be number on n/a' })
  })

  test('has a mark when it is published', () => {
    const world = brokerWith({ invalid: 'mark' })
    const sub = world.connect('sub')
    sub.subscribe('#')
    sub.poll()
    world.connect('pub', { will: gone }).lost()
    expect(described(sub)).toMatchObject({ userProperties: [[TYPE_ERROR, 'number: must be number']] })
  })

  test('of a sensor is refused as an update; its topic may change before its message', () => {
    const world = brokerWith()
    const { link } = world.connect('s', { will: will('other', '"x"') }, 'sn')
    const session = link.client!
    expect(world.broker.setWill(link, session, { ...session.will!, topic: 'n/a' })).toBe(0)
    expect(world.broker.setWill(link, session, { ...session.will!, payload: bytes('"y"') })).toBe(0x99)
    expect(world.broker.setWill(link, session, { ...session.will!, payload: bytes('1') })).toBe(0)
  })
})

describe('beside the hook onPublish', () => {
  const asking = (): { world: TestBroker; sub: TestClient; pub: TestClient; answer: (answer: PublishAnswer) => void } => {
    const world = new TestBroker({ content: checkOf(definition()), hooks: { asksAboutMessages: true } })
    const sub = world.connect('sub')
    sub.subscribe('#', 1)
    sub.poll()
    const asked = world.broker.asked!
    return { world, sub, pub: world.connect('pub'), answer: (it) => asked.answered(0, asked.nextQuestion()!.id, it) }
  }

  test('a hook may make of a payload what its type asks for, or the other way round', () => {
    const { sub, pub, answer } = asking()
    pub.publish('n/a', 'x', 1, 7)
    answer({ kind: 'accepted', change: { payload: bytes('25') } })
    expect(pub.poll()).toEqual(['PUBACK #7'])
    expect(sub.poll()).toEqual(['n/a=25 q1 #1'])
    pub.publish('other', 'x', 1, 8)
    answer({ kind: 'accepted', change: { topic: 'n/b' } })
    expect(pub.poll()).toEqual(['PUBACK #8 153'])
    expect(sub.poll()).toEqual([])
  })

  test('a refusal of the hook is its own, also with the same reason code', () => {
    const { world, pub, answer } = asking()
    pub.publish('n/a', 'x', 1, 7)
    answer({ kind: 'accepted' })
    pub.publish('n/a', '1', 1, 8)
    answer({ kind: 'refused', reasonCode: 0x99, reason: 'by the hook' })
    expect(pub.poll()).toEqual(['PUBACK #7 153', 'PUBACK #8 153'])
    const reasons = world.notices.filter(({ code }) => code === 'publish-refused').map(({ reason }) => reason)
    expect(reasons).toEqual([
      'not of type number: is not valid JSON: n/a: reason code 0x99',
      'by the hook: n/a: reason code 0x99',
    ])
  })
})

test('figures count what fits, is refused and is marked', () => {
  const content = checkOf(definition(), definition({ name: 'loose', topics: ['l'], invalid: 'mark' }))
  const world = new TestBroker({ content })
  const pub = world.connect('pub')
  for (const topic of ['n/a', 'l']) for (const payload of ['1', '"x"', '"y"']) pub.publish(topic, payload)
  expect(content.figures()).toEqual([
    { type: 'number', valid: 1, refused: 2, marked: 0 },
    { type: 'loose', valid: 1, refused: 0, marked: 2 },
  ])
})

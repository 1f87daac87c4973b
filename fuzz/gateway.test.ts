import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Message, MsgType } from '../src/mqttsn/messages.ts'
import { say, TestGateway } from '../test/gateway/harness.ts'
import { runs } from './runs.ts'
import { DelayedStore } from './sim/delayed-store.ts'

// Clients that say anything at any time, from anywhere, while the store is slow or full and the process dies.

const CLIENTS = ['s', 't']
const ROUTES = ['r', 'q', '203.0.113.5:1']
const TOPICS = ['a', 'b', 't/x', 'predefined/one', 'xy']
const FILTERS = [...TOPICS, 't/#', '+', '#', 'a#']

const msgId = fc.constantFrom(0, 1, 2, 3, 7)
const topicId = fc.constantFrom(0, 1, 0x401, 0x402, 0x403, 0x7879, 0xffff)
const returnCode = fc.constantFrom(0, 0, 0, 1, 2, 3)
const qos = fc.constantFrom<(-1 | 0 | 1 | 2)[]>(-1, 0, 1, 1, 2, 2)
const idType = fc.constantFrom('normal' as const, 'predefined' as const, 'short' as const)
const bare = (type: MsgType): Message =>
  ({ type, gwId: 1, duration: 5, returnCode: 0, qos: 0, topicId: 1, msgId: 1, radius: 1 }) as never

const message: fc.Arbitrary<Message> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom(...CLIENTS), fc.boolean(), fc.boolean(), fc.constantFrom(0, 10, 60))
      .map(([clientId, will, clean, duration]) => say.connect(clientId, { will, clean, duration })),
  },
  { weight: 3, arbitrary: fc.constantFrom('gone', undefined, 'gone/#').map((topic) => say.willTopic(topic)) },
  { weight: 3, arbitrary: fc.constant(say.willMsg('bye')) },
  { weight: 2, arbitrary: fc.constantFrom(undefined, 0, 5, 60).map((duration) => say.disconnect(duration)) },
  { weight: 2, arbitrary: fc.constantFrom(undefined, ...CLIENTS, 'nobody').map((clientId) => say.ping(clientId)) },
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom(...FILTERS), msgId).map(([name, id]) => say.register(name, id)) },
  {
    weight: 4,
    arbitrary: fc.tuple(topicId, qos, msgId, idType).map(([topic, level, id, type]) => say.publish(topic, 'up', level, id, type)),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.constantFrom(...FILTERS), qos, msgId).map(([filter, level, id]) => say.subscribe(filter, level, id)),
  },
  fc.tuple(fc.constantFrom('predefined' as const, 'short' as const), topicId).map(([type, id]) => say.subscribeId(type, id)),
  fc.tuple(fc.constantFrom(...FILTERS), msgId).map(([filter, id]) => say.unsubscribe(filter, id)),
  { weight: 3, arbitrary: fc.tuple(topicId, msgId, returnCode).map(([topic, id, code]) => say.regack(topic, id, code)) },
  { weight: 3, arbitrary: fc.tuple(topicId, msgId, returnCode).map(([topic, id, code]) => say.puback(topic, id, code)) },
  { weight: 2, arbitrary: msgId.map((id) => say.pubrec(id)) },
  msgId.map((id) => say.pubrel(id)),
  { weight: 2, arbitrary: msgId.map((id) => say.pubcomp(id)) },
  fc.constantFrom(undefined, 'new', 'new/+').map((topic) => say.willTopicUpdate(topic)),
  fc.constant(say.willMsgUpdate('new')),
  fc
    .constantFrom(
      ...Object.values(MsgType).filter(
        (type) =>
          type !== MsgType.CONNECT &&
          type !== MsgType.PINGREQ &&
          type !== MsgType.SUBSCRIBE &&
          type !== MsgType.UNSUBSCRIBE &&
          type !== MsgType.PUBLISH &&
          type !== MsgType.REGISTER &&
          type !== MsgType.WILLTOPIC &&
          type !== MsgType.WILLTOPICUPD &&
          type !== MsgType.WILLMSG &&
          type !== MsgType.WILLMSGUPD &&
          type !== MsgType.GWINFO,
      ),
    )
    .map(bare),
)

type Step =
  | { readonly do: 'say'; readonly route: string; readonly messages: readonly Message[] }
  | { readonly do: 'publish'; readonly topic: string; readonly qos: 0 | 1 | 2 }
  | { readonly do: 'advance'; readonly ms: number }
  | { readonly do: 'commit' }
  | { readonly do: 'refuse'; readonly on: boolean }
  | { readonly do: 'restart' }

/** What hardly comes about by chance. */
const conversation: fc.Arbitrary<Message[]> = fc
  .tuple(fc.constantFrom(...CLIENTS), fc.boolean(), fc.constantFrom(...FILTERS))
  .chain(([clientId, clean, filter]) =>
    fc.constantFrom(
      [say.connect(clientId, { will: true, clean }), say.willTopic('gone'), say.willMsg('bye')],
      [say.connect(clientId, { clean }), say.subscribe(filter, 2), say.disconnect(60)],
      [say.connect(clientId, { clean }), say.subscribe(filter, 1), say.connect(clientId, { will: true, clean })],
      [say.connect(clientId, { clean: false }), say.register('a'), say.register('b', 2), say.disconnect()],
      [say.connect(clientId, { clean: false }), say.disconnect(60), say.regack(0x401, 1), say.regack(0x401, 2)],
      [say.disconnect(60), say.ping(clientId), say.puback(0x401, 1), say.pubrec(1), say.pubcomp(1)],
    ),
  )

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('say' as const),
      route: fc.constantFrom(...ROUTES),
      messages: fc.oneof({ weight: 5, arbitrary: fc.tuple(message) }, conversation),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      topic: fc.constantFrom(...TOPICS),
      qos: fc.constantFrom<(0 | 1 | 2)[]>(0, 1, 2),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(100, 10_000, 40_000, 400_000) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('commit' as const) }) },
  fc.record({ do: fc.constant('refuse' as const), on: fc.boolean() }),
  fc.record({ do: fc.constant('restart' as const) }),
)

const OPTIONS = fc.record({
  register: fc.constantFrom('lazy' as const, 'eager' as const, 'never' as const),
  roam: fc.constantFrom('asleep' as const, 'never' as const),
  strictSleep: fc.boolean(),
  topicsPerClient: fc.constantFrom(1, 2, 100),
  wakeMessages: fc.constantFrom(1, 100),
  inflightMessages: fc.constantFrom(1, 3),
  maxDatagram: fc.constantFrom(12, 65_535),
  trustedNetworks: fc.constantFrom([], undefined),
})

function taken(world: TestGateway, what: Step, options: object): TestGateway {
  const store = world.store as DelayedStore
  if (what.do === 'say') world.send(what.route, ...what.messages)
  else if (what.do === 'publish') world.publish(what.topic, 'down', what.qos)
  else if (what.do === 'advance') world.advance(what.ms)
  else if (what.do === 'commit') world.settle()
  else if (what.do === 'refuse') store.refuse = what.on
  else return new TestGateway(options, store.crash(), { epoch: world.now })
  return world
}

/** What the client at `new` is sent, with each message acknowledged. */
function acknowledged(world: TestGateway): string[] {
  const heard: string[] = []
  for (;;) {
    world.settle()
    const messages = world.messages('new')
    if (messages.length === 0) return heard
    for (const each of messages) {
      if (each.type !== MsgType.PUBLISH) {
        if (each.type === MsgType.PINGRESP) heard.push('PINGRESP')
        continue
      }
      heard.push(Buffer.from(each.data).toString())
      world.send('new', say.puback(each.topicId, each.msgId))
    }
  }
}

describe('a gateway to which clients say anything', () => {
  test('never throws, and a client that connects anew is served as ever', () => {
    const property = fc.property(OPTIONS, fc.array(step, { maxLength: 80 }), (chosen, steps) => {
      const { trustedNetworks, ...rest } = chosen
      const options = { ...rest, ...(trustedNetworks !== undefined && { trustedNetworks }) }
      let world = new TestGateway(options, new DelayedStore())
      for (const what of steps) {
        const before = world
        world = taken(world, what, options)
        expect(before.disturbances).toEqual([])
      }
      ;(world.store as DelayedStore).refuse = false
      world.settle()
      world.sent('new')
      for (const each of [say.connect('s', { clean: true, duration: 0 }), say.subscribe('a', 1, 5)]) {
        world.send('new', each)
        world.settle()
      }
      expect(world.sent('new')).toEqual(['CONNACK', 'SUBACK 0401 #5 q1'])
      for (const text of ['1', '2', '3']) world.publish('a', text)
      expect(acknowledged(world)).toEqual(['1', '2', '3'])
      world.send('new', say.disconnect(60))
      world.settle()
      for (const text of ['4', '5', '6']) world.publish('a', text)
      world.settle()
      expect(world.sent('new')).toEqual(['DISCONNECT'])
      const wakes = Array.from({ length: 3 / Math.min(3, rest.wakeMessages) }, () => {
        world.send('new', say.ping('s'))
        return acknowledged(world)
      })
      expect(wakes.flat().filter((text) => text !== 'PINGRESP')).toEqual(['4', '5', '6'])
      expect(wakes.every((heard) => heard.at(-1) === 'PINGRESP')).toBe(true)
    })
    fc.assert(property, runs(300))
  })
})

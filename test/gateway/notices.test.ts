import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { NoticeCounts } from '../../src/base/notice.ts'
import type { GatewayOptions } from '../../src/gateway/gateway-options.ts'
import type { Message } from '../../src/mqttsn/messages.ts'
import { say, TestGateway } from './harness.ts'

/** A connected sensor `s` at `r`, whose session lasts, subscribed to `a` with QoS 1. */
const connected = (options: Partial<GatewayOptions> = {}): TestGateway => {
  const world = new TestGateway(options)
  world.send('r', say.connect('s', { clean: false, duration: 0 }), say.subscribe('a', 1, 8))
  world.sent('r')
  world.notices.length = 0
  return world
}
const lines = (world: TestGateway): string[] =>
  world.notices.map(({ code, level, client, peer, reason }) => [level, code, client, 'at', peer, reason].join(' '))

describe('a request that is refused is told, with what it was about', () => {
  test.each<[string, Message, string]>([
    [
      'a topic id that nobody gave',
      say.publish(0x777, 'x', 1, 5),
      'PUBACK topic=0x0777 msgid=5 rejected: invalid topic id: PUBLISH with QoS 1 to a topic id, which stands for no topic here',
    ],
    [
      'a predefined id that is not configured',
      say.publish(9, 'x', 0, 0, 'predefined'),
      'PUBACK topic=0x0009 msgid=0 rejected: invalid topic id: PUBLISH with QoS 0 to a predefined topic id, which stands for no topic here',
    ],
    [
      'no message id',
      say.publish(0x401, 'x', 2, 0),
      'PUBACK topic=0x0401 msgid=0 rejected: not supported: PUBLISH with QoS 2 to a topic id, without a message id',
    ],
    [
      'a name with a wildcard',
      say.register('b/#', 6),
      'REGACK topic=0x0000 msgid=6 rejected: not supported: REGISTER of b/#, wildcard in a topic name',
    ],
    [
      'a filter that is none',
      say.subscribe('b/#/c', 1, 7),
      'SUBACK topic=0x0000 qos=0 msgid=7 rejected: not supported: SUBSCRIBE to b/#/c, # is not the last level',
    ],
    [
      'a subscription to an id that nobody gave',
      say.subscribeId('predefined', 9, 1, 7),
      'SUBACK topic=0x0000 qos=0 msgid=7 rejected: invalid topic id: SUBSCRIBE to a predefined topic id 9, which stands for no topic here',
    ],
    [
      'a will message without a will',
      say.willMsgUpdate('x'),
      'WILLMSGRESP rejected: not supported: WILLMSGUPD, and there is no will',
    ],
    [
      'a will topic with a wildcard',
      say.willTopicUpdate('w/+'),
      'WILLTOPICRESP rejected: not supported: WILLTOPICUPD, wildcard in a topic name',
    ],
  ])('%s', (_what, message, reason) => {
    const world = connected()
    world.send('r', message)
    expect(world.sent('r')).toHaveLength(1)
    expect(lines(world)).toEqual([`info request-refused sn:s at r ${reason}`])
  })

  test('more QoS 2 messages than may be on their way', () => {
    const world = connected({ uplinkMessages: 1 })
    world.send('r', say.publish(0x401, 'x', 2, 1), say.publish(0x401, 'y', 2, 2))
    expect(lines(world)).toEqual([
      'info request-refused sn:s at r PUBACK topic=0x0401 msgid=2 rejected: congestion: PUBLISH with QoS 2 to a topic id, too many are on their way (sn_uplink_messages)',
    ])
  })

  test('a will topic that cannot be one', () => {
    const world = new TestGateway()
    world.send('r', say.connect('s', { will: true }), say.willTopic('w/#'))
    expect(lines(world)).toEqual([
      'info request-refused sn:s at r CONNACK rejected: not supported: WILLTOPIC, wildcard in a topic name',
    ])
  })
})

describe('what comes out of turn is told to whoever debugs', () => {
  test('a will that nobody has asked for', () => {
    const world = connected()
    world.send('r', say.willTopic('w'))
    expect(lines(world)).toEqual(['debug protocol-error sn:s at r WILLTOPIC out of turn (active)'])
  })

  test('an answer to nothing that is open', () => {
    const world = connected()
    world.send('r', say.puback(0x401, 77), say.pubrec(78))
    expect(lines(world)).toEqual([
      'debug protocol-error sn:s at r PUBACK with message id 77 answers nothing that is open',
      'debug protocol-error sn:s at r PUBREC with message id 78 answers nothing that is open',
    ])
  })

  test('something else in the middle of a will dialogue', () => {
    const world = connected()
    world.send('r', say.connect('s', { will: true, clean: false }), say.ping())
    expect(lines(world)).toEqual(['debug protocol-error sn:s at r PINGREQ ends the will dialogue that its CONNECT began'])
  })

  test('something that comes before CONNACK', () => {
    const world = new TestGateway()
    world.send('r', say.connect('s', { will: true }), say.publish(1, 'x', 1, 5, 'predefined'))
    expect(lines(world)).toEqual(['debug protocol-error sn:s at r PUBLISH before CONNACK'])
  })
})

describe('who is where', () => {
  test('CONNECT that moves a client id to another address', () => {
    const world = connected()
    world.send('q', say.connect('s', { clean: false }))
    expect(lines(world)).toEqual(['info client-moved sn:s at q it was at r'])
  })

  test('a sleeper that wakes elsewhere', () => {
    const world = connected()
    world.send('r', say.disconnect(60))
    world.notices.length = 0
    world.send('q', say.ping('s'))
    expect(lines(world)).toEqual(['debug client-moved sn:s at q it was at r'])
  })

  test('a sensor that connects again from its own address has taken nobody over', () => {
    const world = connected()
    const connectWithWill = [say.connect('s', { clean: false, will: true }), say.willTopic('gone'), say.willMsg('x')]
    world.send('r', ...connectWithWill, say.disconnect(60))
    world.notices.length = 0
    world.send('r', ...connectWithWill)
    expect(lines(world)).toEqual([
      'debug client-takeover sn:s at r taken over from r',
      'info client-connected sn:s at r MQTT-SN 1.2, keep alive 60 s, persistent session',
    ])
    world.notices.length = 0
    world.send('r', say.connect('s'))
    expect(lines(world)).toContain('debug client-takeover sn:s at r taken over from r')
  })

  test('an address whose sensor is connected goes to another, and one whose sensor has said goodbye does so without a word', () => {
    const world = connected()
    world.send('r', say.connect('t'))
    expect(lines(world)).toEqual([
      "info client-takeover sn:s at r its address is sn:t's",
      'info client-connected sn:t at r MQTT-SN 1.2, keep alive 60 s, clean session',
    ])
    world.send('r', say.disconnect())
    world.notices.length = 0
    world.send('r', say.connect('u'))
    expect(lines(world)).toEqual(['info client-connected sn:u at r MQTT-SN 1.2, keep alive 60 s, clean session'])
  })

  test('sensors that go on after a restart are not connected anew', () => {
    const world = new TestGateway({}, new DelayedStore())
    world.send('r', say.connect('s', { clean: false }))
    world.settle()
    expect(world.codes()).toEqual(['client-connected'])
    expect(world.restarted().codes()).toEqual([])
  })
})

describe('a bound that is reached names its key', () => {
  test.each<[string, Partial<GatewayOptions>, (world: TestGateway) => void]>([
    ['max_sn_client_id_length', { maxClientIdLength: 3 }, (world) => world.send('q', say.connect('long'))],
    [
      'unknown_sender_replies_per_second',
      { unknownSenderPerSecond: 1 },
      (world) => {
        world.send('q1', say.ping())
        world.send('q2', say.ping())
      },
    ],
    [
      'sn_max_frame',
      { maxDatagram: 20 },
      (world) => {
        world.publish('a', 'x'.repeat(30))
      },
    ],
    [
      'sn_inflight_messages',
      {},
      (world) => {
        for (const text of ['x', 'y', 'z']) world.publish('a', text)
        world.send('r', say.puback(0x401, 1))
        world.publish('a', 'and more')
      },
    ],
    [
      'wake_messages',
      { wakeMessages: 1 },
      (world) => {
        world.send('r', say.disconnect(60))
        world.publish('a', 'x', 0)
        world.publish('a', 'y', 0)
        world.send('r', say.ping('s'))
      },
    ],
    ['max_sn_topics_per_client', { topicsPerClient: 1 }, (world) => world.send('r', say.register('b'))],
    ['gateway_topic_ids', { topicIds: { from: 0x401, to: 0x401 } }, (world) => world.send('r', say.register('b'))],
    ['max_topic_levels', { maxTopicLevels: 3 }, (world) => world.send('r', say.register('b/c/d/e'))],
    ['max_sessions', { maxSessions: 1 }, (world) => world.send('q', say.connect('t'))],
  ])('%s', (key, options, reach) => {
    const world = connected(options)
    reach(world)
    const counts = new NoticeCounts()
    for (const notice of world.notices) counts.add(notice)
    expect([...counts.byLimit]).toEqual([[key, 1]])
  })
})

test.each([
  ['DTLS', '16fefd0000000000000000002a0100001e000000000000001efefd', 'r/'],
  ['MQTT', '100f00044d5154540402003c0003616263', 'r'],
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n').toString('hex'), 'r'],
])('%s at the port for sensors is called by its name', (name, hex, peer) => {
  const world = new TestGateway()
  world.sendBytes('r', Buffer.from(hex, 'hex'))
  expect(world.notices).toEqual([
    {
      code: 'malformed-datagram',
      level: 'info',
      peer: expect.stringMatching(`^${peer}`),
      reason: `this is ${name}, and MQTT-SN is spoken here`,
    },
  ])
})

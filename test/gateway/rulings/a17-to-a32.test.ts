import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { OPEN_ACCESS } from '../../../src/broker/access.ts'
import { nodeRoute } from '../../../src/gateway/ports/route.ts'
import { say, TestGateway } from '../harness.ts'

/** A connected client `s` at `r`, whose session lasts. */
const connected = (options = {}, connect = {}): TestGateway => {
  const world = new TestGateway(options)
  world.send('r', say.connect('s', { clean: false, ...connect }))
  expect(world.sent('r')).toEqual(['CONNACK'])
  return world
}

const watcher = (world: TestGateway, filter: string): { poll(): string[] } => {
  const client = world.client('watcher')
  client.subscribe(filter, 0)
  client.poll()
  return client
}

const stateOf = (world: TestGateway, clientId = 's'): string | undefined => world.gateway.client(clientId)?.state

test('ruling A17: QoS 2 that comes again is acknowledged again and delivered once, before and after PUBREL', () => {
  const world = connected()
  const a = watcher(world, 'a')
  world.send('r', say.register('a'))
  world.sent('r')
  const publish = say.publish(0x401, 'x', 2, 3)
  world.send('r', publish, { ...publish, dup: true }, say.pubrel(3), publish, say.pubrel(3), say.pubrel(99))
  expect(world.sent('r')).toEqual(['PUBREC #3', 'PUBREC #3', 'PUBCOMP #3', 'PUBREC #3', 'PUBCOMP #3', 'PUBCOMP #99'])
  expect(a.poll()).toEqual(['a=x q0'])
})

test('ruling A18: what will not pass by waiting is 0x03, and only what may is 0x01', () => {
  const access = { ...OPEN_ACCESS, publish: () => false, subscribe: () => false }
  const world = new TestGateway({}, undefined, { access })
  world.send('r', say.connect('s'), say.register('a'), say.publish(0x401, 'x', 1, 2), say.publish(0x401, 'x', 2, 3))
  world.send('r', say.subscribe('a'), say.willTopicUpdate('a'))
  expect(world.sent('r')).toEqual([
    'CONNACK',
    'REGACK 0401 #1',
    'PUBACK 0401 #2 rc3',
    'PUBACK 0401 #3 rc3',
    'SUBACK 0000 #9 q0 rc3',
    'WILLTOPICRESP rc3',
  ])
  world.send('q', say.connect('t', { will: true }), say.willTopic('a'), say.willMsg('x'))
  expect(world.sent('q').at(-1)).toBe('CONNACK rc3')
  const full = new TestGateway({ maxSessions: 0 })
  full.send('r', say.connect('s'))
  expect(full.sent('r')).toEqual(['CONNACK rc1'])
})

describe('ruling A19: the will by section 6.3', () => {
  const withWill = (world = new TestGateway()): TestGateway => {
    world.send('r', say.connect('s', { clean: false, will: true, duration: 10 }), say.willTopic('gone'), say.willMsg('bye'))
    world.sent('r')
    return world
  }

  test.each([
    ['clean 0 without the Will flag keeps it', [say.connect('s', { clean: false, duration: 10 })], ['gone=bye q0']],
    ['clean 1 without the Will flag deletes it', [say.connect('s', { duration: 10 })], []],
    [
      'clean 0 with the Will flag and an empty WILLTOPIC deletes it',
      [say.connect('s', { clean: false, will: true, duration: 10 }), say.willTopic(undefined)],
      [],
    ],
    [
      'clean 0 with the Will flag replaces it',
      [say.connect('s', { clean: false, will: true, duration: 10 }), say.willTopic('gone'), say.willMsg('new')],
      ['gone=new q0'],
    ],
    ['DISCONNECT does not fire it, and neither does sleep', [say.disconnect(11)], []],
    ['DISCONNECT for good does not fire it', [say.disconnect()], []],
  ] as const)('%s', (_what, messages, expected) => {
    const world = withWill()
    const gone = watcher(world, 'gone')
    world.send('r', ...messages)
    world.advance(20_000)
    expect(gone.poll()).toEqual(expected)
  })

  test('it fires once when the client is lost in sleep, and is kept for the next connection', () => {
    const world = withWill()
    const gone = watcher(world, 'gone')
    world.send('r', say.disconnect(10))
    world.advance(1e6)
    expect(gone.poll()).toEqual(['gone=bye q0'])
    world.send('r', say.connect('s', { clean: false, duration: 10 }))
    world.advance(20_000)
    expect(gone.poll()).toEqual(['gone=bye q0'])
  })

  test('access is asked when it fires', () => {
    let allowed = true
    const access = { ...OPEN_ACCESS, publish: () => allowed }
    const world = withWill(new TestGateway({}, undefined, { access }))
    const gone = watcher(world, 'gone')
    allowed = false
    world.advance(20_000)
    expect(gone.poll()).toEqual([])
    expect(world.codes()).toContain('will-refused')
  })

  test('it survives a restart', () => {
    const world = new TestGateway({}, new DelayedStore())
    world.send('r', say.connect('s', { clean: false, will: true, duration: 10 }), say.willTopic('gone'), say.willMsg('bye'))
    world.settle()
    const after = world.restarted()
    after.settle()
    const gone = watcher(after, 'gone')
    after.advance(20_000)
    expect(gone.poll()).toEqual(['gone=bye q0'])
  })
})

describe('ruling A20: an address that has not proved itself', () => {
  const big = 'x'.repeat(300)
  const sleeping = (): TestGateway => {
    const world = new TestGateway({ trustedNetworks: [] })
    world.send('203.0.113.5:1', say.connect('s', { clean: false }), say.subscribe('a'), say.disconnect(600))
    expect(world.sent('203.0.113.5:1')).toEqual(['CONNACK', 'SUBACK 0401 #9 q1', 'DISCONNECT'])
    for (let i = 1; i <= 3; i++) world.publish('a', `${i}${big}`)
    return world
  }

  test('is sent one message that is larger than it has earned, and PINGRESP; its acknowledgement brings the rest', () => {
    const world = sleeping()
    world.send('203.0.113.9:7', say.ping('s'))
    expect(world.sent('203.0.113.9:7')).toEqual([`PUBLISH 0401=1${big} #1 q1`])
    world.send('203.0.113.9:7', say.puback(0x401, 1), say.puback(0x401, 2), say.puback(0x401, 3))
    expect(world.sent('203.0.113.9:7')).toEqual([`PUBLISH 0401=2${big} #2 q1`, `PUBLISH 0401=3${big} #3 q1`, 'PINGRESP'])
  })

  test('that never answers gets no more than that, and everything waits for the client', () => {
    const world = sleeping()
    world.send('203.0.113.9:7', say.ping('s'))
    world.advance(100_000)
    expect(world.sent('203.0.113.9:7')).toEqual([`PUBLISH 0401=1${big} #1 q1`, 'PINGRESP'])
    world.send('203.0.113.5:1', say.ping('s'), say.puback(0x401, 1))
    expect(world.sent('203.0.113.5:1').slice(0, 2)).toEqual([`PUBLISH 0401=1${big} #1 q1 dup`, `PUBLISH 0401=2${big} #2 q1`])
  })
})

test('ruling A21: duration 0 is accepted, and max_sn_idle_seconds may bound it', () => {
  const world = connected({ maxIdleMs: 1000 }, { duration: 0 })
  world.advance(1001)
  expect(stateOf(world)).toBe('lost')
  const unbound = connected({}, { duration: 0 })
  unbound.advance(1e9)
  expect(stateOf(unbound)).toBe('active')
})

test('ruling A22: client ids have 1 to max_sn_client_id_length bytes; others are refused with 0x03', () => {
  const world = new TestGateway()
  world.send('r', say.connect(''), say.connect('x'.repeat(65)), say.connect('é'.repeat(33)))
  expect(world.sent('r')).toEqual(['CONNACK rc3', 'CONNACK rc3', 'CONNACK rc3'])
  world.send('r', say.connect('x'.repeat(64)), say.connect('é'.repeat(32)))
  expect(world.sent('r')).toEqual(['CONNACK', 'CONNACK'])
  const long = new TestGateway({ maxClientIdLength: 200 })
  long.send('r', say.connect('x'.repeat(200)), say.connect('x'.repeat(201)))
  expect(long.sent('r')).toEqual(['CONNACK', 'CONNACK rc3'])
})

test('ruling A22: at the end of a line with a single client, one without a name may have one by configuration', () => {
  const line = { name: 'sn', maxFrame: 255, retry: { tRetryMs: 10_000, nRetry: 3, backoff: 1, jitter: 0 }, maxQueued: 10 }
  const world = new TestGateway({ ports: [{ ...line, defaultClientId: 'pump' }] })
  world.send('r', say.connect('', { clean: false }), say.subscribe('a'), say.disconnect(60))
  world.publish('a', 'x')
  world.send('r', say.ping(), say.puback(0x401, 1))
  expect(world.sent('r')).toEqual(['CONNACK', 'SUBACK 0401 #9 q1', 'DISCONNECT', 'PUBLISH 0401=x #1 q1', 'PINGRESP'])
  expect(stateOf(world, 'pump')).toBe('asleep')
  // Not behind a forwarder, where there are many.
  world.sendVia('r', Uint8Array.of(1), say.connect(''))
  expect(world.sent(nodeRoute('r', Uint8Array.of(1)))).toEqual(['CONNACK rc3'])
})

describe('ruling A23: a sleeper that asks for more than its messages', () => {
  const requests = [
    say.register('b'),
    say.publish(1, 'x', 1, 5, 'predefined'),
    say.publish(1, 'x', 2, 6, 'predefined'),
    say.pubrel(6),
    say.subscribe('c', 1, 7),
    say.unsubscribe('c', 8),
    say.willTopicUpdate('gone'),
    say.willMsgUpdate('bye'),
  ]

  test('is served, and sleeps on', () => {
    const world = connected()
    world.send('r', say.disconnect(60), ...requests)
    expect(world.sent('r')).toEqual([
      'DISCONNECT',
      'REGACK 0401 #1',
      'PUBACK 0001 #5',
      'PUBREC #6',
      'PUBCOMP #6',
      'SUBACK 0402 #7 q1',
      'UNSUBACK #8',
      'WILLTOPICRESP',
      'WILLMSGRESP',
    ])
    expect(stateOf(world)).toBe('asleep')
  })

  test('is told to connect with strict_sleep, and still gets its messages', () => {
    const world = connected({ strictSleep: true })
    world.send('r', say.subscribe('a'), say.disconnect(60))
    world.sent('r')
    for (const request of requests) {
      world.advance(1000)
      world.send('r', request)
      expect(world.sent('r')).toEqual(['DISCONNECT'])
    }
    world.publish('a', 'x')
    world.send('r', say.ping('s'), say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1', 'PINGRESP'])
  })
})

test('ruling A24: QoS -1 with the topic name inside is taken with qos_m1_inline_topic alone', () => {
  for (const [qosM1InlineTopic, expected] of [
    [false, []],
    [true, ['some/topic=payload q0']],
  ] as const) {
    const world = new TestGateway({ qosM1InlineTopic })
    const all = watcher(world, '#')
    world.send('x', say.publish('some/topic'.length, 'some/topicpayload', -1))
    // Longer than the message, empty, a wildcard.
    world.send('x', say.publish(50, 'short', -1), say.publish(0, 'x', -1), say.publish(3, 'a/#x', -1))
    expect(all.poll()).toEqual(expected)
    expect(world.sent('x')).toEqual([])
  }
})

test('ruling A25: GWINFO goes to whoever asked, alone and at once', () => {
  const world = connected()
  world.send('x', { type: 0x01, radius: 0 })
  expect(world.messages('x')).toEqual([{ type: 0x02, gwId: 7, gwAddr: undefined }])
  expect(world.sent('r')).toEqual([])
})

describe('ruling A26: encapsulation', () => {
  test('node ids of 1 to 252 bytes come back as they went', () => {
    const world = new TestGateway()
    for (const length of [1, 2, 3, 8, 251, 252]) {
      const node = new Uint8Array(length).fill(0x80 + (length % 100))
      world.sendVia('fw', node, say.connect(`s${length}`))
      expect(world.sent(nodeRoute('fw', node))).toEqual(['CONNACK'])
    }
    expect(world.sent('fw')).toEqual([])
  })

  test('an encapsulation in an encapsulation, one without a node id and an empty one are malformed', () => {
    const world = new TestGateway()
    for (const hex of ['04fe000105fe0001021600', '03fe00021600', '04fe0001']) world.sendBytes('fw', Buffer.from(hex, 'hex'))
    expect(world.codes()).toEqual(['malformed-datagram', 'malformed-datagram', 'malformed-datagram'])
  })
})

describe('ruling A27: topic ids that cannot be had', () => {
  test('a wildcard is refused with 0x03, and so is a name when the client has asked for all ids that it may have', () => {
    const world = connected({ topicsPerClient: 1 })
    world.send('r', say.register('a/+'), say.register('a', 2), say.register('b', 3), say.subscribe('c', 1, 4))
    expect(world.sent('r')).toEqual(['REGACK 0000 #1 rc3', 'REGACK 0401 #2', 'REGACK 0000 #3 rc3', 'SUBACK 0000 #4 q0 rc3'])
    expect(world.notices.find(({ code }) => code === 'limit-reached')?.limit).toBe('max_sn_topics_per_client')
  })

  test('for a message of ours the id that was used least recently gives way, of those that the client has not asked for', () => {
    const world = connected({ topicsPerClient: 3 })
    world.send('r', say.subscribe('t/#'), say.register('a'))
    world.sent('r')
    for (const [i, topic] of ['t/x', 't/y', 't/z'].entries()) {
      world.publish(topic, 'x', 0)
      expect(world.sent('r')).toEqual([`REGISTER 040${i + 2}=${topic} #${i + 1}`])
      world.send('r', say.regack(0x402 + i, i + 1))
      expect(world.sent('r')).toEqual([`PUBLISH 040${i + 2}=x q0`])
    }
    // Its number is not given again as long as there are others.
    world.send('r', say.publish(0x402, 'x', 1, 7), say.publish(0x401, 'x', 1, 8), say.publish(0x403, 'x', 1, 9))
    expect(world.sent('r').slice(0, 3)).toEqual(['PUBACK 0402 #7 rc2', 'PUBACK 0401 #8', 'PUBACK 0403 #9'])
  })

  test('the same after a restart', () => {
    const world = new TestGateway({ topicsPerClient: 2 }, new DelayedStore())
    for (const message of [say.connect('s', { clean: false }), say.subscribe('t/#'), say.register('a')]) {
      world.send('r', message)
      world.settle()
    }
    for (const [i, topic] of ['t/x', 't/y'].entries()) {
      world.publish(topic, 'x', 0)
      world.settle()
      world.send('r', say.regack(0x402 + i, i + 1))
    }
    const after = world.restarted()
    after.settle()
    const { registry } = after.gateway.client('s')!
    expect([0x401, 0x402, 0x403].map((id) => registry.nameOf(id))).toEqual(['a', undefined, 't/y'])
    after.send('r', say.register('c'))
    after.settle()
    expect(registry.idOf('c')).toBe(0x404)
  })
})

describe('ruling A28: after N_retry', () => {
  test('an active client is lost: its will fires, its radio is silent, its message waits', () => {
    const world = new TestGateway()
    world.send('r', say.connect('s', { clean: false, will: true, duration: 0 }), say.willTopic('gone'), say.willMsg('bye'))
    world.send('r', say.subscribe('a'))
    world.sent('r')
    const gone = watcher(world, 'gone')
    world.publish('a', 'x')
    world.advance(40_000)
    expect(world.sent('r')).toHaveLength(4)
    expect([stateOf(world), gone.poll()]).toEqual(['lost', ['gone=bye q0']])
    world.publish('a', 'y')
    world.advance(1e7)
    expect(world.sent('r')).toEqual([])
    world.send('r', say.connect('s', { clean: false }), say.regack(0x401, 2), say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0401=a #2', 'PUBLISH 0401=x #1 q1 dup', 'PUBLISH 0401=y #2 q1'])
  })

  test('a sleeper sleeps on, and is lost only by its sleep', () => {
    const world = connected()
    world.send('r', say.subscribe('a'), say.disconnect(1000))
    world.publish('a', 'x')
    world.send('r', say.ping('s'))
    world.advance(40_000)
    expect([world.sent('r').at(-1), stateOf(world)]).toEqual(['PINGRESP', 'asleep'])
  })
})

test('ruling A29: SUBACK comes before what the subscription brings', () => {
  const world = connected()
  world.client('p').publish('t/r', 'retained', 1, 1, { retain: true })
  world.send('r', say.subscribe('t/r'))
  expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1', 'PUBLISH 0401=retained #1 q1 retain'])
})

test('ruling A30: the answer to a sleep request is a DISCONNECT of two octets', () => {
  const world = connected()
  world.send('r', say.disconnect(60))
  expect(world.messages('r')).toEqual([{ type: 0x18, duration: undefined }])
})

test('ruling A32: sessions of sensors and of MQTT clients never meet, whoever came first', () => {
  const world = new TestGateway()
  const first = world.client('name')
  world.send('r', say.connect('name'))
  world.send('q', say.connect('other'))
  const second = world.client('other')
  for (const route of ['r', 'q']) {
    world.send(route, say.ping())
    expect(world.sent(route)).toEqual(['CONNACK', 'PINGRESP'])
  }
  expect([first.poll(), second.poll()]).toEqual([[], []])
  expect(world.codes()).not.toContain('client-refused')
})

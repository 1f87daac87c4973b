import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import { nodeRoute } from '../../src/gateway/ports/route.ts'
import { say, TestGateway } from './harness.ts'

// What users of other gateways report, and why it cannot happen here.

/** A client `s` at `r` that is connected, subscribed to `a` with QoS 1, and whose session lasts. */
const subscribed = (options = {}, connect = {}): TestGateway => {
  const world = new TestGateway(options)
  world.send('r', say.connect('s', { clean: false, ...connect }), say.subscribe('a'))
  expect(world.sent('r')).toEqual(['CONNACK', 'SUBACK 0401 #9 q1'])
  return world
}

const asleep = (options = {}, connect = {}, seconds = 600): TestGateway => {
  const world = subscribed(options, connect)
  world.send('r', say.disconnect(seconds))
  expect(world.sent('r')).toEqual(['DISCONNECT'])
  return world
}

const watcher = (world: TestGateway, filter: string): { poll(): string[] } => {
  const client = world.client('watcher')
  client.subscribe(filter, 0)
  client.poll()
  return client
}

const stateOf = (world: TestGateway, clientId = 's'): string | undefined => world.gateway.client(clientId)?.state
const WILL = [say.connect('s', { clean: false, will: true, duration: 10 }), say.willTopic('gone'), say.willMsg('bye')]

describe('sleep', () => {
  test('complaint 1: PINGRESP ends every awake period, also where nothing is acknowledged or the store stands still', () => {
    const world = asleep()
    world.publish('a', 'x')
    world.send('r', say.ping('s'))
    world.advance(40_000)
    expect(world.sent('r').at(-1)).toBe('PINGRESP')
    const store = new DelayedStore()
    const stalled = new TestGateway({}, store)
    for (const message of [say.connect('s', { clean: false }), say.subscribe('a', 2), say.disconnect(600)]) {
      stalled.send('r', message)
      stalled.settle()
    }
    stalled.sent('r')
    stalled.publish('a', 'x', 2)
    stalled.send('r', say.ping('s'))
    stalled.advance(40_000)
    expect(stalled.sent('r')).toEqual(['PINGRESP'])
  })

  test('complaint 2: after PINGRESP nothing is sent before the next PINGREQ', () => {
    const world = asleep()
    world.publish('a', 'x')
    world.send('r', say.ping('s'), say.puback(0x401, 1))
    world.sent('r')
    for (const qos of [0, 1, 2] as const) world.publish('a', `${qos}`, qos)
    world.advance(500_000)
    expect(world.sent('r')).toEqual([])
  })

  test('complaint 3: PINGRESP comes after the last acknowledgement, and what is not acknowledged stays', () => {
    const world = asleep()
    world.publish('a', '1')
    world.publish('a', '2')
    world.send('r', say.ping('s'), say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=1 #1 q1', 'PUBLISH 0401=2 #2 q1'])
    world.advance(40_000)
    world.sent('r')
    world.send('r', say.ping('s'), say.puback(0x401, 2))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=2 #2 q1 dup', 'PINGRESP'])
  })

  test('complaint 4: what was delivered is not delivered at the next PINGREQ', () => {
    const world = asleep()
    world.publish('a', 'x')
    world.send('r', say.ping('s'), say.puback(0x401, 1))
    world.sent('r')
    world.send('r', say.ping('s'), say.ping('s'))
    expect(world.sent('r')).toEqual(['PINGRESP', 'PINGRESP'])
  })

  test('complaint 5: behind a wildcard each message goes REGISTER, REGACK, PUBLISH, in order, within the awake period', () => {
    const world = asleep()
    world.send('r', say.subscribe('t/#'))
    world.sent('r')
    for (const name of ['t/x', 't/y']) world.publish(name, name)
    world.send('r', say.ping('s'), say.regack(0x402, 2), say.puback(0x402, 1), say.regack(0x403, 3), say.puback(0x403, 2))
    expect(world.sent('r')).toEqual([
      'REGISTER 0402=t/x #2',
      'PUBLISH 0402=t/x #1 q1',
      'REGISTER 0403=t/y #3',
      'PUBLISH 0403=t/y #2 q1',
      'PINGRESP',
    ])
  })

  test('complaint 6: CONNECT from sleep brings what waited', () => {
    const world = asleep()
    world.publish('a', 'x')
    world.send('r', say.connect('s', { clean: false }), say.regack(0x401, 2))
    expect(world.sent('r').at(-1)).toBe('PUBLISH 0401=x #1 q1')
  })

  test('complaint 7: a sleep longer than the keep alive is a sleep', () => {
    const world = asleep({}, { duration: 5 }, 3600)
    world.advance(3_600_000)
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['PINGRESP'])
  })

  test('complaint 8: lost in sleep, the will fires once, the session stays, and nothing is an error', () => {
    const world = new TestGateway()
    const gone = watcher(world, 'gone')
    world.send('r', ...WILL, say.subscribe('a'), say.disconnect(60))
    world.publish('a', 'kept')
    world.advance(1e7)
    expect(gone.poll()).toEqual(['gone=bye q0'])
    expect(world.notices.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([])
    world.sent('r')
    world.send('r', say.connect('s', { clean: false }), say.regack(0x401, 2))
    expect(world.sent('r').at(-1)).toBe('PUBLISH 0401=kept #1 q1')
  })
})

describe('the will and the connection', () => {
  test('complaint 9: a client that falls silent is lost, and its will fires', () => {
    const world = new TestGateway()
    const gone = watcher(world, 'gone')
    world.send('r', ...WILL)
    world.advance(15_001)
    expect([gone.poll(), stateOf(world)]).toEqual([['gone=bye q0'], 'lost'])
  })

  test('complaint 10: WILLTOPICUPD and WILLMSGUPD change the will, an empty WILLTOPICUPD deletes it', () => {
    for (const [updates, expected] of [
      [[say.willMsgUpdate('new')], ['gone=new q0']],
      [[say.willTopicUpdate('gone/new')], ['gone/new=bye q0']],
      [[say.willTopicUpdate(undefined)], []],
      [[say.willTopicUpdate(undefined), say.willTopicUpdate('gone'), say.willMsgUpdate('again')], ['gone=again q0']],
    ] as const) {
      const world = new TestGateway()
      const gone = watcher(world, 'gone/#')
      world.send('r', ...WILL)
      world.sent('r')
      world.send('r', ...updates)
      expect(world.sent('r').every((line) => /^WILL(TOPIC|MSG)RESP$/.test(line))).toBe(true)
      world.advance(20_000)
      expect(gone.poll()).toEqual(expected)
    }
  })

  test('complaint 11: crossed and repeated messages of the will dialogue lead to a connection all the same', () => {
    const [connect, topic, message] = WILL as [never, never, never]
    for (const order of [
      [connect, connect, topic, topic, message, message],
      [connect, message, topic, connect, topic, message],
      [connect, topic, connect, message, topic, topic, message, topic],
    ]) {
      const world = new TestGateway()
      world.send('r', ...order)
      expect([world.sent('r').includes('CONNACK'), stateOf(world)]).toEqual([true, 'active'])
      expect(world.gateway.client('s')?.will?.topic).toBe('gone')
    }
  })

  test('complaint 12: after a restart of ours the ids are there, and nothing was acknowledged and dropped', () => {
    const world = new TestGateway({}, new DelayedStore())
    for (const message of [say.connect('s', { clean: false }), say.subscribe('a'), say.disconnect(600)]) {
      world.send('r', message)
      world.settle()
    }
    world.publish('a', 'x')
    world.settle()
    const after = world.restarted()
    after.settle()
    after.send('r', say.ping('s'))
    after.settle()
    expect(after.sent('r')).toEqual(['PUBLISH 0401=x #64 q1'])
  })

  test('complaints 13, 14: clean session 0 brings subscriptions, backlog and retained messages, and registers again', () => {
    const world = subscribed()
    world.send('r', say.disconnect())
    world.publish('a', 'backlog')
    world.client('p').publish('b', 'retained', 1, 1, { retain: true })
    world.sent('r')
    world.send('r', say.connect('s', { clean: false }), say.regack(0x401, 2), say.puback(0x401, 1), say.subscribe('b'))
    expect(world.sent('r')).toEqual([
      'CONNACK',
      'REGISTER 0401=a #2',
      'PUBLISH 0401=backlog #1 q1',
      'SUBACK 0402 #9 q1',
      'PUBLISH 0402=retained #2 q1 retain',
    ])
  })

  test('complaint 13: the topics of a wildcard are registered again before their messages', () => {
    const world = subscribed()
    world.send('r', say.subscribe('t/#'))
    world.publish('t/x', '1')
    world.send('r', say.regack(0x402, 2), say.puback(0x402, 1), say.disconnect())
    world.publish('t/x', '2')
    world.sent('r')
    world.send('r', say.connect('s', { clean: false }))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0402=t/x #3'])
  })

  test('complaint 14: clean session 0 after clean session 1 is one that lasts', () => {
    const world = new TestGateway()
    world.send('r', say.connect('s'), say.connect('s', { clean: false }), say.subscribe('a'), say.disconnect())
    world.publish('a', 'x')
    world.sent('r')
    world.send('r', say.connect('s', { clean: false }))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0401=a #2'])
  })

  test('complaint 15: the store keeps sessions of sensors as it keeps those of MQTT clients', () => {
    const world = new TestGateway({}, new DelayedStore())
    world.send('r', say.connect('s', { clean: false }))
    world.settle()
    world.send('r', say.subscribe('a'))
    world.settle()
    const after = world.restarted()
    expect(after.broker.sessions.get('sn', 's')?.subscriptions?.has('a')).toBe(true)
  })

  test('complaint 16: sleep forgets no ids', () => {
    const world = asleep()
    world.publish('a', 'x')
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1'])
  })

  test('complaint 17: a SUBSCRIBE or REGISTER that comes again gets the same id, and its retained messages once', () => {
    const world = new TestGateway()
    world.client('p').publish('a', 'retained', 1, 1, { retain: true })
    world.send('r', say.connect('s', { clean: false }), say.subscribe('a'), say.puback(0x401, 1))
    world.sent('r')
    world.send('r', { ...say.subscribe('a'), dup: true } as never, say.register('a', 5), say.register('a', 6))
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1', 'REGACK 0401 #5', 'REGACK 0401 #6'])
  })

  test('complaint 18: PUBACK repeats the topic id of its own PUBLISH, with several on their way too', () => {
    const world = new TestGateway({ inflightMessages: 4 }, new DelayedStore())
    for (const message of [say.connect('s', { clean: false }), say.register('a', 1), say.register('b', 2)]) {
      world.send('r', message)
      world.settle()
    }
    world.send('other', say.connect('t', { clean: false }))
    world.settle()
    world.send('other', say.subscribe('#'))
    world.settle()
    world.sent('r')
    world.send('r', say.publish(0x401, '1', 1, 5), say.publish(0x402, '2', 1, 6), say.publish(1, '3', 1, 7, 'predefined'))
    expect(world.sent('r')).toEqual([])
    world.settle()
    expect(world.sent('r').filter((line) => line.startsWith('PUBACK'))).toEqual([
      'PUBACK 0401 #5',
      'PUBACK 0402 #6',
      'PUBACK 0001 #7',
    ])
  })
})

describe('who is where', () => {
  test('complaint 19: a client that is unknown after a change of its address is told to connect', () => {
    const world = subscribed()
    world.send('elsewhere', say.publish(0x401, 'x', 1, 5))
    expect(world.sent('elsewhere')).toEqual(['DISCONNECT'])
    world.send('elsewhere', say.connect('s', { clean: false }), say.publish(0x401, 'x', 1, 5))
    expect(world.sent('elsewhere').slice(0, 2)).toEqual(['CONNACK', 'PUBACK 0401 #5'])
  })

  test('complaint 20: a node that moved is answered where it is, and whoever has its old address loses nothing by it', () => {
    const world = subscribed()
    world.send('elsewhere', say.connect('s', { clean: false }))
    world.send('r', say.connect('t', { clean: false }), say.subscribe('of/t'))
    expect([world.sent('elsewhere'), world.sent('r')]).toEqual([['CONNACK'], ['CONNACK', 'SUBACK 0401 #9 q1']])
    world.publish('a', 'x', 0)
    world.publish('of/t', 'y', 0)
    expect([world.sent('elsewhere'), world.sent('r')]).toEqual([['REGISTER 0401=a #1'], ['PUBLISH 0401=y q0']])
  })

  test('complaint 21: another client id from the same address is another client', () => {
    const world = subscribed()
    world.send('r', say.connect('t'), say.register('b'))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGACK 0401 #1'])
    expect(world.gateway.client('s')?.registry.nameOf(0x401)).toBe('a')
  })

  test('complaints 22, 23: QoS -1 works without any set-up, again and again, by predefined id and by short name', () => {
    const world = new TestGateway()
    const all = watcher(world, '#')
    for (let i = 0; i < 3; i++)
      world.send('x', say.publish(1, `${i}`, -1, 0, 'predefined'), say.publish(0x6162, `${i}`, -1, 0, 'short'))
    expect(all.poll()).toEqual([0, 1, 2].flatMap((i) => [`predefined/one=${i} q0`, `ab=${i} q0`]))
    expect(world.gateway.clientCount).toBe(0)
    expect(world.sent('x')).toEqual([])
  })

  test('complaint 23: short names of one byte and of none, and a switch that is off, do no harm', () => {
    const world = new TestGateway({ users: { userOf: () => ({ username: undefined }), qosM1User: () => undefined } })
    const all = watcher(world, '#')
    world.send(
      'x',
      say.publish(0x6100, 'x', -1, 0, 'short'),
      say.publish(0, 'x', -1, 0, 'short'),
      say.publish(0x6162, 'x', -1, 0, 'short'),
    )
    expect(all.poll()).toEqual([])
    expect(world.codes().filter((code) => code === 'publish-refused')).toHaveLength(3)
  })

  test('complaint 24: nodes behind forwarders are clients of their own, answered through theirs, and may move to another', () => {
    const world = new TestGateway()
    const [one, two] = [Uint8Array.of(1), Uint8Array.of(2, 3, 4)]
    world.sendVia('fw', one, say.connect('s1', { clean: false }), say.subscribe('a'), say.disconnect(600))
    world.sendVia('fw', two, say.connect('s2'), say.register('b'))
    expect(world.sent(nodeRoute('fw', one))).toEqual(['CONNACK', 'SUBACK 0401 #9 q1', 'DISCONNECT'])
    expect(world.sent(nodeRoute('fw', two))).toEqual(['CONNACK', 'REGACK 0401 #1'])
    world.publish('a', 'x')
    // Asleep it is found again behind another forwarder, and as another node there; active it connects.
    world.sendVia('fw2', two, say.ping('s1'), say.puback(0x401, 1))
    expect(world.sent(nodeRoute('fw2', two))).toEqual(['PUBLISH 0401=x #1 q1', 'PINGRESP'])
    world.sendVia('fw2', one, say.publish(0x401, 'x', 1, 5), say.connect('s2'))
    expect(world.sent(nodeRoute('fw2', one))).toEqual(['DISCONNECT', 'CONNACK'])
    expect([world.sent('fw'), world.sent('fw2'), world.sent(nodeRoute('fw', one))]).toEqual([[], [], []])
    expect(world.gateway.clientCount).toBe(2)
  })
})

describe('size and number', () => {
  test('complaint 25: messages of 250 to 260 bytes, and long ones, come and go whole', () => {
    const world = subscribed()
    const other = watcher(world, 'b')
    world.send('r', say.register('b', 2))
    world.sent('r')
    for (const length of [240, 247, 248, 249, 250, 251, 255, 256, 257, 1400, 9000]) {
      const payload = 'x'.repeat(length)
      world.publish('a', payload, 0)
      world.send('r', say.publish(0x402, payload))
      expect([world.sent('r'), other.poll()]).toEqual([[`PUBLISH 0401=${payload} q0`], [`b=${payload} q0`]])
    }
  })

  test('complaint 26: thousands of clients; when it is full congestion is told, and places are free again in time', () => {
    const world = new TestGateway({ maxSessions: 2000 })
    for (let i = 0; i < 2000; i++) world.send(`r${i}`, say.connect(`s${i}`), say.subscribe('a'))
    expect(world.sent('r1999')).toEqual(['CONNACK', 'SUBACK 0401 #9 q1'])
    world.publish('a', 'x', 0)
    expect(Array.from({ length: 2000 }, (_, i) => world.sent(`r${i}`).at(-1)).every((line) => line === 'PUBLISH 0401=x q0')).toBe(
      true,
    )
    world.send('new', say.connect('new'))
    expect(world.sent('new')).toEqual(['CONNACK rc1'])
    world.send('r7', say.disconnect())
    world.advance(40_001)
    world.send('new', say.connect('new'))
    expect(world.sent('new')).toEqual(['CONNACK'])
  })

  test('complaint 27: odd datagrams are counted, and change nothing', () => {
    const world = subscribed()
    const before = world.codes().length
    for (const hex of [
      '',
      '00',
      '01',
      '0101',
      '010002',
      '02',
      '0218ff',
      '0304',
      '0904',
      '0703',
      '0ffe',
      'ff'.repeat(64),
      '0a0c6300000000',
    ]) {
      for (const route of ['r', 'x']) world.sendBytes(route, Buffer.from(hex, 'hex'))
    }
    expect([...world.sent('r'), ...world.sent('x')]).toEqual([])
    expect(
      world
        .codes()
        .slice(before)
        .every((code) => code === 'malformed-datagram'),
    ).toBe(true)
    expect([stateOf(world), world.gateway.clientCount]).toEqual(['active', 1])
  })

  test('complaint 28: QoS 2 that comes again, with DUP or without, is delivered once, over a restart too', () => {
    const world = new TestGateway({}, new DelayedStore())
    for (const message of [say.connect('s', { clean: false }), say.register('a')]) {
      world.send('r', message)
      world.settle()
    }
    const a = watcher(world, 'a')
    const publish = say.publish(0x401, 'x', 2, 5)
    for (let i = 0; i < 3; i++) {
      world.send('r', { ...publish, dup: i > 0 })
      world.settle()
    }
    expect(a.poll()).toEqual(['a=x q0'])
    const after = world.restarted()
    after.settle()
    const b = watcher(after, 'a')
    for (const message of [publish, say.pubrel(5)]) {
      after.send('r', message)
      after.settle()
    }
    expect([after.sent('r'), b.poll(), stateOf(after)]).toEqual([['PUBREC #5', 'PUBCOMP #5'], [], 'active'])
  })
})

describe('access', () => {
  test('complaint 29: the rules are asked for PUBLISH of every QoS, QoS -1, will and will updates', () => {
    const world = new TestGateway({}, undefined, { access: { ...OPEN_ACCESS, publish: (_, topic) => topic === 'allowed' } })
    const all = watcher(world, '#')
    world.send('r', say.connect('s', { clean: false, duration: 10 }), say.register('a'))
    world.send('r', say.publish(0x401, 'x'), say.publish(0x401, 'x', 1, 5), say.publish(0x401, 'x', 2, 6))
    world.send('r', say.publish(1, 'x', -1, 0, 'predefined'), say.willTopicUpdate('a'), say.willTopicUpdate('allowed'))
    world.send('q', say.connect('t', { will: true }), say.willTopic('a'), say.willMsg('x'))
    expect(world.sent('r').slice(2)).toEqual(['PUBACK 0401 #5 rc3', 'PUBACK 0401 #6 rc3', 'WILLTOPICRESP rc3', 'WILLTOPICRESP'])
    expect(world.sent('q').at(-1)).toBe('CONNACK rc3')
    world.advance(20_000)
    expect(all.poll()).toEqual(['allowed= q0'])
  })

  test('complaint 29: nobody who may not connect is prompted for a will, or takes an address or a session', () => {
    const world = new TestGateway({
      users: { userOf: (_, route) => (route === 'r' ? { username: undefined } : undefined), qosM1User: () => undefined },
    })
    world.send('r', say.connect('s', { clean: false }))
    world.send('denied', say.connect('t', { will: true }), say.connect('s', { clean: false }), say.ping('s'))
    expect(world.sent('denied')).toEqual(['CONNACK rc3', 'CONNACK rc3', 'DISCONNECT'])
    expect([stateOf(world), world.gateway.client('s')?.route, world.gateway.clientCount]).toEqual(['active', 'r', 1])
  })

  test('complaint 30: DTLS ends in front; clients behind one address are told apart, each told why it is refused', () => {
    // A front gives each of its clients a port of its own on one address.
    const world = new TestGateway()
    for (const port of [1, 2, 3]) world.send(`127.0.0.1:${port}`, say.connect(`s${port}`), say.register('a'))
    for (const port of [1, 2, 3]) expect(world.sent(`127.0.0.1:${port}`)).toEqual(['CONNACK', 'REGACK 0401 #1'])
    world.send('127.0.0.1:4', say.connect('', {}))
    expect(world.sent('127.0.0.1:4')).toEqual(['CONNACK rc3'])
    const refused = world.notices.find(({ code }) => code === 'client-refused')
    expect([refused?.peer, refused?.reason]).toEqual(['127.0.0.1:4', 'no client id (ruling A22)'])
  })
})

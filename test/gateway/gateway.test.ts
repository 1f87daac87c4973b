import { describe, expect, test } from 'vitest'
import { encodedMessage } from '../../src/mqttsn/encode.ts'
import { wrap } from '../../src/mqttsn/forwarder.ts'
import { say, TestGateway } from './harness.ts'

const connected = (options = {}, connect = {}): TestGateway => {
  const world = new TestGateway(options)
  world.send('r', say.connect('s', connect))
  expect(world.sent('r')).toEqual(['CONNACK'])
  return world
}

describe('CONNECT [1.2 section 6.2]', () => {
  test('without a will', () => {
    connected()
  })

  test('prompts for the will, which fires when the client is lost', () => {
    const world = new TestGateway()
    const watcher = world.client('w')
    watcher.subscribe('gone', 1)
    watcher.poll()
    world.send('r', say.connect('s', { will: true, duration: 10 }))
    expect(world.sent('r')).toEqual(['WILLTOPICREQ'])
    world.send('r', say.willTopic('gone', 1))
    expect(world.sent('r')).toEqual(['WILLMSGREQ'])
    world.send('r', say.willMsg('bye'))
    expect(world.sent('r')).toEqual(['CONNACK'])
    world.advance(15_001)
    expect(watcher.poll()).toEqual(['gone=bye q1 #1'])
    world.advance(1e8)
    expect(watcher.poll()).toEqual([])
    expect(world.sent('r')).toEqual([])
  })

  test('prompts again when a prompt or an answer is lost, and bears duplicates (complaint 11)', () => {
    const world = new TestGateway()
    world.send('r', say.connect('s', { will: true }))
    world.advance(10_000)
    expect(world.sent('r')).toEqual(['WILLTOPICREQ', 'WILLTOPICREQ'])
    world.send('r', say.willMsg('too early'))
    world.send('r', say.willTopic('t'), say.willTopic('t'))
    expect(world.sent('r')).toEqual(['WILLMSGREQ', 'WILLMSGREQ'])
    world.advance(10_000)
    expect(world.sent('r')).toEqual(['WILLMSGREQ'])
    world.send('r', say.willMsg('m'), say.willMsg('m'))
    expect(world.sent('r')).toEqual(['CONNACK', 'CONNACK'])
    world.send('r', say.connect('s', { will: true }))
    expect(world.sent('r')).toEqual(['WILLTOPICREQ'])
  })

  test('gives up a dialogue that nobody answers', () => {
    const world = new TestGateway()
    world.send('r', say.connect('s', { will: true }))
    world.advance(200_000)
    expect(world.sent('r')).toEqual(['WILLTOPICREQ', 'WILLTOPICREQ', 'WILLTOPICREQ', 'WILLTOPICREQ'])
    expect(world.gateway.clientCount).toBe(0)
    expect(world.gateway.nextTimeout()).toBeUndefined()
  })

  test('an empty WILLTOPIC is no will', () => {
    const world = new TestGateway()
    world.send('r', say.connect('s', { will: true }), say.willTopic(undefined))
    expect(world.sent('r')).toEqual(['WILLTOPICREQ', 'CONNACK'])
  })

  test('is idempotent: a lost CONNACK costs nothing (ruling A9)', () => {
    const world = connected({}, { clean: false })
    world.send('r', say.register('a/b'))
    world.send('r', say.connect('s', { clean: false }))
    world.send('r', say.register('a/b', 2))
    expect(world.sent('r')).toEqual(['REGACK 0401 #1', 'CONNACK', 'REGACK 0401 #2'])
    expect(world.codes().filter((code) => code === 'client-connected')).toHaveLength(1)
  })

  test('is refused with 0x03 for another protocol, no name or a long one, with 0x01 when full (rulings A18, A22)', () => {
    const world = new TestGateway({ maxSessions: 1 })
    world.send('r', say.connect('s', { protocolId: 2 }), say.connect(''), say.connect('x'.repeat(65)))
    expect(world.sent('r')).toEqual(['CONNACK rc3', 'CONNACK rc3', 'CONNACK rc3'])
    world.send('r', say.connect('s'))
    world.send('q', say.connect('t'))
    expect(world.sent('q')).toEqual(['CONNACK rc1'])
    expect(world.codes()).toContain('limit-reached')
  })

  test('section 6.3: clean session 0 without a will keeps the will it had', () => {
    const world = new TestGateway()
    const watcher = world.client('w')
    watcher.subscribe('gone')
    watcher.poll()
    world.send('r', say.connect('s', { will: true, clean: false }), say.willTopic('gone'), say.willMsg('bye'))
    world.send('r', say.disconnect())
    expect(watcher.poll()).toEqual([])
    world.send('r', say.connect('s', { clean: false, duration: 10 }))
    world.advance(20_000)
    expect(watcher.poll()).toEqual(['gone=bye q0'])
  })
})

describe('topics [1.2 sections 6.5, 6.7]', () => {
  test('an id is stable per name, above 0x0400, and lives until a clean session (rulings A10, A11, complaint 17)', () => {
    const world = connected({}, { clean: false })
    world.send('r', say.register('a', 1), say.register('b', 2), say.register('a', 3), say.subscribe('b', 1, 4))
    expect(world.sent('r')).toEqual(['REGACK 0401 #1', 'REGACK 0402 #2', 'REGACK 0401 #3', 'SUBACK 0402 #4 q1'])
    world.send('r', say.disconnect(), say.connect('s', { clean: false }), say.register('b', 5))
    expect(world.sent('r')).toEqual(['DISCONNECT', 'CONNACK', 'REGACK 0402 #5'])
    world.send('r', say.connect('s', { clean: true }), say.register('c', 6))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGACK 0401 #6'])
  })

  test('wildcards cannot be registered, and ids run out with 0x03 (ruling A27)', () => {
    const world = connected({ topicsPerClient: 1 })
    world.send('r', say.register('a/#'), say.register('a', 2), say.register('b', 3), say.subscribe('c', 0, 4))
    expect(world.sent('r')).toEqual(['REGACK 0000 #1 rc3', 'REGACK 0401 #2', 'REGACK 0000 #3 rc3', 'SUBACK 0000 #4 q0 rc3'])
  })

  test('normal, predefined and short ids are spaces of their own', () => {
    const world = connected()
    const watcher = world.client('w')
    watcher.subscribe('#', 0)
    watcher.poll()
    world.send('r', say.register('n'))
    world.send('r', say.publish(0x401, '1'), say.publish(1, '2', 0, 0, 'predefined'), say.publish(0x6162, '3', 0, 0, 'short'))
    expect(watcher.poll()).toEqual(['n=1 q0', 'predefined/one=2 q0', 'ab=3 q0'])
    expect(world.sent('r')).toEqual(['REGACK 0401 #1'])
    world.send('r', say.publish(1, 'x', 1, 5), say.publish(0x401, 'x', 0, 0, 'predefined'))
    expect(world.sent('r')).toEqual(['PUBACK 0001 #5 rc2', 'PUBACK 0401 rc2'])
    expect(watcher.poll()).toEqual([])
  })
})

describe('PUBLISH from the client', () => {
  test('QoS 0, 1 and 2; PUBACK repeats the topic id (complaint 18)', () => {
    const world = connected()
    const watcher = world.client('w')
    watcher.subscribe('a', 2)
    watcher.poll()
    world.send('r', say.register('a'), say.publish(0x401, '0'), say.publish(0x401, '1', 1, 2), say.publish(0x401, '2', 2, 3))
    expect(world.sent('r')).toEqual(['REGACK 0401 #1', 'PUBACK 0401 #2', 'PUBREC #3'])
    world.send('r', say.pubrel(3), say.pubrel(3))
    expect(world.sent('r')).toEqual(['PUBCOMP #3', 'PUBCOMP #3'])
    expect(watcher.poll()).toEqual(['a=0 q0', 'a=1 q1 #1', 'a=2 q2 #2'])
  })

  test('QoS 2 is delivered once, even when a copy of PUBLISH comes after PUBREL (ruling A17)', () => {
    const world = connected()
    const watcher = world.client('w')
    watcher.subscribe('a', 0)
    watcher.poll()
    world.send('r', say.register('a'))
    const publish = say.publish(0x401, 'x', 2, 3)
    world.send('r', publish, { ...publish, dup: true }, say.pubrel(3), publish, say.pubrel(3))
    expect(watcher.poll()).toEqual(['a=x q0'])
    world.send('r', say.publish(0x401, 'y', 2, 3), say.pubrel(3))
    expect(watcher.poll()).toEqual(['a=y q0'])
    world.advance(60_000)
    world.send('r', publish)
    expect(watcher.poll()).toEqual(['a=x q0'])
  })

  test('QoS above 0 without a message id is refused', () => {
    const world = connected()
    world.send('r', say.register('a'), say.publish(0x401, 'x', 1, 0))
    expect(world.sent('r')).toEqual(['REGACK 0401 #1', 'PUBACK 0401 rc3'])
  })

  test('QoS -1 needs no connection, is never answered, and works again and again (complaints 22, 23)', () => {
    const world = new TestGateway()
    const watcher = world.client('w')
    watcher.subscribe('#')
    watcher.poll()
    world.send(
      'x',
      say.publish(1, 'a', -1, 0, 'predefined'),
      say.publish(0x6162, 'b', -1, 0, 'short'),
      say.publish(1, 'c', -1, 0, 'predefined'),
    )
    world.send('x', say.publish(9, 'unknown', -1, 0, 'predefined'), say.publish(0x401, 'normal', -1))
    expect(watcher.poll()).toEqual(['predefined/one=a q0', 'ab=b q0', 'predefined/one=c q0'])
    expect(world.sent('x')).toEqual([])
  })
})

describe('SUBSCRIBE and what it brings', () => {
  test('a name gets its id, short and predefined ids are repeated, wildcards have none (rulings A12, A13)', () => {
    const world = connected()
    world.send(
      'r',
      say.subscribe('a', 2, 1),
      say.subscribe('a/#', 1, 2),
      say.subscribeId('short', 0x6162, 0, 3),
      say.subscribeId('predefined', 1, 1, 4),
    )
    world.send('r', say.subscribeId('predefined', 99, 1, 5), say.subscribe('a#', 1, 6), say.subscribe('a', -1, 7))
    expect(world.sent('r')).toEqual([
      'SUBACK 0401 #1 q2',
      'SUBACK 0000 #2 q1',
      'SUBACK 6162 #3 q0',
      'SUBACK 0001 #4 q1',
      'SUBACK 0000 #5 q0 rc2',
      'SUBACK 0000 #6 q0 rc3',
      'SUBACK 0000 #7 q0 rc3',
    ])
    world.publish('predefined/one', 'p', 0)
    world.publish('ab', 's', 0)
    world.publish('a', 'n', 0)
    expect(world.sent('r')).toEqual(['PUBLISH predefined:0001=p q0', 'PUBLISH short:6162=s q0', 'PUBLISH 0401=n q0'])
  })

  test('wildcard: SUBACK first, then REGISTER, and PUBLISH after REGACK, in order (complaint 5, ruling A29)', () => {
    const world = connected()
    world.client('p').publish('t/r', 'retained', 1, 1, { retain: true })
    world.send('r', say.subscribe('t/#'))
    expect(world.sent('r')).toEqual(['SUBACK 0000 #9 q1', 'REGISTER 0401=t/r #2'])
    world.publish('t/x', 'second')
    expect(world.sent('r')).toEqual([])
    world.send('r', say.regack(0x401, 77), say.regack(0x401, 2))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=retained #1 q1 retain'])
    world.send('r', say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['REGISTER 0402=t/x #3'])
    world.send('r', say.regack(0x402, 3))
    expect(world.sent('r')).toEqual(['PUBLISH 0402=second #2 q1'])
    world.send('r', say.puback(0x402, 2))
    world.publish('t/x', 'third', 0)
    expect(world.sent('r')).toEqual(['PUBLISH 0402=third q0'])
  })

  test('one message in flight; QoS 2 to its end (window of one)', () => {
    const world = connected({}, { duration: 0 })
    world.send('r', say.subscribe('a', 2))
    world.publish('a', 'one', 2)
    world.publish('a', 'two', 1)
    world.publish('a', 'zero', 0)
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q2', 'PUBLISH 0401=one #1 q2'])
    world.send('r', say.pubrec(1), say.pubrec(1))
    expect(world.sent('r')).toEqual(['PUBREL #1'])
    world.advance(10_000)
    expect(world.sent('r')).toEqual(['PUBREL #1'])
    world.send('r', say.pubcomp(1))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=two #2 q1'])
    world.send('r', say.puback(0x401, 2))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=zero q0'])
  })

  test('a client that does not know the id is told again, and gets its message', () => {
    const world = connected()
    world.send('r', say.subscribe('a'))
    world.publish('a', 'x')
    world.sent('r')
    world.send('r', say.puback(0x401, 1, 2))
    expect(world.sent('r')).toEqual(['REGISTER 0401=a #2'])
    world.send('r', say.regack(0x401, 2))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1'])
    world.send('r', say.puback(0x401, 1, 2))
    expect(world.codes()).toContain('message-dropped')
  })

  test('REGACK that refuses: the message is given up, told, and the next one comes', () => {
    const world = connected()
    world.send('r', say.subscribe('t/#'))
    world.publish('t/1', 'x')
    world.publish('t/2', 'y')
    world.send('r', say.regack(0x401, 2, 3))
    expect(world.sent('r')).toEqual(['SUBACK 0000 #9 q1', 'REGISTER 0401=t/1 #2', 'REGISTER 0402=t/2 #3'])
    expect(world.codes()).toContain('message-dropped')
  })

  test('is sent again by T_retry with DUP, N_retry times; then the client is lost and its message waits (ruling A28)', () => {
    const world = connected({}, { clean: false, duration: 0 })
    world.send('r', say.subscribe('a'))
    world.publish('a', 'x')
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1', 'PUBLISH 0401=x #1 q1'])
    world.advance(9_999)
    expect(world.sent('r')).toEqual([])
    world.advance(30_001)
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1 dup', 'PUBLISH 0401=x #1 q1 dup', 'PUBLISH 0401=x #1 q1 dup'])
    expect(world.gateway.client('s')?.state).toBe('lost')
    expect(world.codes()).toContain('retries-exhausted')
    world.advance(1e7)
    expect(world.sent('r')).toEqual([])
    world.send('r', say.connect('s', { clean: false }))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0401=a #2'])
    world.send('r', say.regack(0x401, 2))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1 dup'])
  })

  test('a message that does not fit a datagram is given up and told', () => {
    const world = connected({ maxDatagram: 60 })
    world.send('r', say.subscribe('a'))
    world.publish('a', 'x'.repeat(60))
    world.publish('a', 'fits')
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1', 'PUBLISH 0401=fits #2 q1'])
    expect(world.codes()).toContain('message-dropped')
  })

  test('UNSUBSCRIBE', () => {
    const world = connected()
    world.send('r', say.subscribe('a'), say.unsubscribe('a', 10), say.unsubscribe('a', 11))
    world.publish('a', 'x')
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1', 'UNSUBACK #10', 'UNSUBACK #11'])
  })
})

describe('who is where', () => {
  test('a stranger is told to connect, but not in answer to what would go round for ever (ruling A8)', () => {
    const world = new TestGateway({ unknownSenderPerSecond: 3 })
    for (const [route, message] of [
      ['x', say.ping()],
      ['y', say.publish(1, 'a', 1, 1)],
      ['z', say.subscribe('a')],
    ] as const) {
      world.send(route, message, message)
      expect(world.sent(route)).toEqual(['DISCONNECT'])
    }
    world.send('w', say.ping())
    expect(world.sent('w')).toEqual([])
    world.advance(1000)
    world.send(
      'x',
      say.disconnect(),
      { type: 0x17 },
      { type: 0x00, gwId: 1, duration: 1 },
      say.publish(1, 'a', -1, 0, 'predefined'),
    )
    world.sendBytes('x', Buffer.from('0400', 'hex'))
    expect(world.sent('x')).toEqual([])
    world.send('x', say.ping('nobody'))
    expect(world.sent('x')).toEqual(['DISCONNECT'])
  })

  test('a sleeper wakes at another address; an active client cannot be taken over by a PINGREQ (ruling A7)', () => {
    const world = connected()
    world.send('r', say.subscribe('a'))
    world.sent('r')
    world.send('thief', say.ping('s'))
    expect(world.sent('thief')).toEqual(['DISCONNECT'])
    world.send('r', say.disconnect(60))
    world.publish('a', 'x')
    world.sent('r')
    world.send('new', say.ping('s'))
    expect(world.sent('new')).toEqual(['PUBLISH 0401=x #1 q1'])
    world.send('new', say.puback(0x401, 1))
    expect(world.sent('new')).toEqual(['PINGRESP'])
    expect(world.sent('r')).toEqual([])
  })

  test('one address changes hands with CONNECT (complaint 21)', () => {
    const world = connected()
    world.send('r', say.subscribe('a'))
    world.send('r', say.connect('t'))
    expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q1', 'CONNACK'])
    expect(world.gateway.client('s')?.state).toBe('active')
    world.send('r', say.register('b'))
    expect(world.sent('r')).toEqual(['REGACK 0401 #1'])
    expect(world.gateway.client('t')?.registry.nameOf(0x401)).toBe('b')
  })

  test('nodes behind a forwarder are clients of their own, and are answered through it', () => {
    const world = new TestGateway()
    for (const node of [1, 2]) {
      world.gateway.handleDatagram(0, 'fw', wrap(Uint8Array.of(node), encodedMessage(say.connect(`s${node}`))))
    }
    for (let link = world.broker.nextReadyLink(); link !== undefined; link = world.broker.nextReadyLink())
      world.gateway.linkReady(0, link)
    const answers = [world.gateway.poll(0), world.gateway.poll(0)]
    expect(answers.map((answer) => `${answer?.route} ${Buffer.from(answer!.bytes).toString('hex')}`)).toEqual([
      'fw 04fe0001030500',
      'fw 04fe0002030500',
    ])
  })

  test('SEARCHGW is answered with GWINFO', () => {
    const world = new TestGateway()
    world.send('x', { type: 0x01, radius: 0 })
    expect(world.messages('x')).toEqual([{ type: 0x02, gwId: 7, gwAddr: undefined }])
  })

  test('malformed datagrams are counted and never answered', () => {
    const world = new TestGateway()
    for (const hex of ['', '00', '01', '0101', '02', '0218ff', '0304', '05fe0001', '04fe000104fe0001', 'ff'.repeat(20)]) {
      world.sendBytes('x', Buffer.from(hex, 'hex'))
    }
    expect(world.sent('x')).toEqual([])
    expect(world.codes()).toEqual(Array.from({ length: 10 }, () => 'malformed-datagram'))
  })
})

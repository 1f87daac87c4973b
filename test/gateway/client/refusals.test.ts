import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { OPEN_ACCESS } from '../../../src/broker/access.ts'
import type { PortSettings } from '../../../src/gateway/ports/port-settings.ts'
import { type Lsn, MemoryStore, type StoreRecord } from '../../../src/store/store.ts'
import { say, TestGateway } from '../harness.ts'

/** A connected client `s` at `r`, whose session lasts, subscribed to `a` and to `t/#` with QoS 1. */
const connected = (options = {}): TestGateway => {
  const world = new TestGateway(options)
  world.send('r', say.connect('s', { clean: false, duration: 0 }), say.subscribe('a', 1, 8), say.subscribe('t/#'))
  expect(world.sent('r')).toEqual(['CONNACK', 'SUBACK 0401 #8 q1', 'SUBACK 0000 #9 q1'])
  return world
}

describe('congestion that the client tells [1.2 sections 6.5, 6.6]', () => {
  test.each([
    ['REGACK', 't/x', say.regack(0x402, 2, 1), ['REGISTER 0402=t/x #2'], ['REGISTER 0402=t/x #3']],
    ['PUBACK', 'a', say.puback(0x401, 1, 1), ['PUBLISH 0401=x #1 q1'], ['PUBLISH 0401=x #1 q1 dup']],
  ] as const)(
    'after %s with 0x01 it is left alone for T_WAIT, and then sent the same again',
    (_, topic, answer, first, again) => {
      const world = connected()
      world.publish(topic, 'x')
      expect(world.sent('r')).toEqual(first)
      world.send('r', answer)
      world.publish('a', 'behind it')
      world.advance(299_999)
      expect(world.sent('r')).toEqual([])
      world.advance(1)
      expect(world.sent('r')).toEqual(again)
      expect(world.codes()).not.toContain('message-dropped')
    },
  )

  test('an acknowledgement that comes late ends the rest', () => {
    const world = connected()
    world.publish('a', 'x')
    world.publish('a', 'y')
    world.send('r', say.puback(0x401, 1, 1), say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1', 'PUBLISH 0401=y #2 q1'])
  })

  test('an acknowledgement of another message does not end it for what has not left yet, and nothing goes before that', () => {
    const airtime = { bytesPerSecond: 50, dutyCycle: 1 }
    const retry = { tRetryMs: 10_000, nRetry: 3, backoff: 1, jitter: 0 }
    const ports: PortSettings[] = [{ name: 'sn', maxFrame: 100, retry, airtime, maxQueued: 10 }]
    for (const answers of [[], [say.puback(0x401, 1, 2)]]) {
      const world = new TestGateway({ inflightMessages: 3, ports })
      world.send('r', say.connect('s', { clean: false, duration: 0 }), say.subscribe('a', 1, 8))
      world.advance(10_000)
      expect(world.sent('r')).toEqual(['CONNACK', 'SUBACK 0401 #8 q1'])
      for (const text of ['1', '2', '3', '4']) world.publish('a', text)
      world.advance(200)
      expect(world.sent('r')).toEqual(['PUBLISH 0401=1 #1 q1', 'PUBLISH 0401=2 #2 q1'])
      world.send('r', say.puback(0x401, 1, 1), say.puback(0x401, 2), ...answers)
      world.advance(299_999)
      expect(world.sent('r')).toEqual([])
      const got: string[] = []
      for (let i = 0; i < 20; i++) {
        world.advance(1000)
        for (const line of world.sent('r')) {
          const [, kind, payload, id] = /^(REGISTER|PUBLISH) 0401=(\S+) #(\d+)/.exec(line)!
          if (kind === 'PUBLISH') got.push(payload!)
          world.send('r', kind === 'REGISTER' ? say.regack(0x401, Number(id)) : say.puback(0x401, Number(id)))
        }
      }
      expect(got).toEqual(['1', '3', '4'])
    }
  })

  test('in an awake period PINGRESP ends it, and the message waits for the next', () => {
    const world = connected()
    world.send('r', say.disconnect(600))
    world.publish('a', 'x')
    world.sent('r')
    world.send('r', say.ping('s'), say.puback(0x401, 1, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1', 'PINGRESP'])
    world.advance(500_000)
    expect(world.sent('r')).toEqual([])
    world.send('r', say.ping('s'), say.puback(0x401, 1))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1 dup', 'PINGRESP'])
  })
})

describe('what the client does not want [1.2 section 6.10]', () => {
  test('REGACK that refuses unsubscribes from that name, and it is not asked again in this connection', () => {
    const world = connected()
    world.publish('t/x', '1')
    world.send('r', say.regack(0x402, 2, 3))
    world.publish('t/x', '2')
    world.publish('t/y', '3')
    expect(world.sent('r')).toEqual(['REGISTER 0402=t/x #2', 'REGISTER 0403=t/y #4'])
    expect(world.notices.filter(({ code }) => code === 'message-dropped')).toHaveLength(2)
    // Until it wants it.
    world.send('r', say.regack(0x403, 4), say.puback(0x403, 3), say.register('t/x', 5))
    world.sent('r')
    world.publish('t/x', '4')
    expect(world.sent('r')).toEqual(['PUBLISH 0402=4 #4 q1'])
  })

  test('an exact subscription is ended at the broker, without an UNSUBACK that nobody asked for', () => {
    const world = connected()
    world.send('r', say.connect('s', { clean: false }))
    world.publish('a', 'x')
    world.send('r', say.regack(0x401, 1, 3), say.regack(0x401, 2, 3))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0401=a #2'])
    expect(world.broker.sessions.get('sn', 's')?.subscriptions?.has('a')).toBe(false)
    world.publish('a', 'y')
    expect(world.sent('r')).toEqual([])
  })

  test('a predefined id that it does not know, told for QoS 0, is a normal one from then on', () => {
    const world = connected()
    world.send('r', say.subscribe('predefined/+', 0))
    world.sent('r')
    world.publish('predefined/one', 'x', 0)
    world.send('r', say.puback(1, 0, 2))
    world.publish('predefined/one', 'y', 0)
    expect(world.sent('r')).toEqual(['PUBLISH predefined:0001=x q0', 'REGISTER 0402=predefined/one #1'])
  })

  test('a normal id that it does not know, told for QoS 0, is registered again before the next message', () => {
    const world = connected()
    world.publish('a', 'x', 0)
    world.send('r', say.puback(0x401, 0, 2))
    world.publish('a', 'y', 0)
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x q0', 'REGISTER 0401=a #1'])
  })
})

test('a message whose topic id the store cannot record waits for it, and is not given up', () => {
  const store = new DelayedStore()
  const world = new TestGateway({}, store)
  for (const message of [say.connect('s', { clean: false, duration: 0 }), say.subscribe('t/#')]) {
    world.send('r', message)
    world.settle()
  }
  world.sent('r')
  world.client('p').publish('t/x', 'x', 1)
  store.refuse = true
  world.settle()
  expect(world.sent('r')).toEqual([])
  world.advance(20_000)
  expect(world.sent('r')).toEqual([])
  store.refuse = false
  world.advance(10_000)
  world.settle()
  expect(world.sent('r')).toEqual(['REGISTER 0401=t/x #2'])
  expect(world.codes()).not.toContain('message-dropped')
})

test('a will update that the store took only in part changes nothing', () => {
  class FullForSensors extends MemoryStore {
    override readonly isMemory = false
    full = false
    override append(record: StoreRecord): Lsn {
      return this.full && record.type === 'sn-client' ? ('full' as never) : super.append(record)
    }
  }
  const store = new FullForSensors()
  const world = new TestGateway({}, store)
  const gone = world.client('watcher')
  gone.subscribe('gone')
  gone.poll()
  world.send('r', say.connect('s', { clean: false, will: true, duration: 10 }), say.willTopic('gone'), say.willMsg('bye'))
  world.sent('r')
  store.full = true
  world.send('r', say.willMsgUpdate('new'), say.willTopicUpdate(undefined))
  expect(world.sent('r')).toEqual(['WILLMSGRESP rc1', 'WILLTOPICRESP rc1'])
  world.advance(20_000)
  expect(gone.poll()).toEqual(['gone=bye q0'])
})

test('the clock of a client that was refused does not forget the one that comes after it', () => {
  class FullAtFirst extends MemoryStore {
    override readonly isMemory = false
    full = true
    override append(record: StoreRecord): Lsn {
      return this.full ? ('full' as never) : super.append(record)
    }
  }
  const store = new FullAtFirst()
  const world = new TestGateway({}, store)
  world.send('r', say.connect('s'))
  expect(world.sent('r')).toEqual(['CONNACK rc1'])
  store.full = false
  world.send('r', say.connect('s'))
  expect(world.sent('r')).toEqual(['CONNACK'])
  world.advance(50_000)
  expect(world.gateway.client('s')?.state).toBe('active')
  expect(world.gateway.clientCount).toBe(1)
})

describe('what the broker does not do', () => {
  test('nothing is retained: a retained PUBLISH is refused, and the session stays', () => {
    const world = new TestGateway({}, undefined, { limits: { retainAvailable: false } })
    world.send('r', say.connect('s'), say.register('a'), { ...say.publish(0x401, 'x', 1, 5), retain: true } as never)
    world.send('r', { ...say.publish(0x401, 'x'), retain: true } as never, say.publish(0x401, 'x', 1, 6))
    expect(world.sent('r')).toEqual(['CONNACK', 'REGACK 0401 #1', 'PUBACK 0401 #5 rc3', 'PUBACK 0401 rc3', 'PUBACK 0401 #6'])
    const retained = { ...say.publish(1, 'x', -1, 0, 'predefined'), retain: true }
    world.send('x', say.publish(1, 'y', -1, 0, 'predefined'), retained, say.publish(1, 'z', -1, 0, 'predefined'))
    expect(world.codes().filter((code) => code === 'publish-refused')).toHaveLength(1)
    expect(world.codes()).not.toContain('protocol-error')
  })

  test('a CONNECT that it refuses ends the conversation before it too, and no will fires', () => {
    let allowed = true
    const world = new TestGateway({}, undefined, { access: { ...OPEN_ACCESS, publish: () => allowed } })
    const gone = world.client('watcher')
    gone.subscribe('gone')
    gone.poll()
    const dialogue = [say.connect('s', { clean: false, will: true }), say.willTopic('gone'), say.willMsg('bye')]
    world.send('r', ...dialogue)
    allowed = false
    world.send('r', ...dialogue)
    expect(world.sent('r').at(-1)).toBe('CONNACK rc3')
    expect([world.broker.sessions.get('sn', 's')?.link, world.broker.linkCount]).toEqual([undefined, 1])
    expect(gone.poll()).toEqual([])
    world.send('r', say.ping())
    expect(world.sent('r')).toEqual(['DISCONNECT'])
  })

  test('a QoS 2 message that the rules withdraw before its PUBREC ends with PUBCOMP, and what follows comes', () => {
    let allowed = true
    const read = (_who: unknown, topic: string): boolean => allowed || topic !== 'a'
    const world = new TestGateway({}, undefined, { access: { ...OPEN_ACCESS, readsAll: () => false, read } })
    world.send('r', say.connect('s', { clean: false }), say.subscribe('a', 2), say.subscribe('b', 2))
    world.publish('a', 'x', 2)
    world.publish('b', 'y', 2)
    world.sent('r')
    allowed = false
    world.broker.accessChanged(world.now)
    world.send('r', say.pubrec(1))
    expect(world.sent('r')).toEqual(['PUBREL #1'])
    world.send('r', say.pubcomp(1))
    expect(world.sent('r')).toEqual(['PUBLISH 0402=y #2 q2'])
  })

  test('a queue has a bound of its own for sensors (queue_limit), and what does not fit is told', () => {
    const world = new TestGateway({}, undefined, { limits: { queueLimit: 3 } })
    world.send('r', say.connect('s', { clean: false }), say.subscribe('a'), say.disconnect(600))
    world.sent('r')
    for (let i = 1; i <= 5; i++) world.publish('a', `${i}`)
    expect(world.notices.filter(({ limit }) => limit === 'queue_limit')).toHaveLength(2)
    world.send('r', say.ping('s'), say.puback(0x401, 1), say.puback(0x401, 2), say.puback(0x401, 3))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=1 #1 q1', 'PUBLISH 0401=2 #2 q1', 'PUBLISH 0401=3 #3 q1', 'PINGRESP'])
  })
})

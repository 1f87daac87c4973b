import { describe, expect, test } from 'vitest'
import { PacketType } from '../../../src/mqtt/packets.ts'
import { NO_PROPERTIES } from '../../../src/mqtt/properties.ts'
import { ReasonCode } from '../../../src/mqtt/reason-codes.ts'
import { type Message, MsgType } from '../../../src/mqttsn/messages.ts'
import { say } from '../../gateway/harness.ts'
import { response } from '../pair.ts'
import { ScriptedFar } from '../scripted-far.ts'
import { SENSORS } from './options.ts'
import { connected, R, SensorWorld } from './sensor-world.ts'

const FAR = 'mqtt://far:1883'
const V4 = { targets: { ...SENSORS.targets, version: 4 as const } }

const UNSUBSCRIBE = { dup: false, qos: 0, msgId: 10, topicIdType: 'normal', topicId: 0, topicName: 'down/#' } as const

const takeover = {
  type: PacketType.DISCONNECT,
  reasonCode: ReasonCode.SESSION_TAKEN_OVER,
  properties: NO_PROPERTIES,
} as const

/** Topics and payloads that the far side has got. */
const published = (far: ScriptedFar): string[] =>
  far.got.flatMap((packet) =>
    packet.type === PacketType.PUBLISH ? `${packet.topic}=${Buffer.from(packet.payload).toString()} q${packet.qos}` : [],
  )

describe('CONNECT', () => {
  test('CONNACK waits for that of the cluster', () => {
    const world = new SensorWorld()
    const far = new ScriptedFar(world)
    far.script = (packet) => (packet.type === PacketType.CONNECT ? undefined : 'usual')
    world.send(R, say.connect('valve'), say.connect('valve'))
    expect(world.sent()).toEqual([])
    far.send(far.accept(0))
    world.run()
    expect(world.sent()).toEqual(['CONNACK'])
    expect(world.dialled).toHaveLength(1)
  })

  test('client id, user and password by pattern; a session that lasts, whatever the sensor wants', () => {
    const patterns = { clientId: 'site/%c', username: 'g%g', password: 'p-%c' }
    const { far } = connected(patterns, { clean: true })
    const { clientId, username, password, cleanStart, keepAlive, properties } = far.stream.connect!
    expect([clientId, username, Buffer.from(password!).toString()]).toEqual(['site/valve', 'g7', 'p-valve'])
    expect([cleanStart, keepAlive, properties.sessionExpiryInterval]).toEqual([true, 900, 86_400])
  })

  test('before 5.0 a clean session is made clean first, and then lasts through its streams', () => {
    const { world, far } = connected(V4, { clean: true })
    expect(far.streams.map(({ connect }) => connect?.cleanStart)).toEqual([true, false])
    world.send(R, say.disconnect())
    expect(world.sent()).toEqual(['DISCONNECT'])
    world.advance(5_000)
    expect(far.streams.map(({ connect }) => connect?.cleanStart)).toEqual([true, false, true])
    expect(world.streams.size).toBe(0)
  })

  test('a clean session ends with DISCONNECT of the sensor', () => {
    const { world, far } = connected({}, { clean: true })
    world.send(R, say.disconnect())
    expect(far.got.at(-1)).toMatchObject({ type: PacketType.DISCONNECT, properties: { sessionExpiryInterval: 0 } })
    expect(world.server.upstream!.links.size).toBe(0)
  })

  test('wrong credentials: not supported, and said once for all sensors', () => {
    const world = new SensorWorld()
    const far = new ScriptedFar(world)
    far.script = (packet) => (packet.type === PacketType.CONNECT ? far.accept(ReasonCode.BAD_USER_NAME_OR_PASSWORD) : 'usual')
    for (const [i, id] of ['a', 'b', 'c'].entries()) {
      world.send(`10.0.0.${i}:1`, say.connect(id))
      expect(world.sent(`10.0.0.${i}:1`)).toEqual(['CONNACK rc3'])
    }
    expect(world.notices.filter(({ code }) => code === 'upstream-refused')).toHaveLength(1)
    expect(world.server.upstream!.links.size).toBe(0)
  })

  test('the cluster takes no more sessions: congestion', () => {
    const world = new SensorWorld()
    const far = new ScriptedFar(world)
    far.script = (packet) => (packet.type === PacketType.CONNECT ? far.accept(ReasonCode.QUOTA_EXCEEDED) : 'usual')
    world.send(R, say.connect('valve'))
    expect(world.sent()).toEqual(['CONNACK rc1'])
  })

  test.each([5, 4] as const)(
    'what is refused while it takes no sessions is refused by the cluster, not by the broker: version %i',
    (version) => {
      const { world, far } = connected({ targets: { ...SENSORS.targets, version } })
      world.send(R, say.register('up/a', 1))
      far.script = (packet) => (packet.type === PacketType.CONNECT ? far.accept(ReasonCode.QUOTA_EXCEEDED) : 'usual')
      far.close()
      world.advance(10_000)
      world.sent()
      world.notices.length = 0
      world.send(R, say.publish(0x401, 'x', 1, 2), say.subscribe('down/#'), { type: MsgType.UNSUBSCRIBE, ...UNSUBSCRIBE })
      world.send('10.0.0.9:1', { ...say.publish(1, 'x'), qos: -1, topicIdType: 'predefined', retain: true })
      expect(world.sent()).toEqual(['PUBACK 0401 #2 rc1', 'SUBACK 0000 #9 q0 rc1'])
      const texts = world.codes()
      expect(texts.filter((text) => text.includes('while the cluster takes no more'))).toHaveLength(3)
      expect(texts.join('\n')).not.toContain('broker')
    },
  )

  test('nor do requests wait for the broker', () => {
    const { world, far } = connected()
    far.script = () => undefined
    for (let msgId = 1; msgId < 60; msgId++) world.send(R, { ...say.subscribe(`down/${msgId}`, 1), msgId } as Message)
    const texts = world.codes().join('\n')
    expect(texts).toContain('SUBSCRIBEs wait for the cluster')
    expect(texts).not.toContain('broker')
  })
})

describe('the cluster is away', () => {
  test('congestion for who is awake, nobody is dropped, and everything goes on when it is back; one notice each', () => {
    const { world, far } = connected()
    const S = '10.0.0.2:1'
    world.send(S, say.connect('sleeper', { clean: false }), say.disconnect(6000))
    world.send(R, say.register('up', 7))
    world.sent()
    world.sent(S)
    far.away.add(FAR)
    world.breakAll()
    world.send(R, say.publish(0x401, 'one', 1, 5), say.subscribe('down'))
    expect(world.sent()).toEqual(['PUBACK 0401 #5 rc1', 'SUBACK 0000 #9 q0 rc1'])
    // A sensor that nobody knows is told at last when the time for its CONNECT is over.
    world.send('10.0.0.3:1', say.connect('new'))
    world.advance(20_000)
    expect(world.sent('10.0.0.3:1')).toEqual(['CONNACK rc1'])
    world.send('10.0.0.3:1', say.connect('new'))
    expect(world.sent('10.0.0.3:1')).toEqual(['CONNACK rc1'])
    for (let hour = 0; hour < 60; hour++) {
      world.advance(60_000)
      world.send(R, say.ping())
    }
    expect(new Set(world.sent())).toEqual(new Set(['PINGRESP']))
    // A sleeper goes back to sleep at once.
    world.send(S, say.ping('sleeper'))
    expect(world.sent(S)).toEqual(['PINGRESP'])
    far.away.clear()
    world.advance(60_000)
    world.send(R, say.publish(0x401, 'one', 1, 5), say.subscribe('down'))
    expect(world.sent()).toEqual(['PUBACK 0401 #5', 'SUBACK 0402 #9 q1'])
    world.send(S, say.ping('sleeper'))
    world.advance(1_000)
    expect(world.sent(S)).toEqual(['PINGRESP'])
    expect(world.notices.filter(({ code }) => code === 'upstream-down')).toHaveLength(1)
    expect(world.notices.filter(({ code }) => code === 'upstream-up')).toHaveLength(2)
  })
})

describe('another gateway', () => {
  test('5.0: the session is taken over: the sensor is let go of, without a will and without another dial', () => {
    const { world, far } = connected({}, { will: true })
    far.send(takeover)
    far.close()
    expect(world.sent()).toEqual(['DISCONNECT'])
    world.advance(300_000)
    expect(world.dialled).toHaveLength(1)
    expect(published(far)).toEqual([])
    expect(world.server.upstream!.links.size).toBe(0)
    world.send(R, say.connect('valve', { clean: false }))
    expect(world.sent()).toEqual(['CONNACK'])
  })

  test('3.1.1: a stream that is closed three times within ten seconds counts as taken over', () => {
    const { world, far } = connected(V4, { will: true })
    far.sessionPresent = true
    for (let i = 0; i < 3; i++) {
      expect(world.sent()).toEqual([])
      far.close()
      if (i < 2) world.advance(9_000)
    }
    expect(world.sent()).toEqual(['DISCONNECT'])
    world.advance(300_000)
    expect(world.dialled).toHaveLength(3)
    expect(published(far)).toEqual([])
  })

  test('3.1.1: one that is awake, in the middle of an exchange, is not taken for a sleeper', () => {
    const { world, far } = connected(V4)
    far.sessionPresent = true
    world.send(R, say.subscribe('down', 2))
    far.script = (packet) => (packet.type === PacketType.PUBREC ? undefined : 'usual')
    far.publish('down', 'two', 2, 5)
    world.send(R, say.pubrec(5))
    world.sent()
    far.close()
    world.advance(5_000)
    expect(world.dialled).toHaveLength(2)
    far.script = () => 'usual'
    far.publish('down', 'two', 2, 5, undefined, true)
    expect(world.sent()).toEqual(['PUBREL #5'])
    world.send(R, say.pubcomp(5))
    far.publish('down', 'three', 1, 6)
    expect(world.sent()).toHaveLength(1)
  })

  test('a sleeper is left to it at the first close, and its will too', () => {
    const { world, far } = connected(V4, { will: true })
    world.send(R, say.disconnect(60))
    world.sent()
    far.close()
    world.advance(55_000)
    expect(world.dialled).toHaveLength(1)
    world.send(R, say.ping('valve'))
    expect(world.dialled).toHaveLength(2)
  })

  test('a sleeper that comes back from it: CONNACK waits for the cluster, so that what it publishes next is not refused', () => {
    const { world, far } = connected(V4)
    world.send(R, say.register('up', 7), say.disconnect(60))
    world.sent()
    far.close()
    world.advance(30_000)
    far.script = (packet) => (packet.type === PacketType.CONNECT ? undefined : 'usual')
    world.send(R, say.connect('valve', { clean: false }))
    expect(world.sent()).toEqual([])
    far.send(far.accept(0))
    world.run()
    expect(world.sent()).toEqual(['CONNACK'])
    world.send(R, say.publish(0x401, 'one', 1, 5))
    expect(world.sent()).toEqual(['PUBACK 0401 #5'])
    far.script = () => undefined
    world.send(R, say.disconnect(60))
    far.close()
    world.send(R, say.connect('valve', { clean: false }))
    world.advance(20_000)
    expect(world.sent()).toEqual(['DISCONNECT', 'CONNACK rc1'])
  })

  test('a sleeper whose will the cluster would publish is dialled again once, and not when it is taken at once', () => {
    const { world, far } = connected({}, { will: true })
    world.send(R, say.disconnect(600))
    world.advance(20_000)
    far.close()
    world.advance(5_000)
    expect(world.dialled).toHaveLength(2)
    far.close()
    world.advance(60_000)
    expect(world.dialled).toHaveLength(2)
  })
})

describe('wills', () => {
  test('5.0: the cluster has it, with a delay, and publishes it when the sensor is lost', () => {
    const { world, far } = connected({}, { will: true })
    expect(far.stream.connect?.will).toMatchObject({ topic: 'wills/valve', properties: { willDelayInterval: 60 } })
    world.advance(120_000)
    expect(far.got.at(-1)).toMatchObject({ type: PacketType.DISCONNECT, reasonCode: 4 })
    expect(published(far)).toEqual([])
    expect(world.server.upstream!.links.size).toBe(0)
  })

  test('3.1.1: the gateway has it, and publishes it until it is acknowledged', () => {
    const { world, far } = connected(V4, { will: true })
    far.sessionPresent = true
    expect(far.stream.connect?.will).toBeUndefined()
    let acknowledges = false
    far.script = (packet) => (packet.type === PacketType.PUBLISH && !acknowledges ? undefined : 'usual')
    world.advance(100_000)
    expect(published(far)).toEqual(['wills/valve=gone q1'])
    far.close()
    acknowledges = true
    world.advance(5_000)
    expect(published(far)).toEqual(['wills/valve=gone q1', 'wills/valve=gone q1'])
    expect(far.got.at(-1)?.type).toBe(PacketType.DISCONNECT)
    expect(world.server.upstream!.links.size).toBe(0)
  })

  test('the gateway publishes it when the cluster is back', () => {
    const { world, far } = connected(V4, { will: true })
    far.away.add(FAR)
    world.breakAll()
    world.advance(100_000)
    far.away.clear()
    world.advance(60_000)
    expect(published(far)).toEqual(['wills/valve=gone q1'])
  })

  test('DISCONNECT of the sensor: none', () => {
    for (const options of [{}, V4]) {
      const { world, far } = connected(options, { will: true })
      world.send(R, say.disconnect())
      world.advance(300_000)
      expect(published(far)).toEqual([])
      expect(far.got.at(-1)).toMatchObject({ type: PacketType.DISCONNECT, reasonCode: 0 })
    }
  })

  test('a sensor that is back before its will was published has none published', () => {
    const { world, far } = connected(V4, { will: true })
    far.away.add(FAR)
    world.breakAll()
    world.advance(100_000)
    far.away.clear()
    world.send(R, say.connect('valve', { clean: false }))
    world.advance(60_000)
    world.send(R, say.connect('valve', { clean: false }))
    world.advance(60_000)
    expect(published(far)).toEqual([])
  })

  test('an update takes another stream where the cluster has the will, and none where the gateway has it', () => {
    const { world, far } = connected({}, { will: true })
    world.send(R, say.willMsgUpdate('lost'))
    expect(world.sent()).toEqual(['WILLMSGRESP'])
    world.advance(5_000)
    expect(Buffer.from(far.stream.connect!.will!.payload).toString()).toBe('lost')
    expect(world.dialled).toHaveLength(2)
    const other = connected(V4, { will: true })
    other.world.send(R, say.willMsgUpdate('lost'))
    other.world.advance(100_000)
    expect(other.world.dialled).toHaveLength(1)
    expect(published(other.far)).toEqual(['wills/valve=lost q1'])
  })

  test('the same will at the next CONNECT takes no other stream', () => {
    const { world } = connected({}, { will: true })
    world.send(R, say.connect('valve', { clean: false, will: true }), say.willTopic('wills/valve', 1), say.willMsg('gone'))
    world.advance(5_000)
    expect(world.dialled).toHaveLength(1)
  })
})

describe('the gateway starts again', () => {
  test('sensors go on without a word: awake ones are dialled first, sleepers in the background; no will is published', () => {
    const slow = { dialsPerSecond: 2 }
    let { world } = connected(slow, { will: true })
    for (let i = 0; i < 10; i++) {
      world.send(`10.0.1.${i}:1`, say.connect(`sleeper${i}`, { clean: false }), say.subscribe('down/#'), say.disconnect(600))
      world.advance(1_000)
    }
    world = world.crashed()
    const far = new ScriptedFar(world)
    far.sessionPresent = true
    world.run()
    expect(far.streams[0]?.connect?.clientId).toBe('valve')
    world.advance(10_000)
    expect(far.streams).toHaveLength(11)
    world.send(R, say.ping())
    expect(world.sent()).toEqual(['PINGRESP'])
    expect(published(far)).toEqual([])
  })

  test('its subscriptions are made again, because the process before may have ended before it could', () => {
    let { world } = connected()
    world.send(R, say.subscribe('a', 1))
    world.breakAll()
    world = world.crashed()
    const far = new ScriptedFar(world)
    far.sessionPresent = true
    world.run()
    const again = (): string[] =>
      far.got.flatMap((packet) =>
        packet.type === PacketType.SUBSCRIBE
          ? packet.subscriptions.map(({ filter, retainHandling }) => `${filter} ${retainHandling}`)
          : [],
      )
    expect(again()).toEqual(['a 1'])
    far.close()
    world.advance(10_000)
    expect(far.streams).toHaveLength(2)
    expect(again()).toEqual(['a 1'])
  })

  test('its subscriptions are known, for a cluster that has lost the session', () => {
    let { world } = connected()
    world.send(R, say.subscribe('a', 2), say.subscribe('b/#', 1, 10), say.unsubscribe('a', 11), say.disconnect(60))
    world = world.crashed()
    const far = new ScriptedFar(world)
    world.run()
    const again = far.got.flatMap((packet) => (packet.type === PacketType.SUBSCRIBE ? packet.subscriptions : []))
    expect(again.map(({ filter, qos }) => `${filter} ${qos}`)).toEqual(['b/# 1'])
  })

  test('a sleeper that wakes is dialled before those that do not', () => {
    let { world } = connected({ dialsPerSecond: 1 })
    for (let i = 0; i < 10; i++) {
      world.send(`10.0.1.${i}:1`, say.connect(`sleeper${i}`, { clean: false }), say.disconnect(600))
      world.advance(2_000)
    }
    world.send(R, say.disconnect())
    world = world.crashed()
    const far = new ScriptedFar(world)
    far.sessionPresent = true
    world.run()
    world.send('10.0.1.9:1', say.ping('sleeper9'))
    world.advance(2_000)
    expect(far.streams.map(({ connect }) => connect?.clientId)).toContain('sleeper9')
    expect(far.streams.length).toBeLessThan(4)
  })

  test('a message in flight to the cluster comes again from the sensor with the same packet id', () => {
    let { world, far } = connected()
    world.send(R, say.register('up', 7))
    far.script = (packet) => (packet.type === PacketType.PUBLISH ? undefined : 'usual')
    world.send(R, say.publish(0x401, 'two', 2, 5))
    world = world.crashed()
    far = new ScriptedFar(world)
    far.sessionPresent = true
    world.run()
    world.send(R, { ...say.publish(0x401, 'two', 2, 5), dup: true })
    expect(far.of(PacketType.PUBLISH)).toEqual(['5'])
    expect(world.sent()).toEqual(['PUBREC #5'])
  })

  test('PUBREL of the cluster for a message from before reaches the sensor', () => {
    let { world } = connected()
    world = world.crashed()
    const far = new ScriptedFar(world)
    far.sessionPresent = true
    world.run()
    far.send(response(PacketType.PUBREL, 3))
    world.run()
    expect(world.sent()).toEqual(['PUBREL #3'])
    world.send(R, say.pubcomp(3))
    expect(far.of(PacketType.PUBCOMP)).toEqual(['3'])
  })

  test('SUBACK waits for the record', () => {
    const { world } = connected()
    world.commits = false
    world.send(R, say.subscribe('b/#', 1, 10))
    expect(world.sent()).toEqual([])
    world.commits = true
    world.run()
    expect(world.sent()).toEqual(['SUBACK 0000 #10 q1'])
  })
})

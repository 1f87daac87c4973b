import { describe, expect, test } from 'vitest'
import { PacketType } from '../../../src/mqtt/packets.ts'
import { NO_PROPERTIES } from '../../../src/mqtt/properties.ts'
import type { SnPublish } from '../../../src/mqttsn/messages.ts'
import { say } from '../../gateway/harness.ts'
import { response } from '../pair.ts'
import { ScriptedFar } from '../scripted-far.ts'
import { SENSORS } from './options.ts'
import { connected, R } from './sensor-world.ts'

const ID = 0x401

/** A sensor that has registered a topic, at a far side that answers no PUBLISH. */
function silent(options = {}, sensor = {}) {
  const there = connected(options, sensor)
  there.world.send(R, say.register('up/a', 7))
  expect(there.world.sent()).toEqual(['REGACK 0401 #7'])
  there.far.script = (packet) => (packet.type === PacketType.PUBLISH ? undefined : 'usual')
  return there
}

const again = (message: SnPublish): SnPublish => ({ ...message, dup: true })
const texts = ({ got }: ScriptedFar): string[] =>
  got.flatMap((packet) => (packet.type === PacketType.PUBLISH ? Buffer.from(packet.payload).toString() : []))

/** A gateway that was killed after a sensor's QoS 2 message with id 5 had been received by the cluster. */
function restartedBehindPubrec(script: ScriptedFar['script'] = () => 'usual', options = {}) {
  const before = connected(options)
  before.far.script = script
  before.world.send(R, say.register('up/a', 7), say.publish(ID, 'two', 2, 5))
  before.world.commit()
  expect(before.world.sent()).toEqual(['REGACK 0401 #7', 'PUBREC #5'])
  const world = before.world.crashed()
  const far = new ScriptedFar(world)
  far.sessionPresent = true
  far.script = script
  world.run()
  return { world, far }
}

describe('what a sensor publishes', () => {
  test('PUBACK waits for that of the cluster, which has the same packet id', () => {
    const { world, far } = silent()
    world.send(R, say.publish(ID, 'one', 1, 5))
    expect(far.of(PacketType.PUBLISH)).toEqual(['5'])
    expect(world.sent()).toEqual([])
    far.send(response(PacketType.PUBACK, 5))
    world.run()
    expect(world.sent()).toEqual(['PUBACK 0401 #5'])
  })

  test('each step of QoS 2 waits for that of the cluster', () => {
    const { world, far } = silent()
    world.send(R, say.publish(ID, 'two', 2, 5))
    expect(world.sent()).toEqual([])
    far.send(response(PacketType.PUBREC, 5))
    world.run()
    expect(world.sent()).toEqual(['PUBREC #5'])
    far.script = () => undefined
    world.send(R, say.pubrel(5))
    expect(far.of(PacketType.PUBREL)).toEqual(['5'])
    expect(world.sent()).toEqual([])
    far.send(response(PacketType.PUBCOMP, 5))
    world.run()
    expect(world.sent()).toEqual(['PUBCOMP #5'])
  })

  test('what is not answered goes out again over the next stream when the sensor repeats it, and its answer reaches the sensor', () => {
    for (const window of [20, 1]) {
      const { world, far } = silent({ window })
      far.sessionPresent = true
      world.send(R, say.publish(ID, 'one', 1, 5))
      far.close()
      world.advance(5_000)
      expect(far.of(PacketType.PUBLISH)).toEqual(['5'])
      world.send(R, again(say.publish(ID, 'one', 1, 5)))
      expect(far.of(PacketType.PUBLISH)).toEqual(['5', '5 dup'])
      far.send(response(PacketType.PUBACK, 5))
      world.run()
      expect(world.sent()).toEqual(['PUBACK 0401 #5'])
    }
  })

  test('all that is not answered goes out again before what the sensor publishes next, or when it repeats some of it', () => {
    for (const next of [say.publish(ID, 'three', 1, 7), again(say.publish(ID, 'two', 1, 6))]) {
      const { world, far } = silent()
      far.sessionPresent = true
      world.send(R, say.publish(ID, 'one', 1, 5), say.publish(ID, 'two', 1, 6))
      world.advance(2_000)
      far.close()
      world.advance(5_000)
      world.send(R, next)
      expect(far.of(PacketType.PUBLISH, far.stream.got)).toEqual(['5 dup', '6 dup', ...(next.dup ? [] : ['7'])])
    }
  })

  test('a sensor that connects anew after its stream was lost may have been elsewhere: QoS 1 is not sent again', () => {
    for (const isUp of [true, false]) {
      const { world, far } = silent()
      far.sessionPresent = true
      world.send(R, say.publish(ID, 'old', 1, 5))
      far.close()
      if (isUp) world.advance(5_000)
      world.send(R, say.connect('valve', { clean: false }))
      world.advance(5_000)
      expect(world.sent()).toEqual(['CONNACK'])
      far.script = () => 'usual'
      world.send(R, say.publish(ID, 'new', 1, 5))
      expect(world.sent()).toEqual(['PUBACK 0401 #5'])
      expect(texts(far)).toEqual(['old', 'new'])
    }
  })

  test('nor is QoS 2, unless the sensor repeats it; another message with its id waits until the cluster has released it', () => {
    const lost = () => {
      const there = silent()
      there.far.sessionPresent = true
      there.world.send(R, say.publish(ID, 'old', 2, 5))
      there.far.close()
      there.world.send(R, say.connect('valve', { clean: false }))
      there.world.advance(5_000)
      there.far.script = () => 'usual'
      there.world.send(R, say.publish(ID, 'new', 2, 6), say.pubrel(6))
      expect(there.world.sent()).toEqual(['CONNACK', 'PUBREC #6', 'PUBCOMP #6'])
      expect(texts(there.far)).toEqual(['old', 'new'])
      return there
    }
    const repeating = lost()
    repeating.world.send(R, again(say.publish(ID, 'old', 2, 5)), say.pubrel(5))
    expect(repeating.far.of(PacketType.PUBLISH)).toEqual(['5', '6', '5 dup'])
    expect(repeating.world.sent()).toEqual(['PUBREC #5', 'PUBCOMP #5'])

    const { world, far } = lost()
    world.send(R, say.publish(ID, 'other', 2, 5))
    expect(far.of(PacketType.PUBREL)).toEqual(['6', '5'])
    world.send(R, again(say.publish(ID, 'other', 2, 5)), say.pubrel(5))
    expect(texts(far)).toEqual(['old', 'new', 'other'])
    expect(world.sent().at(-1)).toEqual('PUBCOMP #5')
  })

  test('QoS 2 that the cluster has no receipt of any more is forgotten when the sensor has left it', () => {
    const { world, far } = silent()
    world.send(R, say.publish(ID, 'old', 2, 5))
    far.close()
    world.send(R, say.connect('valve', { clean: false }))
    world.advance(5_000)
    far.script = () => 'usual'
    world.sent()
    world.send(R, say.publish(ID, 'other', 1, 5))
    expect(world.sent()).toEqual(['PUBACK 0401 #5'])
    expect(far.of(PacketType.PUBREL)).toEqual([])
    expect(texts(far)).toEqual(['old', 'other'])
  })

  test('a sensor that begins anew with the same message ids: the answer to the message before acknowledges nothing', () => {
    for (const will of ['gone', 'other']) {
      const { world, far } = silent({}, { will: true })
      world.send(R, say.publish(ID, 'before', 1, 5))
      // Its battery was changed. With a will the gateway begins a new conversation, and with another one the stream is another.
      world.send(R, say.connect('valve', { clean: false, will: true }), say.willTopic('wills/valve', 1), say.willMsg(will))
      expect(world.sent()).toEqual(['WILLTOPICREQ', 'WILLMSGREQ', 'CONNACK'])
      world.advance(5_000)
      expect(far.streams).toHaveLength(will === 'gone' ? 1 : 2)
      world.send(R, say.publish(ID, 'after', 1, 5))
      if (will === 'gone') {
        expect(world.sent()).toEqual(['PUBACK 0401 #5 rc1'])
        far.send(response(PacketType.PUBACK, 5))
        world.run()
        expect(world.sent()).toEqual([])
        world.send(R, say.publish(ID, 'after', 1, 5))
      }
      far.send(response(PacketType.PUBACK, 5))
      world.run()
      expect(world.sent()).toEqual(['PUBACK 0401 #5'])
      expect(texts(far)).toEqual(['before', 'after'])
    }
  })

  test('a message id used for two messages at a time: both are refused, and the first is not taken for the second', () => {
    const { world, far } = silent()
    world.send(R, say.publish(ID, 'one', 1, 5), say.publish(ID, 'other', 1, 5))
    expect(world.sent()).toEqual(['PUBACK 0401 #5 rc1', 'PUBACK 0401 #5 rc1'])
    far.send(response(PacketType.PUBACK, 5))
    world.run()
    expect(world.sent()).toEqual([])
  })

  test('the same message once more goes to the cluster once', () => {
    const { world, far } = silent()
    world.send(R, say.publish(ID, 'one', 1, 5), { ...say.publish(ID, 'one', 1, 5), dup: true })
    expect(far.of(PacketType.PUBLISH)).toEqual(['5'])
    far.send(response(PacketType.PUBACK, 5))
    world.run()
    expect(world.sent()).toEqual(['PUBACK 0401 #5'])
  })

  test('QoS 2 where the cluster has QoS 1 only: learned from CONNACK or PUBACK, exactly once to the gateway, told once', () => {
    for (const learns of ['connack', 'puback'] as const) {
      const { world, far } = connected()
      world.send(R, say.register('up/a', 7))
      if (learns === 'connack') {
        far.connack = { maximumQoS: 1 }
        far.close()
        world.advance(5_000)
      } else
        far.script = (packet) => (packet.type === PacketType.PUBLISH ? response(PacketType.PUBACK, packet.packetId) : 'usual')
      world.sent()
      for (const id of [5, 6]) {
        world.send(R, say.publish(ID, `two ${id}`, 2, id))
        expect(world.sent()).toEqual([`PUBREC #${id}`])
        world.send(R, { ...say.publish(ID, `two ${id}`, 2, id), dup: true })
        expect(world.sent()).toEqual([`PUBREC #${id}`])
        world.send(R, say.pubrel(id))
        expect(world.sent()).toEqual([`PUBCOMP #${id}`])
      }
      expect(far.of(PacketType.PUBLISH)).toEqual(['5', '6'])
      expect(world.codes().filter((text) => text.startsWith('upstream-limited'))).toHaveLength(1)
    }
  })

  test('QoS 2 where the cluster closes the stream after it: what it grants to a subscription is found out before', () => {
    for (const learns of ['question', 'suback'] as const) {
      const { world, far } = connected({ targets: { ...SENSORS.targets, version: 4 } })
      far.sessionPresent = true
      far.script = (packet) => {
        if (packet.type === PacketType.PUBLISH && packet.qos === 2) return 'close'
        if (packet.type !== PacketType.SUBSCRIBE) return 'usual'
        return { type: PacketType.SUBACK, packetId: packet.packetId, reasonCodes: [1], properties: NO_PROPERTIES }
      }
      world.send(R, say.register('up/a', 7), say.subscribe(learns === 'suback' ? 'down' : 'down/1', learns === 'suback' ? 2 : 1))
      world.sent()
      world.send(R, say.publish(ID, 'two', 2, 5))
      expect(world.sent()).toEqual(['PUBREC #5'])
      world.send(R, say.pubrel(5), say.publish(ID, 'next', 2, 6))
      expect(world.sent()).toEqual(['PUBCOMP #5', 'PUBREC #6'])
      expect(world.dialled).toHaveLength(1)
      expect(far.of(PacketType.SUBSCRIBE)).toHaveLength(learns === 'suback' ? 1 : 2)
      expect(world.codes().filter((text) => text.startsWith('upstream-limited'))).toHaveLength(1)
      expect(world.codes().filter((text) => text.startsWith('message-dropped'))).toEqual([])
      // Another sensor needs not find it out.
      const S = '10.0.0.2:1'
      world.send(S, say.connect('other', { clean: false }), say.register('up/a', 7), say.publish(ID, 'two', 2, 5))
      expect(world.sent(S)).toEqual(['CONNACK', 'REGACK 0401 #7', 'PUBREC #5'])
    }
  })

  test.each([
    ['does not serve QoS 2', 1],
    ['serves it', 2],
  ])('PUBREL for a message that the gateway has sent before a restart: the cluster %s', (_, granted) => {
    const script: ScriptedFar['script'] = (packet) =>
      packet.type === PacketType.SUBSCRIBE
        ? { type: PacketType.SUBACK, packetId: packet.packetId, reasonCodes: [granted], properties: NO_PROPERTIES }
        : 'usual'
    const { world, far } = restartedBehindPubrec(script, { targets: { ...SENSORS.targets, version: 4 } })
    world.send(R, say.pubrel(5))
    expect(world.sent()).toEqual(['PUBCOMP #5'])
    // RabbitMQ 3.10 answers nothing any more after one.
    expect(far.of(PacketType.PUBREL)).toEqual(granted === 2 ? ['5'] : [])
  })

  test('another message under the id of one that the gateway has sent before a restart: it is accepted when the first is released', () => {
    const { world, far } = restartedBehindPubrec()
    const answers = [1, 2].flatMap(() => {
      world.send(R, say.publish(ID, 'other', 2, 5))
      return world.sent()
    })
    expect(answers.at(-1)).toBe('PUBREC #5')
    expect(far.of(PacketType.PUBREL)).toEqual(['5'])
    expect(far.of(PacketType.PUBLISH)).toHaveLength(1)
  })

  test('QoS 2 before 5.0 where the cluster has it, or does not like the question', () => {
    for (const likes of [true, false]) {
      const { world, far } = connected({ targets: { ...SENSORS.targets, version: 4 } })
      far.sessionPresent = true
      far.script = (packet) => (packet.type === PacketType.SUBSCRIBE && !likes ? 'close' : 'usual')
      world.send(R, say.register('up/a', 7), say.publish(ID, 'two', 2, 5))
      // Once may be an accident, so it is asked again.
      for (let times = 0; !likes && times < 2; times++) {
        world.advance(10_000)
        world.send(R, again(say.publish(ID, 'two', 2, 5)))
      }
      expect(world.sent()).toEqual(['REGACK 0401 #7', 'PUBREC #5'])
      expect(far.got.flatMap((packet) => (packet.type === PacketType.PUBLISH ? packet.qos : []))).toEqual([2])
    }
  })

  test('a message after which the cluster closes the stream twice is refused, and those behind it go on', () => {
    const { world, far } = silent()
    far.sessionPresent = true
    far.script = (packet) => (packet.type === PacketType.PUBLISH && packet.packetId === 5 ? 'close' : 'usual')
    world.send(R, say.publish(ID, 'poison', 1, 5))
    world.advance(10_000)
    expect(world.sent()).toEqual([])
    world.send(R, again(say.publish(ID, 'poison', 1, 5)))
    world.advance(10_000)
    expect(world.sent()).toEqual(['PUBACK 0401 #5 rc3'])
    world.send(R, say.publish(ID, 'next', 1, 6))
    expect(world.sent()).toEqual(['PUBACK 0401 #6'])
  })

  test('QoS 0 while the cluster is away is dropped with a notice', () => {
    const { world, far } = silent()
    far.away.add('mqtt://far:1883')
    far.close()
    world.send(R, say.publish(ID, 'zero'))
    expect(world.codes().filter((text) => text.startsWith('message-dropped'))).toHaveLength(1)
    expect(world.sent()).toEqual([])
  })

  test('QoS -1 goes over a link of the gateway itself, which keeps what comes before it is connected', () => {
    const { world, far } = connected()
    world.send('10.0.0.9:1', { ...say.publish(1, 'first'), qos: -1, topicIdType: 'predefined' })
    world.send('10.0.0.9:1', { ...say.publish(1, 'second'), qos: -1, topicIdType: 'predefined' })
    expect(far.stream.connect?.clientId).toBe('roost-gateway-7-qos-1')
    expect(far.of(PacketType.PUBLISH)).toEqual(['predefined/one', 'predefined/one'])
    far.away.add('mqtt://far:1883')
    far.close()
    for (let i = 0; i < 105; i++) world.send('10.0.0.9:1', { ...say.publish(1, `${i}`), qos: -1, topicIdType: 'predefined' })
    far.away.clear()
    world.advance(60_000)
    expect(far.of(PacketType.PUBLISH)).toHaveLength(102)
    const dropped = world.notices.filter(({ code }) => code === 'message-dropped')
    expect(dropped.reduce((sum, { count = 1 }) => sum + count, 0)).toBe(5)
  })
})

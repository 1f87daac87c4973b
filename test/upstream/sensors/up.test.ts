import { describe, expect, test } from 'vitest'
import { PacketType } from '../../../src/mqtt/packets.ts'
import { NO_PROPERTIES } from '../../../src/mqtt/properties.ts'
import { say } from '../../gateway/harness.ts'
import { response } from '../pair.ts'
import { SENSORS } from './options.ts'
import { connected, R } from './sensor-world.ts'

const ID = 0x401

/** A sensor that has registered a topic, at a far side that answers no PUBLISH. */
function silent(options = {}) {
  const there = connected(options)
  there.world.send(R, say.register('up/a', 7))
  expect(there.world.sent()).toEqual(['REGACK 0401 #7'])
  there.far.script = (packet) => (packet.type === PacketType.PUBLISH ? undefined : 'usual')
  return there
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

  test('what is not answered goes out again over the next stream, and its answer reaches the sensor', () => {
    const { world, far } = silent()
    far.sessionPresent = true
    world.send(R, say.publish(ID, 'one', 1, 5))
    far.close()
    world.advance(5_000)
    expect(far.of(PacketType.PUBLISH)).toEqual(['5', '5 dup'])
    far.send(response(PacketType.PUBACK, 5))
    world.run()
    expect(world.sent()).toEqual(['PUBACK 0401 #5'])
  })

  test('a sensor that begins anew with the same message ids: the answer to the message before acknowledges nothing', () => {
    const { world, far } = silent()
    world.send(R, say.publish(ID, 'before', 1, 5))
    // Its battery was changed. With a will the gateway begins a new conversation.
    world.send(R, say.connect('valve', { clean: false, will: true }), say.willTopic('w'), say.willMsg('gone'))
    expect(world.sent()).toEqual(['WILLTOPICREQ', 'WILLMSGREQ', 'CONNACK'])
    world.send(R, say.publish(ID, 'after', 1, 5))
    expect(world.sent()).toEqual(['PUBACK 0401 #5 rc1'])
    far.send(response(PacketType.PUBACK, 5))
    world.run()
    expect(world.sent()).toEqual([])
    far.script = () => 'usual'
    world.send(R, say.publish(ID, 'after', 1, 5))
    expect(world.sent()).toEqual(['PUBACK 0401 #5'])
    const texts = far.got.flatMap((packet) => (packet.type === PacketType.PUBLISH ? Buffer.from(packet.payload).toString() : []))
    // Twice, because the new will takes another stream.
    expect(texts).toEqual(['before', 'before', 'after'])
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

  test('QoS 2 before 5.0 where the cluster has it, or does not like the question', () => {
    for (const likes of [true, false]) {
      const { world, far } = connected({ targets: { ...SENSORS.targets, version: 4 } })
      far.sessionPresent = true
      far.script = (packet) => (packet.type === PacketType.SUBSCRIBE && !likes ? 'close' : 'usual')
      world.send(R, say.register('up/a', 7), say.publish(ID, 'two', 2, 5))
      world.advance(5_000)
      expect(world.sent()).toEqual(['REGACK 0401 #7', 'PUBREC #5'])
      expect(far.got.flatMap((packet) => (packet.type === PacketType.PUBLISH ? packet.qos : []))).toEqual([2])
    }
  })

  test('a message after which the cluster closes the stream twice is refused, and those behind it go on', () => {
    const { world, far } = silent()
    far.sessionPresent = true
    far.script = (packet) => (packet.type === PacketType.PUBLISH && packet.packetId === 5 ? 'close' : 'usual')
    world.send(R, say.publish(ID, 'poison', 1, 5))
    world.advance(20_000)
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

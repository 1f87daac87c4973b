import { describe, expect, test } from 'vitest'
import { PacketType } from '../../../src/mqtt/packets.ts'
import { NO_PROPERTIES } from '../../../src/mqtt/properties.ts'
import { say } from '../../gateway/harness.ts'
import { response } from '../pair.ts'
import type { ScriptedFar } from '../scripted-far.ts'
import { connected, R, type SensorWorld } from './sensor-world.ts'

const ID = 0x401

/** A sensor that knows the id of the topic on which messages come. */
function knowing(options = {}) {
  const there = connected(options)
  there.world.send(R, say.register('down', 7))
  there.world.sent()
  // The quiet time after CONNACK.
  there.world.advance(1_000)
  return there
}

function asleep(options = {}) {
  const there = knowing(options)
  there.world.send(R, say.disconnect(60))
  expect(there.world.sent()).toEqual(['DISCONNECT'])
  return there
}

/** The sensor wakes and acknowledges what it gets, until PINGRESP; returns what it got. */
function wake(world: SensorWorld): string[] {
  const got: string[] = []
  world.send(R, say.ping('valve'))
  for (let waited = 0; waited < 300; ) {
    const lines = world.sent()
    if (lines.length === 0) {
      world.advance(10)
      waited += 10
    }
    for (const line of lines) {
      got.push(line)
      const id = Number(/#(\d+)/.exec(line)?.[1])
      if (line.startsWith('PUBLISH')) world.send(R, line.includes('q2') ? say.pubrec(id) : say.puback(ID, id))
      if (line.startsWith('PUBREL')) world.send(R, say.pubcomp(id))
      if (line === 'PINGRESP') return got
    }
  }
  return got
}

const acknowledged = (far: ScriptedFar): string[] => far.of(PacketType.PUBACK)

describe('what a sensor gets', () => {
  test('a message is acknowledged at the cluster when the sensor has acknowledged it', () => {
    const { world, far } = knowing()
    far.publish('down', 'one', 1, 3)
    expect(world.sent()).toEqual(['PUBLISH 0401=one #3 q1'])
    expect(acknowledged(far)).toEqual([])
    world.send(R, say.puback(ID, 3))
    expect(acknowledged(far)).toEqual(['3'])
  })

  test("each step of QoS 2 is the sensor's", () => {
    const { world, far } = knowing()
    far.script = () => undefined
    far.publish('down', 'two', 2, 3)
    expect(world.sent()).toEqual(['PUBLISH 0401=two #3 q2'])
    expect(far.of(PacketType.PUBREC)).toEqual([])
    world.send(R, say.pubrec(3))
    expect(far.of(PacketType.PUBREC)).toEqual(['3'])
    far.send(response(PacketType.PUBREL, 3))
    world.run()
    expect(world.sent()).toEqual(['PUBREL #3'])
    world.send(R, say.pubcomp(3))
    expect(far.of(PacketType.PUBCOMP)).toEqual(['3'])
  })

  test.each([
    ['is answered', false],
    ['is lost on the radio, and sent again when there is room', true],
  ])('PUBREL that the cluster repeats while another message is in flight %s', (_, isLost) => {
    const { world, far } = knowing()
    far.script = (packet) => (packet.type === PacketType.PUBREC || packet.type === PacketType.PUBCOMP ? undefined : 'usual')
    far.sessionPresent = true
    far.publish('down', 'one', 2, 3)
    world.send(R, say.pubrec(3))
    far.send(response(PacketType.PUBREL, 3))
    world.run()
    world.send(R, say.pubcomp(3))
    far.publish('down', 'two', 2, 4)
    world.send(R, say.pubrec(4))
    expect(world.sent()).toEqual(['PUBLISH 0401=one #3 q2', 'PUBREL #3', 'PUBLISH 0401=two #4 q2'])
    // PUBCOMP has not arrived.
    far.close()
    world.advance(5_000)
    far.send(response(PacketType.PUBREL, 3))
    world.run()
    expect(world.sent()).toEqual(['PUBREL #3'])
    if (!isLost) world.send(R, say.pubcomp(3))
    far.send(response(PacketType.PUBREL, 4))
    world.run()
    expect(world.sent()).toEqual(['PUBREL #4'])
    world.send(R, say.pubcomp(4))
    expect(world.sent()).toEqual(isLost ? ['PUBREL #3'] : [])
    if (isLost) world.send(R, say.pubcomp(3))
    expect(far.of(PacketType.PUBCOMP, far.stream.got).sort()).toEqual(['3', '4'])
    world.advance(20_000)
    expect(world.sent()).toEqual([])
  })

  test('what comes again while the sensor has it is not handed out again, and is answered over the stream that is up', () => {
    const { world, far } = knowing()
    far.sessionPresent = true
    far.publish('down', 'one', 1, 3)
    // NATS repeats it on the same connection.
    far.publish('down', 'one', 1, 3, {}, true)
    expect(world.sent()).toEqual(['PUBLISH 0401=one #3 q1'])
    far.close()
    world.send(R, say.puback(ID, 3))
    world.advance(5_000)
    expect(far.of(PacketType.PUBACK)).toEqual([])
    far.publish('down', 'one', 1, 3, {}, true)
    expect(far.of(PacketType.PUBACK, far.stream.got)).toEqual(['3'])
    expect(world.sent()).toEqual([])
  })

  test('another message under the packet id of one that is held since an earlier stream: NATS counts them anew', () => {
    for (const isDup of [false, true]) {
      const { world, far } = knowing()
      far.sessionPresent = true
      far.publish('down', 'one', 1, 3)
      expect(world.sent()).toEqual(['PUBLISH 0401=one #3 q1'])
      far.close()
      world.send(R, say.publish(ID, 'here I am'))
      world.advance(5_000)
      far.publish('down', 'new', 1, 3, {}, isDup)
      expect(world.sent()).toEqual([])
      world.send(R, say.puback(ID, 3))
      expect(acknowledged(far)).toEqual([])
      expect(world.sent()).toEqual([`PUBLISH 0401=new #3 q1${isDup ? ' dup' : ''}`])
      world.send(R, say.puback(ID, 3))
      expect(acknowledged(far)).toEqual(['3'])
    }
  })

  test('what another gateway may have completed since is not handed out again: the cluster says what is owed', () => {
    for (const qos of [1, 2] as const) {
      const { world, far } = knowing()
      far.sessionPresent = true
      far.publish('down', 'one', qos, 3)
      expect(world.sent()).toEqual([`PUBLISH 0401=one #3 q${qos}`])
      far.close()
      world.send(R, say.connect('valve', { clean: false }))
      world.advance(5_000)
      expect(world.sent()).toEqual(['CONNACK'])
      far.publish('down', 'two', qos, 4)
      world.send(R, say.regack(ID, Number(/^REGISTER 0401=down #(\d+)$/.exec(world.sent().join())?.[1])))
      expect(world.sent()).toEqual([`PUBLISH 0401=two #4 q${qos}`])
    }
  })

  test('a copy that crosses its PUBACK: the new message that has its packet id over the same stream is not taken for it', () => {
    const { world, far } = knowing()
    far.publish('down', 'one', 1, 3)
    world.send(R, say.puback(ID, 3))
    expect(acknowledged(far)).toEqual(['3'])
    far.publish('down', 'one', 1, 3, {}, true)
    far.publish('down', 'two', 1, 3)
    world.sent()
    world.send(R, say.puback(ID, 3))
    expect(acknowledged(far)).toEqual(['3'])
    expect(world.sent()).toEqual(['PUBLISH 0401=two #3 q1'])
    world.send(R, say.puback(ID, 3))
    expect(acknowledged(far)).toEqual(['3', '3'])
  })

  test('a new message that has the packet id of what the sensor forgets by connecting anew is handed out, and nothing else', () => {
    const { world, far } = knowing({ wills: 'gateway' })
    far.sessionPresent = true
    far.publish('down', 'one', 1, 3)
    expect(world.sent()).toEqual(['PUBLISH 0401=one #3 q1'])
    far.close()
    world.send(R, say.publish(ID, 'here I am'))
    world.advance(5_000)
    far.publish('down', 'new', 1, 3)
    expect(world.sent()).toEqual([])
    world.send(R, say.connect('valve', { clean: false, will: true }), say.willTopic('w'), say.willMsg('gone'))
    const lines = world.sent()
    expect(lines.slice(0, 3)).toEqual(['WILLTOPICREQ', 'WILLMSGREQ', 'CONNACK'])
    world.send(R, say.regack(ID, Number(/^REGISTER 0401=down #(\d+)$/.exec(lines[3]!)![1])))
    expect(world.sent()).toEqual(['PUBLISH 0401=new #3 q1'])
    expect(acknowledged(far)).toEqual([])
    world.send(R, say.puback(ID, 3))
    expect(acknowledged(far)).toEqual(['3'])
    expect(world.sent()).toEqual([])
  })

  test('a sensor that connects anew gets again what it has not acknowledged', () => {
    const { world, far } = knowing()
    far.sessionPresent = true
    far.publish('down', 'one', 1, 3)
    world.sent()
    world.send(R, say.connect('valve', { clean: false, will: true }), say.willTopic('w'), say.willMsg('gone'))
    const lines = world.sent()
    expect(lines.slice(0, 3)).toEqual(['WILLTOPICREQ', 'WILLMSGREQ', 'CONNACK'])
    world.send(R, say.regack(ID, Number(/^REGISTER 0401=down #(\d+)$/.exec(lines[3]!)![1])))
    expect(world.sent()).toEqual(['PUBLISH 0401=one #3 q1 dup'])
    world.send(R, say.puback(ID, 3))
    world.advance(5_000)
    far.publish('down', 'one', 1, 3, {}, true)
    expect(acknowledged(far)).toEqual(['3'])
  })

  test('its bytes are kept when the buffer of the socket is used again', () => {
    const { world, far } = knowing()
    far.publish('down', 'payload', 1, 3)
    world.wipe()
    world.sent()
    world.advance(10_000)
    expect(world.sent()).toEqual(['PUBLISH 0401=payload #3 q1 dup'])
  })
})

describe('a sensor that sleeps', () => {
  test('its connection stays, and what came meanwhile is given when it wakes, without a wait at the end', () => {
    const { world, far } = asleep()
    far.publish('down', 'one', 1, 3)
    far.publish('down', 'two', 2, 4)
    expect(world.sent()).toEqual([])
    const before = world.now
    expect(wake(world)).toEqual(['PUBLISH 0401=one #3 q1', 'PUBLISH 0401=two #4 q2', 'PUBREL #4', 'PINGRESP'])
    expect(world.now - before).toBe(0)
    expect(acknowledged(far)).toEqual(['3'])
    expect(far.of(PacketType.PUBCOMP)).toEqual(['4'])
    expect(world.dialled).toHaveLength(1)
  })

  test('with as many messages as the cluster gives out at a time, more are waited for until nothing comes for the quiet time', () => {
    const { world, far } = asleep({ window: 10 })
    for (let id = 1; id <= 10; id++) far.publish('down', `${id}`, 1, id)
    far.script = (packet) => {
      if (packet.type !== PacketType.PUBACK || packet.packetId > 5) return 'usual'
      far.onItsWay = []
      far.publish('down', `${10 + packet.packetId}`, 1, 10 + packet.packetId)
      // It takes a while.
      const [arrive] = far.onItsWay
      far.onItsWay = undefined
      later.push(arrive!)
      return undefined
    }
    const later: (() => void)[] = []
    const got: string[] = []
    world.send(R, say.ping('valve'))
    for (let rounds = 0; rounds < 100 && got.at(-1) !== 'PINGRESP'; rounds++) {
      for (const line of world.sent()) {
        got.push(line)
        const id = Number(/#(\d+)/.exec(line)?.[1])
        if (line.startsWith('PUBLISH')) world.send(R, say.puback(ID, id))
      }
      world.advance(50)
      for (const arrive of later.splice(0)) arrive()
      world.run()
    }
    expect(got.filter((line) => line.startsWith('PUBLISH'))).toHaveLength(15)
    expect(got.at(-1)).toBe('PINGRESP')
  })

  test('a sensor whose answer takes longer than the quiet time gets what comes after it', () => {
    const { world, far } = asleep({ window: 1 })
    far.publish('down', 'one', 1, 1)
    world.send(R, say.ping('valve'))
    expect(world.sent()).toEqual(['PUBLISH 0401=one #1 q1'])
    world.advance(5_000)
    world.send(R, say.puback(ID, 1))
    expect(world.sent()).toEqual([])
    world.advance(50)
    far.publish('down', 'two', 1, 2)
    expect(world.sent()).toEqual(['PUBLISH 0401=two #2 q1'])
    world.send(R, say.puback(ID, 2))
    world.advance(1_000)
    expect(world.sent()).toEqual(['PINGRESP'])
  })

  test('the backlog of a stream that is not read has not ended: a QoS 2 message that the cluster repeats after it is not delivered twice', () => {
    const { world, far } = connected()
    far.sessionPresent = true
    world.send(R, say.subscribe('down', 2))
    far.publish('down', 'once', 2, 5)
    world.sent()
    far.close()
    world.send(R, say.pubrec(5))
    far.script = (packet) => {
      if (packet.type !== PacketType.CONNECT) return 'usual'
      far.send(far.accept(0))
      for (let id = 1_000; id < 2_001; id++) far.publish('down', `${id}`, 1, id)
      return undefined
    }
    world.advance(10_000)
    expect([...world.server.sensors!.sessions.values()][0]!.upstream!.stream!.paused).toBe(true)
    far.publish('down', 'once', 2, 5, NO_PROPERTIES, true)
    expect(far.of(PacketType.PUBREC)).toEqual(['5'])
  })

  test('QoS 0 is held within bounds; the oldest are dropped, with notices that count them', () => {
    const { world, far } = asleep({ heldMessages: 3 })
    for (let i = 1; i <= 5; i++) far.publish('down', `${i}`, 0, 0)
    expect(wake(world)).toEqual(['PUBLISH 0401=3 q0', 'PUBLISH 0401=4 q0', 'PUBLISH 0401=5 q0', 'PINGRESP'])
    const dropped = world.notices.filter(({ code }) => code === 'message-dropped')
    expect(dropped.reduce((sum, { count = 1 }) => sum + count, 0)).toBe(2)
  })

  test('a stream lost in sleep is not replaced until it wakes; then the wake lasts until the backlog is through', () => {
    const { world, far } = asleep()
    far.sessionPresent = true
    far.close()
    world.advance(55_000)
    expect(world.dialled).toHaveLength(1)
    far.script = (packet) => {
      if (packet.type !== PacketType.CONNECT) return 'usual'
      far.send(far.accept(0))
      far.publish('down', 'one', 1, 3)
      return undefined
    }
    expect(wake(world)).toEqual(['PUBLISH 0401=one #3 q1', 'PINGRESP'])
    expect(world.dialled).toHaveLength(2)
  })

  test('park: no connection between wakes, and the backlog comes after the dial', () => {
    const { world, far } = asleep({ sleepers: 'park' })
    far.sessionPresent = true
    world.advance(2_000)
    expect(world.streams.size).toBe(0)
    expect(far.got.at(-1)?.type).toBe(PacketType.DISCONNECT)
    world.advance(50_000)
    expect(world.dialled).toHaveLength(1)
    far.script = (packet) => {
      if (packet.type !== PacketType.CONNECT) return 'usual'
      far.send(far.accept(0))
      for (let id = 1; id <= 3; id++) far.publish('down', `${id}`, 1, id)
      return undefined
    }
    expect(wake(world)).toEqual(['PUBLISH 0401=1 #1 q1', 'PUBLISH 0401=2 #2 q1', 'PUBLISH 0401=3 #3 q1', 'PINGRESP'])
    world.advance(2_000)
    expect(world.streams.size).toBe(0)
  })

  test('park with messages that came before it could: they come again, and are given once', () => {
    const { world, far } = asleep({ sleepers: 'park' })
    far.sessionPresent = true
    far.publish('down', 'one', 1, 3)
    world.advance(2_000)
    expect(world.streams.size).toBe(0)
    far.script = (packet) => {
      if (packet.type !== PacketType.CONNECT) return 'usual'
      far.send(far.accept(0))
      far.publish('down', 'one', 1, 3, {}, true)
      return undefined
    }
    expect(wake(world)).toEqual(['PUBLISH 0401=one #3 q1 dup', 'PINGRESP'])
    expect(acknowledged(far)).toEqual(['3'])
  })
})

describe('a cluster that has lost the session', () => {
  test('the sensor is subscribed again, and told nothing; what is here reaches it', () => {
    const { world, far } = knowing()
    world.send(R, say.subscribe('down', 2), say.subscribe('other/#', 1, 10))
    world.sent()
    far.publish('down', 'two', 2, 3)
    expect(world.sent()).toEqual(['PUBLISH 0401=two #3 q2'])
    far.close()
    world.send(R, say.publish(ID, 'here I am'))
    world.advance(5_000)
    const again = far.stream.got.flatMap((packet) => (packet.type === PacketType.SUBSCRIBE ? packet.subscriptions : []))
    expect(again.map(({ filter, qos }) => `${filter} ${qos}`)).toEqual(['down 2', 'other/# 1'])
    // The new session counts from the beginning, and has the same packet id.
    far.publish('down', 'new', 2, 3)
    expect(world.sent()).toEqual([])
    world.send(R, say.pubrec(3))
    expect(world.sent()).toEqual(['PUBREL #3'])
    expect(far.of(PacketType.PUBREC, far.stream.got)).toEqual([])
    world.send(R, say.pubcomp(3))
    expect(world.sent()).toEqual(['PUBLISH 0401=new #3 q2'])
    world.send(R, say.pubrec(3))
    world.send(R, say.pubcomp(3))
    expect(far.of(PacketType.PUBREC, far.stream.got)).toEqual(['3'])
    expect(far.of(PacketType.PUBCOMP, far.stream.got)).toEqual(['3'])
    world.advance(2_000)
    expect(world.notices.filter(({ code }) => code === 'upstream-session-lost').map(({ count }) => count)).toEqual([1])
  })
})

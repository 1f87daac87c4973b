import { beforeEach, describe, expect, test } from 'vitest'
import { PacketType } from '../../src/mqtt/packets.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { ReasonCode } from '../../src/mqtt/reason-codes.ts'
import type { UpstreamLink } from '../../src/upstream/upstream-link.ts'
import { Dialling, Owner, response } from './pair.ts'
import { ScriptedFar } from './scripted-far.ts'

const { PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP } = PacketType

let near: Dialling
let far: ScriptedFar
let owner: Owner
let link: UpstreamLink

beforeEach(() => {
  near = new Dialling()
  far = new ScriptedFar(near)
  owner = new Owner()
  link = near.open(owner, {}, { version: 5 })
})

/** The stream breaks; the next one is there after the backoff. */
function reconnect(sessionPresent = true): void {
  far.sessionPresent = sessionPresent
  far.close()
  near.advance(10_000)
  expect(link.status.state).toBe('up')
}

const dropped = (): string[] => near.codes().filter((line) => line.startsWith('message-dropped'))
/** Packet ids of messages that may have arrived, and that the owner has to release. */
const givenUp = (): number[] => owner.got.flatMap((out) => (out.type === PUBREC && out.reasonCode === 0x10 ? [out.packetId] : []))
const limited = (): string[] => near.codes().filter((line) => line.startsWith('upstream-limited'))

describe('packet ids survive the stream', () => {
  test('what is unanswered is sent again in order, with DUP, and nothing else', () => {
    far.script = (packet) => (packet.type === PUBLISH && packet.packetId > 2 ? undefined : 'usual')
    near.connect(link)
    for (const id of [1, 2, 7, 5, 9]) near.publish(link, 'a', `${id}`, id === 5 ? 2 : 1, id)
    expect(owner.ids(PUBACK)).toEqual([1, 2])
    far.script = () => 'usual'
    reconnect()
    expect(far.of(PUBLISH, far.stream.got)).toEqual(['7 dup', '5 dup', '9 dup'])
    expect(owner.ids(PUBACK)).toEqual([1, 2, 7, 9])
    expect(owner.ids(PUBCOMP)).toEqual([5])
    expect(link.status).toMatchObject({ sent: 8, resent: 3 })
  })

  test('a released message is released again, and not sent', () => {
    far.script = (packet) => (packet.type === PUBREL ? undefined : 'usual')
    near.connect(link)
    near.publish(link, 'a', 'x', 2, 3)
    expect(owner.ids(PUBREC)).toEqual([3])
    far.script = () => 'usual'
    reconnect()
    expect(far.of(PUBLISH, far.stream.got)).toEqual([])
    expect(far.of(PUBREL, far.stream.got)).toEqual(['3'])
    expect(owner.ids(PUBCOMP)).toEqual([3])
  })

  test('PUBREL of the owner while no stream is up waits for the next', () => {
    owner.releases = false
    near.connect(link)
    near.publish(link, 'a', 'x', 2, 3)
    far.sessionPresent = true
    far.close()
    link.send(near.now, response(PUBREL, 3))
    near.advance(10_000)
    expect(far.of(PUBREL, far.stream.got)).toEqual(['3'])
    expect(owner.ids(PUBCOMP)).toEqual([3])
  })

  test('PUBREL of a message from before a restart of the process', () => {
    far.sessionPresent = true
    near.connect(link)
    link.send(near.now, response(PUBREL, 77))
    near.run()
    expect(far.of(PUBREL)).toEqual(['77'])
    expect(owner.ids(PUBCOMP)).toEqual([77])
    expect(link.inFlight).toBe(0)
  })

  test('without a session at the far side unanswered messages are new ones, and released ones are done', () => {
    far.script = (packet) => (packet.type === PUBREL || (packet.type === PUBLISH && packet.qos === 1) ? undefined : 'usual')
    near.connect(link)
    near.publish(link, 'a', 'x', 1, 3)
    near.publish(link, 'a', 'y', 2, 4)
    far.script = () => 'usual'
    reconnect(false)
    expect(far.of(PUBLISH, far.stream.got)).toEqual(['3'])
    expect(far.of(PUBREL, far.stream.got)).toEqual([])
    expect(owner.ids(PUBACK)).toEqual([3])
    expect(owner.ids(PUBCOMP)).toEqual([4])
    expect(link.status.sessionsLost).toBe(1)
  })

  test('PUBREC came, then the session was lost: the PUBREL of the owner is answered here', () => {
    owner.releases = false
    near.connect(link)
    near.publish(link, 'a', 'x', 2, 4)
    reconnect(false)
    link.send(near.now, response(PUBREL, 4))
    near.run()
    expect(owner.ids(PUBCOMP)).toEqual([4])
    expect(far.of(PUBREL)).toEqual([])
  })

  test('a message that the link has already is not sent twice; its owner may have missed PUBREC', () => {
    owner.releases = false
    near.connect(link)
    near.publish(link, 'a', 'x', 2, 4)
    near.publish(link, 'a', 'x', 2, 4)
    expect(far.of(PUBLISH)).toEqual(['4'])
    expect(owner.ids(PUBREC)).toEqual([4, 4])
  })

  test('QoS 0 does not wait for a stream, and is counted', () => {
    near.publish(link, 'a', 'x', 0, 0)
    near.connect(link)
    near.publish(link, 'a', 'y', 0, 0)
    expect(far.of(PUBLISH)).toEqual(['a'])
    far.close()
    expect(near.publish(link, 'a', 'z', 0, 0)).toBe('pause')
    expect(link.status.givenUp).toBe(2)
    expect(dropped()).toHaveLength(2)
  })
})

describe('the window', () => {
  test('is that of the far side, and what is more waits in order', () => {
    far.connack = { receiveMaximum: 2 }
    far.script = (packet) => (packet.type === PUBLISH ? undefined : 'usual')
    near.connect(link)
    for (let id = 1; id <= 5; id++) near.publish(link, 'a', 'x', 1, id)
    expect(far.of(PUBLISH)).toEqual(['1', '2'])
    far.send(response(PUBACK, 2))
    near.run()
    expect(far.of(PUBLISH)).toEqual(['1', '2', '3'])
  })

  test('of Receive Maximum 1 carries QoS 2 to its end before the next', () => {
    far.connack = { receiveMaximum: 1 }
    near.connect(link)
    for (let id = 1; id <= 50; id++) near.publish(link, 'a', 'x', 2, id)
    expect(owner.ids(PUBCOMP)).toHaveLength(50)
    expect(far.got.flatMap(({ type }) => (type === PUBLISH ? 'P' : type === PUBREL ? 'R' : [])).join('')).toBe('PR'.repeat(50))
  })

  test('is 20 before 5.0', () => {
    link = near.open(owner, { window: 100 }, { version: 4 })
    far.script = (packet) => (packet.type === PUBLISH ? undefined : 'usual')
    near.connect(link)
    for (let id = 1; id <= 30; id++) near.publish(link, 'a', 'x', 2, id)
    expect(far.of(PUBLISH)).toHaveLength(20)
  })

  test('an owner that is told to pause hears when it is open again', () => {
    link = near.open(owner, { window: 3 }, { version: 5 })
    far.connack = { receiveMaximum: 1 }
    far.script = (packet) => (packet.type === PUBLISH ? undefined : 'usual')
    near.connect(link)
    const flows = [1, 2, 3, 4].map((id) => near.publish(link, 'a', 'x', 1, id))
    expect(flows).toEqual(['go', 'go', 'go', 'pause'])
    let calls = 0
    const before = owner.upstreamReady.bind(owner)
    owner.upstreamReady = (now, each) => {
      if (each.state === 'open') calls++
      before(now, each)
    }
    far.send(response(PUBACK, 1))
    near.run()
    expect(calls).toBeGreaterThan(0)
  })

  test('a socket that takes nothing gets no messages', () => {
    near.connect(link)
    near.server.handle(near.now, { kind: 'congested', connection: far.stream.connection, on: true })
    expect(near.publish(link, 'a', 'x', 1, 1)).toBe('pause')
    expect(far.of(PUBLISH)).toEqual([])
    near.server.handle(near.now, { kind: 'congested', connection: far.stream.connection, on: false })
    near.run()
    expect(owner.ids(PUBACK)).toEqual([1])
  })
})

describe('what the far side does not take', () => {
  test('a message that is too large is given up, and those behind it go on', () => {
    far.connack = { maximumPacketSize: 100 }
    near.connect(link)
    near.publish(link, 'a', 'x'.repeat(200), 1, 1)
    near.publish(link, 'a', 'x'.repeat(200), 2, 2)
    near.publish(link, 'a', 'x', 1, 3)
    expect(far.of(PUBLISH)).toEqual(['3'])
    expect(owner.got.filter(({ type }) => type === PUBACK || type === PUBREC)).toMatchObject([
      { packetId: 1, reasonCode: 0x83 },
      { packetId: 2, reasonCode: 0x83 },
      { packetId: 3, reasonCode: 0 },
    ])
    expect(dropped()).toEqual([
      'message-dropped: message on a with QoS 1 is given up: above the largest packet that it takes, 100 bytes',
      'message-dropped: message on a with QoS 2 is given up: above the largest packet that it takes, 100 bytes',
    ])
    expect(link).toMatchObject({ inFlight: 0, status: { givenUp: 2 } })
  })

  test('a message that is too large now and that an earlier process may have sent is released: the far side may have a receipt', () => {
    far.connack = { maximumPacketSize: 100 }
    far.sessionPresent = true
    near.connect(link)
    const message = Publish.of('a', Buffer.from('x'.repeat(200)), 2)
    link.deliver(near.now, { message, qos: 2, packetId: 1, retain: false, dup: true })
    near.run()
    expect(givenUp()).toEqual([1])
    expect(far.of(PUBREL)).toEqual(['1'])
    expect(owner.ids(PUBCOMP)).toEqual([1])
    expect(link.inFlight).toBe(0)
  })

  test('Maximum QoS 1: QoS 2 is sent as QoS 1, and the owner sees QoS 2', () => {
    far.connack = { maximumQoS: 1 }
    near.connect(link)
    for (const id of [1, 2]) near.publish(link, 'a', 'x', 2, id)
    expect(far.got.flatMap((packet) => (packet.type === PUBLISH ? packet.qos : []))).toEqual([1, 1])
    expect(owner.ids(PUBREC)).toEqual([1, 2])
    expect(owner.ids(PUBCOMP)).toEqual([1, 2])
    expect(far.of(PUBREL)).toEqual([])
    expect(limited()).toEqual(['upstream-limited: takes messages with QoS 1 at most'])
  })

  test('QoS 2 is sent as QoS 1 if no more is wanted, and nobody is asked what is served', () => {
    link = near.open(owner, { ofSensor: { heldMessages: 1, heldBytes: 1000 } }, { version: 4, maximumQos: 1 })
    near.connect(link)
    near.publish(link, 'a', 'x', 2, 1)
    expect(far.got.flatMap((packet) => (packet.type === PUBLISH ? packet.qos : []))).toEqual([1])
    expect(owner.ids(PUBCOMP)).toEqual([1])
    expect(far.of(PacketType.SUBSCRIBE)).toEqual([])
    expect(limited()).toEqual([])
  })

  test('Maximum QoS 0: everything is sent as QoS 0, and acknowledged when it is written', () => {
    far.connack = { maximumQoS: 0 }
    near.connect(link)
    near.publish(link, 'a', 'x', 1, 1)
    near.publish(link, 'a', 'x', 2, 2)
    expect(far.got.flatMap((packet) => (packet.type === PUBLISH ? packet.qos : []))).toEqual([0, 0])
    expect(owner.ids(PUBACK)).toEqual([1])
    expect(owner.ids(PUBCOMP)).toEqual([2])
  })

  test('PUBACK for QoS 2, as RabbitMQ answers', () => {
    far.script = (packet) => (packet.type === PUBLISH ? response(PUBACK, packet.packetId) : 'usual')
    near.connect(link)
    near.publish(link, 'a', 'x', 2, 1)
    expect(owner.ids(PUBCOMP)).toEqual([1])
    expect(far.of(PUBREL)).toEqual([])
    expect(limited()).toEqual(['upstream-limited: takes messages with QoS 1 at most'])
  })

  test('nothing is retained there', () => {
    far.connack = { retainAvailable: false }
    near.connect(link)
    for (const id of [1, 2]) near.publish(link, 'a', 'x', 1, id, { retain: true })
    expect(far.got.flatMap((packet) => (packet.type === PUBLISH ? packet.retain : []))).toEqual([false, false])
    expect(limited()).toEqual(['upstream-limited: keeps no retained messages: they are passed on as others'])
  })

  test('topic aliases are used where it has them', () => {
    far.connack = { topicAliasMaximum: 1 }
    near.connect(link)
    for (const id of [1, 2]) near.publish(link, 'a/long/topic', 'x', 1, id)
    near.publish(link, 'another/long/topic', 'x', 1, 3)
    expect(far.got.flatMap((packet) => (packet.type === PUBLISH ? [[packet.topic, packet.properties.topicAlias]] : []))).toEqual([
      ['a/long/topic', 1],
      ['', 1],
      ['another/long/topic', undefined],
    ])
    // They last as long as the stream.
    far.connack = {}
    reconnect()
    near.publish(link, 'a/long/topic', 'x', 1, 4)
    expect(far.stream.got.at(-1)).toMatchObject({ topic: 'a/long/topic', properties: {} })
  })
})

describe('refusals', () => {
  test.each([
    ['not authorized', ReasonCode.NOT_AUTHORIZED, 1],
    ['topic name invalid', ReasonCode.TOPIC_NAME_INVALID, 2],
    ['payload format invalid', ReasonCode.PAYLOAD_FORMAT_INVALID, 1],
  ] as const)('%s: given up at once', (_name, code, qos) => {
    far.script = (packet) =>
      packet.type === PUBLISH && packet.packetId === 1 ? response(qos === 1 ? PUBACK : PUBREC, 1, code) : 'usual'
    near.connect(link)
    near.publish(link, 'no', 'x', qos, 1)
    near.publish(link, 'yes', 'x', qos, 2)
    expect(owner.codes(qos === 1 ? PUBACK : PUBREC)).toEqual([0x83, 0])
    expect(dropped()).toHaveLength(1)
    expect(dropped()[0]).toContain(`message on no with QoS ${qos} is given up: refused: ${_name}`)
    expect(link.inFlight).toBe(0)
  })

  test('a quota: the message waits, and those behind it, in order', () => {
    far.script = (packet) => (packet.type === PUBLISH ? response(PUBACK, packet.packetId, ReasonCode.QUOTA_EXCEEDED) : 'usual')
    near.connect(link)
    for (const id of [1, 2, 3]) near.publish(link, 'a', 'x', 1, id)
    expect(far.of(PUBLISH)).toEqual(['1'])
    near.advance(600_000)
    // From a second on, and at last once a minute.
    expect(far.of(PUBLISH).length).toBeGreaterThan(10)
    expect(far.of(PUBLISH).length).toBeLessThan(40)
    expect(new Set(far.of(PUBLISH))).toEqual(new Set(['1']))
    expect(owner.ids(PUBACK)).toEqual([])
    expect(link.status.lastError).toBe('a message waits: refused: quota exceeded (0x97)')
    expect(limited()).toHaveLength(1)
    far.script = () => 'usual'
    near.advance(60_000)
    expect(owner.ids(PUBACK)).toEqual([1, 2, 3])
    expect(link.status.givenUp).toBe(0)
  })

  test('several of one window are refused for a quota: their order stays', () => {
    far.script = (packet) => (packet.type === PUBLISH ? undefined : 'usual')
    near.connect(link)
    for (const id of [1, 2, 3, 4]) near.publish(link, 'a', 'x', 1, id)
    for (const id of [1, 2, 3, 4]) far.send(response(PUBACK, id, ReasonCode.QUOTA_EXCEEDED))
    near.run()
    far.script = () => 'usual'
    near.advance(60_000)
    expect(far.of(PUBLISH).slice(4)).toEqual(['1', '2', '3', '4'])
    expect(owner.ids(PUBACK)).toEqual([1, 2, 3, 4])
  })

  test('another error is tried five times', () => {
    far.script = (packet) => (packet.type === PUBLISH && packet.packetId === 1 ? response(PUBREC, 1, 0x80) : 'usual')
    near.connect(link)
    near.publish(link, 'a', 'x', 2, 1)
    near.publish(link, 'a', 'x', 2, 2)
    near.advance(300_000)
    expect(far.of(PUBLISH)).toEqual(['1', '1', '1', '1', '1', '2'])
    expect(dropped()).toEqual(['message-dropped: message on a with QoS 2 is given up: refused: unspecified error (0x80)'])
  })

  test('answers for what is not in flight are ignored, and told once', () => {
    near.connect(link)
    for (const id of [9, 10, 11]) {
      far.send(response(PUBACK, id))
      far.send(response(PUBCOMP, id))
    }
    near.run()
    expect(link.status.state).toBe('up')
    expect(limited()).toEqual([
      'upstream-limited: PUBACK for a packet id which is not in flight: ignored',
      'upstream-limited: PUBCOMP for a packet id which is not in flight: ignored',
    ])
  })

  test('PUBREC for QoS 1 and PUBCOMP before PUBREL are ignored', () => {
    far.script = (packet) => (packet.type === PUBLISH ? undefined : 'usual')
    near.connect(link)
    near.publish(link, 'a', 'x', 1, 1)
    near.publish(link, 'a', 'x', 2, 2)
    far.send(response(PUBREC, 1))
    far.send(response(PUBCOMP, 2))
    near.run()
    expect(link.inFlight).toBe(2)
    expect(owner.ids(PUBCOMP)).toEqual([])
  })
})

describe('a message after which the far side closes the stream', () => {
  test('is given up after the second time, and the others go on', () => {
    far.sessionPresent = true
    far.script = (packet) => (packet.type === PUBLISH && packet.topic === 'bad' ? 'close' : 'usual')
    near.connect(link)
    near.publish(link, 'bad', 'x', 1, 1)
    near.publish(link, 'good', 'x', 1, 2)
    near.advance(300_000)
    expect(owner.ids(PUBACK)).toEqual([1, 2])
    expect(owner.codes(PUBACK)).toEqual([0x83, 0])
    expect(dropped()).toEqual([
      'message-dropped: message on bad with QoS 1 is given up: it closed the connection 2 times after it',
    ])
    expect(link.status.state).toBe('up')
    expect(far.of(PUBLISH).filter((id) => id.startsWith('1')).length).toBeLessThan(5)
  })

  test('in the midst of others is found by sending them one by one', () => {
    far.sessionPresent = true
    far.script = (packet) => {
      if (packet.type !== PUBLISH) return 'usual'
      // It answers nothing before it has read everything.
      return packet.topic === 'bad' ? 'close' : undefined
    }
    near.connect(link)
    for (let id = 1; id <= 4; id++) link.send(near.now, publish(id === 3 ? 'bad' : 'good', id))
    far.script = (packet) => (packet.type === PUBLISH && packet.topic === 'bad' ? 'close' : 'usual')
    near.run()
    near.advance(600_000)
    expect(givenUp()).toEqual([3])
    expect(owner.ids(PUBCOMP)).toEqual([1, 2, 3, 4])
    expect(dropped()).toHaveLength(1)
  })

  test('is released, and then refused, where a sensor has to hear of it', () => {
    link = near.open(owner, { ofSensor: { heldMessages: 1, heldBytes: 1000 } }, { version: 5 })
    far.sessionPresent = true
    far.script = (packet) => (packet.type === PUBLISH && packet.topic === 'bad' ? 'close' : 'usual')
    near.connect(link)
    link.send(near.now, publish('bad', 1))
    link.send(near.now, publish('good', 2))
    // The sensor repeats what is not answered.
    for (let times = 0; times < 9; times++) {
      near.advance(10_000)
      if (link.outbound.resend()) near.upstream.markDirty(link)
      near.run()
    }
    expect(far.got.filter(({ type }) => type === PUBREL)).toMatchObject([{ packetId: 1 }, { packetId: 2 }])
    expect(owner.codes(PUBREC)).toEqual([0x83, 0])
    expect(owner.ids(PUBCOMP)).toEqual([2])
  })

  test('one that a sensor has left is refused by a quota: it is not sent again, and the next one does not wait', () => {
    link = near.open(owner, { ofSensor: { heldMessages: 1, heldBytes: 1000 } }, { version: 5 })
    far.script = (packet) => (packet.type === PUBLISH ? undefined : 'usual')
    near.connect(link)
    link.send(near.now, publish('old', 1))
    near.run()
    link.outbound.leave(true)
    far.send(response(PUBREC, 1, ReasonCode.QUOTA_EXCEEDED))
    expect(link.inFlight).toBe(0)
    link.send(near.now, publish('new', 2))
    near.run()
    near.advance(90_000)
    expect(far.of(PUBLISH)).toEqual(['1', '2'])
  })

  test('every PUBLISH: each is given up with a line, and there is no loop', () => {
    far.sessionPresent = true
    far.script = (packet) => (packet.type === PUBLISH ? 'close' : 'usual')
    near.connect(link)
    for (const id of [1, 2, 3]) near.publish(link, 'a', 'x', 1, id)
    near.advance(3_600_000)
    expect(owner.ids(PUBACK)).toEqual([1, 2, 3])
    expect(dropped()).toHaveLength(3)
    expect(near.dialled.length).toBeLessThan(12)
  })

  test('says nothing about the client id, and what waits behind it goes on soon', () => {
    far.sessionPresent = true
    // The first stream answers what is before it; the others close behind it, or behind it and what follows.
    far.script = (packet) => (packet.type === PUBLISH && packet.topic === 'bad' ? 'close' : 'usual')
    near.connect(link)
    for (let id = 1; id <= 20; id++) link.send(near.now, publish(id % 5 === 0 ? 'bad' : 'good', id))
    near.run()
    near.advance(90_000)
    expect(givenUp()).toEqual([5, 10, 15, 20])
    expect(owner.ids(PUBCOMP)).toHaveLength(20)
    expect(dropped()).toHaveLength(4)
    expect(near.codes().filter((line) => line.includes('another client'))).toEqual([])
    expect(link.status.state).toBe('up')
  })

  test.each([
    ['server busy', ReasonCode.SERVER_BUSY],
    ['server shutting down', ReasonCode.SERVER_SHUTTING_DOWN],
    ['keep alive timeout', ReasonCode.KEEP_ALIVE_TIMEOUT],
    ['session taken over', ReasonCode.SESSION_TAKEN_OVER],
    ['administrative action', ReasonCode.ADMINISTRATIVE_ACTION],
    ['use another server', ReasonCode.USE_ANOTHER_SERVER],
    ['connection rate exceeded', ReasonCode.CONNECTION_RATE_EXCEEDED],
  ])('is not to blame when the far side has another reason: %s', (_name, reasonCode) => {
    far.sessionPresent = true
    const disconnect = { type: PacketType.DISCONNECT, reasonCode, properties: {} } as const
    far.script = (packet) => (packet.type === PUBLISH ? disconnect : 'usual')
    near.connect(link)
    near.publish(link, 'a', 'x', 1, 1)
    near.advance(600_000)
    expect(far.of(PUBLISH).length).toBeGreaterThan(4)
    expect(dropped()).toEqual([])
    far.script = () => 'usual'
    near.advance(70_000)
    expect(owner.codes(PUBACK)).toEqual([0])
  })

  test('is to blame when the far side says so in DISCONNECT', () => {
    far.sessionPresent = true
    const disconnect = { type: PacketType.DISCONNECT, reasonCode: ReasonCode.NOT_AUTHORIZED, properties: {} } as const
    far.script = (packet) => (packet.type === PUBLISH ? disconnect : 'usual')
    near.connect(link)
    near.publish(link, 'a', 'x', 1, 1)
    near.advance(600_000)
    expect(far.of(PUBLISH)).toHaveLength(2)
    expect(owner.codes(PUBACK)).toEqual([0x83])
  })

  test.each(['nobody listens', 'a proxy closes'])('an outage is no reason to give anything up: %s', (how) => {
    far.sessionPresent = true
    let isAway = false
    far.script = ({ type }) => (isAway && type === PacketType.CONNECT ? 'close' : type === PUBLISH ? undefined : 'usual')
    near.connect(link)
    near.publish(link, 'a', 'x', 1, 1)
    for (let i = 0; i < 10; i++) {
      // Its process has ended.
      isAway = true
      far.close()
      if (how === 'nobody listens') far.away.add('mqtt://far:1883')
      near.advance(70_000)
      far.away.clear()
      isAway = false
      // It ends again as soon as it is back.
      for (let left = 1200; left > 0 && link.status.state !== 'up'; left--) near.advance(500)
      expect(link.status.state).toBe('up')
    }
    expect(link.status.givenUp).toBe(0)
    far.script = () => 'usual'
    far.close()
    near.advance(120_000)
    expect(owner.codes(PUBACK)).toEqual([0])
  })

  test('nor is a line that breaks later', () => {
    far.sessionPresent = true
    far.script = (packet) => (packet.type === PUBLISH ? undefined : 'usual')
    near.connect(link)
    near.publish(link, 'a', 'x', 1, 1)
    for (let i = 0; i < 10; i++) {
      near.advance(4_000)
      far.close()
      near.advance(70_000)
    }
    expect(link.status.givenUp).toBe(0)
  })
})

test('forget: packet ids begin anew', () => {
  far.script = (packet) => (packet.type === PUBLISH ? undefined : 'usual')
  near.connect(link)
  near.publish(link, 'a', 'old', 1, 1)
  link.send(near.now, { type: PacketType.DISCONNECT, reasonCode: 0, properties: {} })
  link.forget()
  expect(link.inFlight).toBe(0)
  far.script = () => 'usual'
  near.connect(link, { cleanStart: true })
  near.publish(link, 'a', 'new', 1, 1)
  expect(far.of(PUBLISH, far.stream.got)).toEqual(['1'])
  expect(owner.ids(PUBACK)).toEqual([1])
  expect(near.upstream.held.sum).toBe(0)
})

function publish(topic: string, packetId: number): Publish {
  return Publish.of(topic, Buffer.from('x'), 2, false, packetId)
}

import { beforeEach, describe, expect, test } from 'vitest'
import { COST } from '../../src/base/memory-costs.ts'
import { PacketType } from '../../src/mqtt/packets.ts'
import { NO_PROPERTIES } from '../../src/mqtt/properties.ts'
import { ReasonCode } from '../../src/mqtt/reason-codes.ts'
import { backoffMs } from '../../src/upstream/targets.ts'
import type { UpstreamLink } from '../../src/upstream/upstream-link.ts'
import { connectPacket, Dialling, Owner, target } from './pair.ts'
import { ScriptedFar } from './scripted-far.ts'

const { CONNECT, CONNACK, PINGREQ, DISCONNECT, SUBSCRIBE } = PacketType

let near: Dialling
let far: ScriptedFar
let owner: Owner

beforeEach(() => {
  near = new Dialling()
  far = new ScriptedFar(near)
  owner = new Owner()
})

const downs = (): string[] => near.notices.flatMap(({ code, reason }) => (code === 'upstream-down' ? [reason!] : []))
const ups = (): string[] => near.notices.flatMap(({ code, reason }) => (code === 'upstream-up' ? [reason!] : []))
/** Version and bridge bit of each CONNECT. */
const versions = (): string[] =>
  far.got.flatMap((each) => (each.type === CONNECT ? `${each.protocolVersion}${each.bridge ? ' bridge' : ''}` : []))

describe('CONNECT', () => {
  test('is the one of the owner, with the limits of the link', () => {
    const link = near.open(owner, { window: 33, maxPacketSize: 5000 }, { version: 5 })
    const will = { topic: 'state', payload: Buffer.from('0'), qos: 1 as const, retain: true, properties: NO_PROPERTIES }
    near.connect(link, { clientId: 'b1', username: 'u', password: Buffer.from('p'), will, keepAlive: 77 })
    expect(far.stream.connect).toMatchObject({
      ...{ clientId: 'b1', username: 'u', cleanStart: false, keepAlive: 77, protocolVersion: 5 },
      properties: { sessionExpiryInterval: 3600, receiveMaximum: 33, maximumPacketSize: 5000, topicAliasMaximum: 64 },
    })
    expect(far.stream.connect!.will).toMatchObject({ topic: 'state', retain: true })
  })

  test('continues the session of the first stream, unless it ends with each', () => {
    const lasting = near.open(owner, { name: 'lasting' }, { version: 5 })
    near.connect(lasting, { cleanStart: true })
    const brief = near.open(owner, { name: 'brief' }, { version: 5 })
    near.connect(brief, { cleanStart: true, properties: NO_PROPERTIES })
    near.breakAll()
    near.advance(10_000)
    expect(far.got.flatMap((each) => (each.type === CONNECT ? each.cleanStart : []))).toEqual([true, true, false, true])
  })

  test('before 5.0 makes the session clean first, and lasting by a second one', () => {
    const link = near.open(owner, {}, { version: 4 })
    const will = { topic: 'state', payload: Buffer.from('0'), qos: 1 as const, retain: true, properties: NO_PROPERTIES }
    link.send(near.now, connectPacket({ cleanStart: true, will }))
    near.subscribe(link, 1, { filter: 'a' })
    near.advance(0)
    // The session of the first stream takes nothing, because all of it is lost.
    expect(far.got.map((each) => (each.type === CONNECT ? [each.cleanStart, each.will?.topic] : each.type))).toEqual([
      [true, undefined],
      DISCONNECT,
      [false, 'state'],
      SUBSCRIBE,
    ])
    expect(owner.codes(CONNACK)).toEqual([0])
    expect(link.status).toMatchObject({ state: 'up', connects: 1 })
  })

  test('a client id that the far side assigns is kept', () => {
    far.connack = { assignedClientIdentifier: 'auto-7' }
    const link = near.open(owner, {}, { version: 5 })
    near.connect(link, { clientId: '' })
    near.breakAll()
    near.advance(10_000)
    expect(far.stream.connect!.clientId).toBe('auto-7')
  })

  test('goodbye, and another CONNECT continues', () => {
    const link = near.open(owner)
    near.connect(link)
    link.send(near.now, { type: DISCONNECT, reasonCode: 0, properties: NO_PROPERTIES })
    near.run()
    expect(far.got.at(-1)).toMatchObject({ type: DISCONNECT })
    near.advance(600_000)
    expect(link.status.state).toBe('off')
    expect(near.dialled).toHaveLength(1)
    near.connect(link)
    expect(link.status.state).toBe('up')
    link.lost(near.now, 'test')
    near.run()
    expect(far.of(DISCONNECT)).toHaveLength(1)
    expect(near.streams.size).toBe(0)
  })
})

describe('the version', () => {
  test.each([
    ['5.0', [3, 4, 5], ['5'], 'MQTT 5.0, new session'],
    ['3.1.1, which says so', [4], ['5', '4'], 'MQTT 3.1.1, new session'],
  ] as const)('of a far side that speaks %s', (_name, speaks, wanted, up) => {
    far.speaks = [...speaks]
    const link = near.open(owner)
    near.connect(link)
    near.advance(60_000)
    expect(versions()).toEqual(wanted)
    expect(ups()).toEqual([up])
    expect(owner.codes(CONNACK)).toEqual([0])
    // And is remembered.
    near.breakAll()
    near.advance(10_000)
    expect(versions()).toEqual([...wanted, wanted.at(-1)])
  })

  test('of a far side that closes instead of answering, after the second time', () => {
    far.script = (packet) => (packet.type === CONNECT && packet.protocolVersion === 5 ? 'close' : 'usual')
    const link = near.open(owner)
    near.connect(link)
    near.advance(60_000)
    expect(versions()).toEqual(['5', '5', '4'])
    expect(downs()).toEqual([
      'closed before CONNACK: closed by the far side (or is this a port for TLS?)',
      'closed before CONNACK: closed by the far side; another version is tried',
    ])
  })

  test('has the bridge bit before 5.0, as long as the far side takes it', () => {
    far.script = (packet) =>
      packet.type === CONNECT && (packet.protocolVersion === 5 || packet.bridge) ? far.accept(0x84) : 'usual'
    const link = near.open(owner, {}, {}, true)
    near.connect(link, { bridge: true })
    near.advance(60_000)
    expect(versions()).toEqual(['5', '4 bridge', '4'])
    expect(link.status.version).toBe(4)
  })

  test('that is configured is the only one', () => {
    far.speaks = [4]
    const link = near.open(owner, {}, { version: 5 })
    near.connect(link)
    near.advance(120_000)
    expect(new Set(versions())).toEqual(new Set(['5']))
    expect(downs()).toEqual(['CONNECT is refused: unsupported protocol version (0x84)'])
    expect(owner.codes(CONNACK)).toEqual([0x84])
  })

  test('is looked for again if another broker is there', () => {
    const link = near.open(owner)
    near.connect(link)
    far.script = (packet) => (packet.type === CONNECT && packet.protocolVersion === 5 ? 'close' : 'usual')
    near.breakAll()
    near.advance(600_000)
    expect(link.status).toMatchObject({ state: 'up', version: 4 })
  })
})

describe('attempts', () => {
  test('come after one second at first and a minute at last, with one line', () => {
    far.away.add('mqtt://far:1883')
    const link = near.open(owner)
    near.connect(link)
    const at: number[] = []
    for (let seen = 1; near.now < 600_000; near.advance(100)) {
      if (near.dialled.length > seen) at.push(near.now)
      seen = near.dialled.length
    }
    const waits = at.map((when, i) => when - (at[i - 1] ?? 0))
    expect(waits[0]).toBeGreaterThanOrEqual(1000)
    expect(waits[0]).toBeLessThanOrEqual(2200)
    expect(Math.max(...waits)).toBeLessThanOrEqual(60_200)
    expect(waits.at(-1)).toBeGreaterThan(20_000)
    expect(downs()).toEqual(['connect ECONNREFUSED'])
    expect(link.status).toMatchObject({ lastError: 'connect ECONNREFUSED', dials: near.dialled.length })
    expect(link.targets.isOpen).toBe(true)
    far.away.clear()
    near.advance(60_000)
    expect(link.status.state).toBe('up')
    expect(link.targets.isOpen).toBe(false)
  })

  test('the backoff is spread over its whole range', () => {
    const range = { baseMs: 1000, maxMs: 60_000 }
    expect(backoffMs(range, 0, () => 0)).toBe(1000)
    expect(backoffMs(range, 0, () => 1)).toBe(2000)
    expect(backoffMs(range, 3, () => 0)).toBe(1000)
    expect(backoffMs(range, 3, () => 1)).toBe(16_000)
    expect(backoffMs(range, 1000, () => 1)).toBe(60_000)
    // Mosquitto's restart_timeout with one value.
    expect(backoffMs({ baseMs: 5000, maxMs: 5000 }, 7, () => 0.7)).toBe(5000)
  })

  test('go to the addresses in turn, and back to the first when it answers again and nothing is in flight', () => {
    const addresses = ['mqtt://a:1883', 'mqtt://b:1883', 'mqtt://c:1883'].map(target)
    for (const { url } of addresses.slice(0, 2)) far.away.add(url)
    const link = near.open(owner, {}, { addresses })
    near.connect(link)
    near.advance(0)
    expect(near.dialled).toEqual(['mqtt://a:1883', 'mqtt://b:1883', 'mqtt://c:1883'])
    expect(link.status.target).toBe('mqtt://c:1883')
    near.advance(100_000)
    expect(near.dialled.slice(3).every((url) => url === 'mqtt://a:1883')).toBe(true)
    expect(near.dialled.length).toBeGreaterThan(4)
    far.away.clear()
    far.script = (packet) => (packet.type === PacketType.PUBLISH ? undefined : 'usual')
    near.publish(link, 'a', 'x', 1, 1)
    near.advance(100_000)
    expect(link.status.target).toBe('mqtt://c:1883')
    far.send(
      { type: PacketType.PUBACK, packetId: 1, reasonCode: 0, properties: NO_PROPERTIES },
      far.streams.find(({ url }) => url.includes('//c')),
    )
    near.run()
    near.advance(100_000)
    expect(link.status).toMatchObject({ state: 'up', target: 'mqtt://a:1883' })
    expect(near.streams.size).toBe(1)
    expect(downs()).toHaveLength(2)
  })

  test('round robin goes to the next address after each loss, and stays', () => {
    const addresses = ['mqtt://a:1883', 'mqtt://b:1883'].map(target)
    const link = near.open(owner, {}, { addresses, roundRobin: true })
    near.connect(link)
    for (let i = 0; i < 3; i++) {
      near.advance(20_000)
      near.breakAll()
      near.advance(20_000)
    }
    expect(near.dialled).toEqual(['mqtt://a:1883', 'mqtt://b:1883', 'mqtt://a:1883', 'mqtt://b:1883'])
    expect(link.status.state).toBe('up')
  })

  test('of many links stay within the budget, and one probes a target that is away', () => {
    near = new Dialling({ upstream: { dialsPerSecond: 10 } })
    far = new ScriptedFar(near)
    const shared = near.targets()
    const links = Array.from({ length: 100 }, (_, i) => near.open(owner, { name: `l${i}` }, shared))
    for (const [i, link] of links.entries()) near.connect(link, { clientId: `c${i}` })
    near.advance(2_000)
    expect(near.dialled.length).toBeGreaterThan(25)
    expect(near.dialled.length).toBeLessThanOrEqual(31)
    near.advance(10_000)
    expect(links.every(({ status }) => status.state === 'up')).toBe(true)
    far.away.add('mqtt://far:1883')
    const before = near.dialled.length
    near.breakAll()
    near.advance(300_000)
    // Ten a second would be 3,000.
    expect(near.dialled.length - before).toBeLessThan(60)
    far.away.clear()
    near.advance(120_000)
    expect(links.every(({ status }) => status.state === 'up')).toBe(true)
  })

  test('a far side that accepts the connection and says nothing', () => {
    far.script = (packet) => (packet.type === CONNECT ? undefined : 'usual')
    const link = near.open(owner)
    near.connect(link)
    near.advance(9_000)
    expect(link.status.state).toBe('connecting')
    near.advance(200_000)
    expect(downs()).toEqual(['no CONNACK within 10 s'])
    far.script = () => 'usual'
    near.advance(120_000)
    expect(link.status.state).toBe('up')
  })

  test.each([
    ['garbage', '48454c4c4f0d0a', /^the answer is not CONNACK$/],
    ['an HTTP error', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n').toString('hex'), /^this is HTTP, and not MQTT$/],
    ['PUBLISH before CONNACK', '30050001610078', /^the answer is not CONNACK$/],
    ['CONNACK with reserved flags', '2003800000', /^the answer is not MQTT: reserved acknowledge flags$/],
    [
      'a second packet that is too large',
      '200300000030ffffff7f',
      /^malformed packet: packet of 268435460 bytes is above 1048576/,
    ],
  ])('a far side that answers with %s: one line, no loop', (_name, hex, line) => {
    far.script = (packet, stream) => {
      if (packet.type !== CONNECT) return 'usual'
      far.raw(Buffer.from(hex, 'hex'), stream)
      return undefined
    }
    const link = near.open(owner, {}, { version: 5 })
    near.connect(link)
    near.advance(600_000)
    expect(downs()[0]).toMatch(line)
    expect(new Set(downs()).size).toBe(1)
    expect(near.dialled.length).toBeLessThan(40)
  })
})

describe('refusals', () => {
  test.each([
    [ReasonCode.BAD_USER_NAME_OR_PASSWORD, 'bad user name or password (0x86)'],
    [ReasonCode.NOT_AUTHORIZED, 'not authorized (0x87)'],
    [ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, 'client identifier not valid (0x85)'],
    [ReasonCode.BANNED, 'banned (0x8a)'],
    [ReasonCode.QUOTA_EXCEEDED, 'quota exceeded (0x97)'],
  ])('of this client (0x%s) say why, once, and do not keep others from the target', (code, words) => {
    far.script = (packet) => (packet.type === CONNECT && packet.clientId === 'bad' ? far.accept(code) : 'usual')
    const shared = near.targets({ version: 5 })
    const bad = near.open(owner, { name: 'bad' }, shared)
    near.connect(bad, { clientId: 'bad' })
    near.advance(600_000)
    expect(downs()).toEqual([`CONNECT is refused: ${words}`])
    expect(near.dialled.length).toBeLessThan(40)
    expect(owner.codes(CONNACK)).toEqual([code])
    const good = near.open(new Owner(), { name: 'good' }, shared)
    near.connect(good, { clientId: 'good' })
    expect(good.status.state).toBe('up')
    // The operator of the far side corrects it.
    far.script = () => 'usual'
    near.advance(60_000)
    expect(bad.status.state).toBe('up')
  })

  test('with a reason string and a server reference', () => {
    far.script = (packet) =>
      packet.type === CONNECT ? far.accept(0x9d, { reasonString: 'moved', serverReference: 'other.example' }) : 'usual'
    near.connect(near.open(owner, {}, { version: 5 }))
    expect(downs()).toEqual([
      "CONNECT is refused: server moved (0x9d): moved; it refers to 'other.example': change the address if that is right",
    ])
  })
})

describe('a stream that is up', () => {
  let link: UpstreamLink

  beforeEach(() => {
    link = near.open(owner, {}, { version: 5 })
  })

  test('is kept alive, and its round trip measured', () => {
    near.connect(link, { keepAlive: 30 })
    near.advance(100_000)
    expect(far.of(PINGREQ).length).toBeGreaterThanOrEqual(3)
    expect(link.status).toMatchObject({ state: 'up', roundTripMs: 0 })
  })

  test('heeds Server Keep Alive, and sends no PINGREQ without keep alive', () => {
    far.connack = { serverKeepAlive: 10 }
    near.connect(link, { keepAlive: 600 })
    near.advance(35_000)
    expect(far.of(PINGREQ)).toHaveLength(3)
    far.connack = {}
    const second = near.open(owner, { name: 'second' }, { version: 5 })
    near.connect(second, { keepAlive: 0 })
    const before = far.of(PINGREQ).length
    link.lost(near.now, 'test')
    near.advance(1_000_000)
    expect(far.of(PINGREQ)).toHaveLength(before)
  })

  test('is half open: it is given up, though it is written to all the time', () => {
    near.connect(link, { keepAlive: 60 })
    far.script = () => undefined
    for (let i = 0; i < 100; i++) {
      near.publish(link, 'a', 'x', 0, 0)
      near.advance(1_000)
    }
    expect(downs()).toEqual(['no answer to PINGREQ within 30 s'])
  })

  test('is half open, with a long keep alive: it is given up a minute after a message', () => {
    near.connect(link, { keepAlive: 900 })
    near.advance(300_000)
    far.script = () => undefined
    near.publish(link, 'a', 'x', 1, 1)
    near.advance(29_999)
    expect(far.of(PINGREQ)).toHaveLength(0)
    near.advance(1)
    expect(far.of(PINGREQ)).toHaveLength(1)
    near.advance(30_000)
    expect(downs()).toEqual(['no answer to PINGREQ within 30 s'])
  })

  test('stays, if a message is not answered but PINGREQ is', () => {
    near.connect(link, { keepAlive: 900 })
    far.script = (packet) => (packet.type === PacketType.PUBLISH ? undefined : 'usual')
    near.publish(link, 'a', 'x', 1, 1)
    near.advance(100_000)
    expect(far.of(PINGREQ)).toHaveLength(3)
    expect(link.status.state).toBe('up')
    expect(downs()).toEqual([])
  })

  test('is not asked for answers to messages that get none, or have theirs', () => {
    near.connect(link, { keepAlive: 900 })
    near.publish(link, 'a', 'x', 1, 1)
    near.publish(link, 'a', 'y', 0, 0)
    near.advance(800_000)
    expect(far.of(PINGREQ)).toHaveLength(0)
  })

  test('a process that did not run for a while does not give it up', () => {
    near.connect(link, { keepAlive: 60 })
    far.script = () => undefined
    near.advance(61_000)
    expect(far.of(PINGREQ)).toHaveLength(1)
    // For five minutes; PINGRESP waits in the socket.
    near.now += 300_000
    near.server.handle(near.now, { kind: 'paused', ms: 300_000 })
    near.server.handleTimeout(near.now)
    far.send({ type: PacketType.PINGRESP })
    near.run()
    expect(link.status.state).toBe('up')
  })

  test('DISCONNECT of the far side is told with its reason', () => {
    near.connect(link)
    near.advance(20_000)
    far.send({ type: DISCONNECT, reasonCode: 0x8b, properties: { reasonString: 'update' } })
    near.run()
    expect(downs()).toEqual(['DISCONNECT: server shutting down (0x8b): update'])
    near.advance(3_000)
    expect(link.status.state).toBe('up')
  })

  test('taken over by another client: it waits a minute before it takes the session back', () => {
    near.connect(link, { clientId: 'b1' })
    near.advance(20_000)
    far.send({ type: DISCONNECT, reasonCode: 0x8e, properties: NO_PROPERTIES })
    near.run()
    expect(downs()).toEqual(["DISCONNECT: session taken over (0x8e): another client has connected with the client id 'b1'"])
    near.advance(59_000)
    expect(near.dialled).toHaveLength(1)
    near.advance(2_000)
    expect(near.dialled).toHaveLength(2)
  })

  test('closed at once, three times: another client may have the client id, and it waits a minute', () => {
    near.connect(link)
    while (downs().length < 3) {
      while (link.status.state !== 'up') near.advance(100)
      near.breakAll('closed')
    }
    const dials = near.dialled.length
    near.advance(59_000)
    expect(near.dialled).toHaveLength(dials)
    expect(downs().at(-1)).toBe("closed, 3 times in a row within 5 s of CONNACK: does another client have the client id 'link'?")
  })

  test('AUTH, CONNACK and SUBSCRIBE from the far side end it with a line', () => {
    for (const [hex, line] of [
      ['f00118', 'AUTH: enhanced authentication is not supported'],
      ['2003000000', 'CONNACK out of turn'],
      ['8206000100000161', 'malformed packet: packet type 8 is not for this side to send'],
    ] as const) {
      const each = near.open(owner, { name: line }, { version: 5 })
      near.connect(each)
      far.raw(Buffer.from(hex, 'hex'))
      near.run()
      expect(each.status.lastError).toBe(line)
      each.lost(near.now, 'test')
    }
  })

  test('stop says goodbye', () => {
    near.connect(link)
    near.upstream.stop(near.now)
    near.run()
    expect(far.of(DISCONNECT)).toHaveLength(1)
    near.advance(600_000)
    expect(near.dialled).toHaveLength(1)
  })

  test('its memory is counted, and given back', () => {
    const before = near.server.memory.used
    near.connect(link)
    near.subscribe(link, 1, { filter: 'a' })
    expect(near.server.memory.used).toBeGreaterThanOrEqual(before + COST.dialled)
    link.listen(near.now, false)
    far.publish('a', 'x'.repeat(10_000), 1, 1)
    expect(near.server.memory.used).toBeGreaterThan(before + COST.dialled + 10_000)
    link.listen(near.now, true)
    near.run()
    link.lost(near.now, 'test')
    link.forget()
    expect(near.upstream.held.sum).toBe(0)
  })
})

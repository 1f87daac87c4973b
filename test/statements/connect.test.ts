import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import type { Connect } from '../../src/mqtt/packets.ts'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { connectPacket, PERSISTENT, TestBroker, text, will } from '../broker/harness.ts'
import { disconnect, LASTING, publish, subscribe } from '../mqtt/requests.ts'
import { Wire } from '../mqtt/wire.ts'

// Chapters 3.1 (CONNECT) and 4.1 (session state) of MQTT 5.0; of 3.1.1 where it says the same.

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5]

/** A session that outlives its connection. */
const lasting = (protocolVersion: ProtocolVersion): Partial<Connect> =>
  protocolVersion === 5 ? LASTING : { protocolVersion, cleanStart: false }

/** CONNECT by its fields behind the connect flags, as hex. */
function connectHex(version: ProtocolVersion, flags: string, fields: string): string {
  const start = version === 3 ? '00064d514973647003' : `00044d5154540${version}`
  const body = `${start}${flags}0000${version === 5 ? '00' : ''}${fields.replaceAll(' ', '')}`
  return `10${(body.length / 2).toString(16).padStart(2, '0')}${body}`
}

/** What comes of these bytes on a new connection: the first byte and the reason code of CONNACK, and the end. */
function answerTo(hex: string, wire = new Wire()): string[] {
  const connection = wire.open()
  wire.sendHex(connection, hex)
  return wire.out(connection).map((out) => (out.startsWith('20') ? `CONNACK 0x${out.slice(6, 8)}` : out))
}

/** How a CONNECT ends that is not what it should be. */
const malformed = (version: ProtocolVersion): string[] => (version === 5 ? ['CONNACK 0x81', 'close'] : ['close'])

function connected(wire: Wire, options: Partial<Connect> = {}): number {
  const connection = wire.connect(options)
  wire.out(connection)
  return connection
}

function watcherOf(wire: Wire): number {
  const watcher = connected(wire, { clientId: 'watcher', ...LASTING })
  wire.send(watcher, subscribe('w/#', 2))
  wire.out(watcher)
  return watcher
}

describe.each(VERSIONS)('sessions (version %i)', (version) => {
  test('MQTT-3.1.2-4: a clean start discards the session', () => {
    const wire = Wire.stored()
    wire.send(connected(wire, { clientId: 'c', ...lasting(version) }), subscribe('a', 1))
    wire.close(1)
    wire.send(connected(wire, { clientId: 'p' }), publish('a', 'old', 1))
    const again = connected(wire, { clientId: 'c', ...lasting(version), cleanStart: true })
    expect(wire.broker.subscriptionCount).toBe(0)
    wire.send(2, publish('a', 'new', 1))
    expect(wire.lines(again)).toEqual([])
    expect(wire.restarted().broker.subscriptionCount).toBe(0)
  })

  test('MQTT-3.1.2-5: without a clean start the session goes on: subscriptions, what waits, and what was not acknowledged', () => {
    const wire = new Wire()
    const first = connected(wire, { clientId: 'c', ...lasting(version) })
    wire.send(first, subscribe('a', 2))
    const other = connected(wire, { clientId: 'p' })
    wire.send(other, publish('a', 'sent', 1, 1))
    wire.out(first)
    wire.close(first)
    wire.send(other, publish('a', 'waits', 2, 2))
    const again = wire.connect({ clientId: 'c', ...lasting(version) })
    expect(wire.lines(again).slice(1)).toEqual(['a=sent q1 #1 dup', 'a=waits q2 #2'])
    wire.send(other, publish('a', 'live', 0))
    expect(wire.lines(again)).toEqual(['a=live q0'])
  })

  test('MQTT-3.1.2-6: where there is none, one begins', () => {
    const wire = new Wire()
    const first = wire.connect({ clientId: 'c', ...lasting(version) })
    expect(wire.lines(first)).toEqual(['CONNACK'])
    wire.send(first, subscribe('a', 1))
    wire.close(first)
    wire.send(connected(wire), publish('a', 'x', 1))
    expect(wire.lines(wire.connect({ clientId: 'c', ...lasting(version) })).at(-1)).toBe('a=x q1 #1')
  })

  test('MQTT-3.1.2-23: session state is stored after the end of the connection', () => {
    const wire = Wire.stored()
    wire.send(connected(wire, { clientId: 'c', ...lasting(version) }), subscribe('a', 1))
    wire.send(1, disconnect())
    wire.send(connected(wire), publish('a', 'x', 1))
    const again = wire.restarted(1000)
    expect(again.lines(again.connect({ clientId: 'c', ...lasting(version) })).at(-1)).toBe('a=x q1 #1')
  })

  test('3.1.1 MQTT-3.1.2-5: QoS 1 and 2 messages are stored for who is away', () => {
    const wire = Wire.stored()
    wire.send(connected(wire, { clientId: 'c', ...lasting(version) }), subscribe('a/+', 2))
    wire.close(1)
    const other = connected(wire)
    for (const qos of [0, 1, 2] as const) wire.send(other, publish(`a/${qos}`, 'x', qos, qos))
    for (const world of [wire.restarted(), wire]) {
      const again = world.connect({ clientId: 'c', ...lasting(version) })
      expect(world.lines(again).slice(1)).toEqual(['a/1=x q1 #1', 'a/2=x q2 #2'])
    }
  })

  test('MQTT-4.1.0-1: a session is kept as long as its connection is open', () => {
    const wire = new Wire({}, { limits: { persistentClientExpiration: 100 } })
    wire.close(connected(wire, { clientId: 'c', ...lasting(version) }))
    wire.advance(99_000)
    const again = connected(wire, { clientId: 'c', ...lasting(version) })
    wire.send(again, subscribe('a', 1))
    wire.out(again)
    wire.advance(1e9)
    wire.send(connected(wire), publish('a', 'x', 1))
    expect(wire.lines(again)).toEqual(['a=x q1 #1'])
  })
})

describe.each(VERSIONS)('wills (version %i)', (version) => {
  test('MQTT-3.1.2-7: a will is stored with the session', () => {
    const wire = Wire.stored()
    watcherOf(wire)
    connected(wire, { clientId: 'c', protocolVersion: version, will: will('w/c', 'gone', 1) })
    expect(text(wire.broker.sessions.get('mqtt', 'c')!.will!.payload)).toBe('gone')
    const again = wire.restarted()
    expect(again.lines(again.connect({ clientId: 'watcher', ...LASTING }))).toEqual(['CONNACK present', 'w/c=gone q1 #1'])
  })

  test('MQTT-3.1.2-9: what the will flag announces is there', () => {
    for (const fields of ['0001 63', '0001 63 0001 77', '0001 63 0001 77 0002 78'])
      expect(answerTo(connectHex(version, '06', version === 5 ? fields.replace('0001 63', '0001 63 00') : fields))).toEqual(
        malformed(version),
      )
    const whole = version === 5 ? '0001 63 00 0001 77 0001 78' : '0001 63 0001 77 0001 78'
    expect(answerTo(connectHex(version, '06', whole))).toEqual(['CONNACK 0x00'])
    // And nothing is there that it does not announce.
    expect(answerTo(connectHex(version, '02', whole))).toEqual(malformed(version))
  })

  test('MQTT-3.1.2-10: a will is published once', () => {
    const wire = Wire.stored()
    const watcher = watcherOf(wire)
    wire.close(connected(wire, { clientId: 'c', ...lasting(version), will: will('w/c', 'gone') }))
    expect(wire.lines(watcher)).toEqual(['w/c=gone q0'])
    expect(wire.broker.sessions.get('mqtt', 'c')!.will).toBeUndefined()
    expect([...wire.restarted().broker.sessions].map((session) => session.will)).toEqual([undefined, undefined])
  })

  test('3.1.1 MQTT-3.1.2-12: without a will none is published', () => {
    const wire = new Wire()
    const watcher = watcherOf(wire)
    wire.close(connected(wire, { clientId: 'c', ...lasting(version) }))
    wire.advance(1e9)
    expect(wire.lines(watcher)).toEqual([])
    expect(wire.codes()).not.toContain('will-published')
  })
})

describe.each([4, 5] as const)('connect flags (version %i)', (version) => {
  const withWill = version === 5 ? '0001 63 00 0001 77 0001 78' : '0001 63 0001 77 0001 78'
  const refused = (flags: string, fields = '0001 63'): void =>
    expect(answerTo(connectHex(version, flags, fields))).toEqual(malformed(version))

  test('MQTT-3.1.2-11: no will, no will QoS', () => {
    for (const flags of ['0a', '12', '1a']) refused(flags)
  })

  test('MQTT-3.1.2-12: will QoS is 0, 1 or 2', () => {
    refused('1e', withWill)
    for (const flags of ['06', '0e', '16']) expect(answerTo(connectHex(version, flags, withWill))).toEqual(['CONNACK 0x00'])
  })

  test('MQTT-3.1.2-13: no will, no will retain', () => refused('22'))
})

describe.each(VERSIONS)('payload of CONNECT (version %i)', (version) => {
  const none = version === 5 ? '00' : ''

  test('MQTT-3.1.3-1: client id, will topic, will payload, user name, password', () => {
    const seen: unknown[] = []
    const wire = new Wire({}, { access: { ...OPEN_ACCESS, connect: (_info, connect) => seen.push(connect) && 0 } })
    const fields = `0002 6964 ${none} 0003 772f74 0002 7061 0001 75 0001 70`
    expect(answerTo(connectHex(version, 'c6', fields), wire)).toEqual(['CONNACK 0x00'])
    expect(seen).toMatchObject([{ clientId: 'id', username: 'u', will: { topic: 'w/t' } }])
    const { will: found, password } = seen[0] as Connect
    expect([text(found!.payload), text(password!)]).toEqual(['pa', 'p'])
  })

  test('MQTT-3.1.3-2: sessions are told apart by client id', () => {
    const wire = new Wire()
    wire.send(connected(wire, { clientId: 'a', ...lasting(version) }), subscribe('a', 1))
    const other = wire.connect({ clientId: 'A', ...lasting(version) })
    expect(wire.lines(other)).toEqual(['CONNACK'])
    expect(wire.lines(1)).toEqual(['SUBACK #1 0x01'])
    wire.send(other, publish('a', 'x', 1))
    expect(wire.lines(1)).toEqual(['a=x q1 #1'])
  })

  test('MQTT-3.1.3-3: a client id is there', () => {
    expect(answerTo(connectHex(version, '02', ''))).toEqual(malformed(version))
    expect(answerTo(connectHex(version, '02', '00'))).toEqual(malformed(version))
  })

  test('MQTT-3.1.3-5: 23 letters and digits are allowed', () => {
    const wire = new Wire()
    for (const clientId of ['0', '0123456789abcdefghijklm', 'nopqrstuvwxyzABCDEFGHIJ', 'KLMNOPQRSTUVWXYZ0123456'])
      expect(wire.lines(wire.connect({ clientId, protocolVersion: version }))).toEqual(['CONNACK'])
  })

  test('MQTT-3.1.4-1: what does not look like CONNECT ends the connection', () => {
    expect(answerTo(connectHex(version, '02', '0001 63 00'))).toEqual(malformed(version))
    expect(answerTo(connectHex(version, '02', '0002 63'))).toEqual(malformed(version))
    expect(answerTo('100000')).toEqual(['close'])
  })
})

test('MQTT-3.1.3-6: ids that are assigned are unique', () => {
  const wire = new Wire()
  const names = [1, 2, 3].map(() => {
    const [connack] = wire.packets(wire.connect({ clientId: '' }))
    return (connack as { properties: { assignedClientIdentifier: string } }).properties.assignedClientIdentifier
  })
  expect(new Set(names).size).toBe(3)
  expect(wire.broker.sessions.connected).toBe(3)
})

test('MQTT-3.1.3-10: user properties of a will keep their order', () => {
  const wire = new Wire()
  const watcher = watcherOf(wire)
  const pairs = '26 0001 62 0001 31 26 0001 61 0001 32 26 0001 62 0001 33'.replaceAll(' ', '')
  const connection = wire.open()
  wire.sendHex(connection, connectHex(5, '06', `0001 63 15${pairs} 0003 772f63 0001 78`))
  wire.close(connection)
  expect(wire.out(watcher)).toEqual([`301c0003772f6315${pairs}78`])
})

describe('what the client asks of the server', () => {
  test('MQTT-3.1.2-28: Response Information is in no CONNACK', () => {
    for (const requestResponseInformation of [true, false]) {
      const wire = new Wire()
      const [connack] = wire.packets(wire.connect({ properties: { requestResponseInformation } }))
      expect(connack).not.toHaveProperty('properties.responseInformation')
    }
  })
})

describe('the order of things', () => {
  test('MQTT-3.1.4-6: after a refusal nothing is taken in', () => {
    const world = new TestBroker({
      access: { ...OPEN_ACCESS, connect: (_info, { username }) => (username === 'bad' ? 0x87 : 0) },
    })
    const watcher = world.connect('watcher')
    watcher.subscribe('#')
    watcher.poll()
    const client = world.open()
    client.send(connectPacket('c', { username: 'bad' }))
    client.publish('a', 'x')
    client.send(connectPacket('c'))
    client.publish('a', 'y')
    expect(client.poll()).toEqual(['CONNACK 135', 'CLOSE 135'])
    expect(watcher.poll()).toEqual([])
    expect(world.broker.sessions.size).toBe(1)
  })

  test('MQTT-3.2.0-1: nothing before CONNACK, even what waits in the session', () => {
    const world = new TestBroker({}, new DelayedStore())
    const client = world.connect('c', PERSISTENT)
    client.subscribe('a', 1)
    client.lost()
    world.connect('p').publish('a', 'x', 1)
    world.commit()
    const again = world.open()
    again.send(connectPacket('c', PERSISTENT))
    expect(again.poll()).toEqual([])
    world.commit()
    expect(again.poll()).toEqual(['CONNACK present', 'a=x q1 #1'])
  })
})

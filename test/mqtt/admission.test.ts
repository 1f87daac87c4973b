import { describe, expect, test } from 'vitest'
import { ByteWriter } from '../../src/base/bytes.ts'
import { Memory } from '../../src/base/memory.ts'
import type { StreamInfo } from '../../src/mqtt/connection.ts'
import { DEFAULT_LISTENER_LIMITS } from '../../src/mqtt/connection-limits.ts'
import { Connections } from '../../src/mqtt/connections.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { access, answerAuth, CONTINUE, withData } from './enhanced-auth.ts'
import { Wire } from './wire.ts'

const LIMITS = { connectTimeoutMs: 1000 }

describe('what a client waits for counts into connect_timeout_seconds', () => {
  test.each([
    [5, '2003008900'],
    [4, '20020003'],
  ] as const)(
    'a client of MQTT %i whose turn has not come by then is told that the server is busy',
    (protocolVersion, connack) => {
      const wire = new Wire(LIMITS, { access: { ...access, connect: () => 'ask' } as never })
      const waiting = wire.open()
      wire.advance(600)
      wire.send(waiting, { ...connect, protocolVersion })
      const request = wire.broker.nextAuthRequest()!
      wire.advance(399)
      expect(wire.out(waiting)).toEqual(['pause'])
      wire.advance(1)
      expect(wire.out(waiting)).toEqual([connack, 'close'])
      expect(wire.notices).toMatchObject([
        { code: 'client-refused', reason: 'not verified in time', limit: 'connect_timeout_seconds' },
      ])
      // Nobody goes on verifying, and an answer all the same falls flat.
      expect(wire.broker.nextAbandonedAuth()).toBe(request.link)
      wire.broker.authenticated(wire.now, request.link, request.step, { kind: 'accepted', username: 'u', grant: undefined })
      wire.run()
      expect([wire.out(waiting), wire.broker.sessions.size]).toEqual([[], 0])
    },
  )

  test('a client that the store has not recorded by then is told apart from one that has sent nothing', () => {
    const wire = Wire.stored(LIMITS)
    wire.commitsAtOnce = false
    const recorded = wire.open()
    wire.send(recorded, { ...connect, cleanStart: false, protocolVersion: 4 })
    const silent = wire.open()
    wire.advance(1000)
    expect([wire.out(recorded), wire.out(silent)]).toEqual([['close'], ['close']])
    expect(wire.notices.filter(({ code }) => code === 'client-refused')).toMatchObject([
      { client: 'mqtt:c', reason: 'not recorded in time', limit: 'connect_timeout_seconds' },
      { reason: 'no CONNECT in time', limit: 'connect_timeout_seconds' },
    ])
  })

  test('a client whose session takes too long to end is told that the server is busy', () => {
    const wire = new Wire(LIMITS)
    const lasting = { ...connect, protocolVersion: 5 as const, cleanStart: false, properties: { sessionExpiryInterval: 60 } }
    const shared = { filter: '$share/g/#', qos: 1 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 as const }
    const subscribe = { type: 8 as const, packetId: 1, subscriptions: [shared], properties: {} }
    const away = wire.open()
    for (const packet of [lasting, subscribe, { type: 14 as const, reasonCode: 0, properties: {} }]) wire.send(away, packet)
    const publisher = wire.open()
    wire.send(publisher, { ...connect, protocolVersion: 5, clientId: 'publisher' })
    for (let i = 1; i <= 800; i++) wire.send(publisher, Publish.of(`q/${i}`, Buffer.from('m'), 1, false, i))
    const other = wire.open()
    for (const packet of [{ ...lasting, clientId: 'other' }, subscribe]) wire.send(other, packet)
    const waiting = wire.open()
    const writer = new ByteWriter()
    encodePacket(writer, { ...connect, protocolVersion: 5 }, 5)
    wire.connections.chunk(wire.now, waiting, writer.toBytes())
    wire.connections.handleTimeout(wire.now + 1000)
    wire.run()
    expect(wire.out(waiting).slice(-2)).toEqual(['2003008900', 'close'])
    expect(wire.notices).toContainEqual(expect.objectContaining({ reason: 'the session before it has not ended in time' }))
  })

  test('so do all steps of enhanced authentication, on either side', () => {
    const wire = new Wire(LIMITS, { access })
    const client = wire.open()
    wire.advance(600)
    wire.send(client, { ...connect, protocolVersion: 5, properties: withData('first') })
    wire.advance(100)
    answerAuth(wire, CONTINUE)
    wire.advance(100)
    expect(wire.out(client).slice(1)).toEqual([expect.stringMatching(/^f0..18/), 'resume'])
    wire.send(client, { type: 15, reasonCode: 0x18, properties: withData('second') })
    wire.advance(199)
    expect(wire.out(client)).toEqual(['pause'])
    wire.advance(1)
    expect(wire.out(client)).toEqual(['2003008900', 'close'])
    expect(wire.notices).toMatchObject([{ client: 'mqtt:c', reason: 'not verified in time' }])
  })

  test('a client that does not answer an AUTH is told apart from one that has sent nothing', () => {
    const wire = new Wire(LIMITS, { access })
    const client = wire.open()
    wire.advance(900)
    wire.send(client, { ...connect, protocolVersion: 5, properties: withData('first') })
    answerAuth(wire, CONTINUE)
    wire.out(client)
    wire.advance(99)
    expect(wire.out(client)).toEqual([])
    wire.advance(1)
    expect(wire.out(client)).toEqual(['close'])
    expect(wire.notices).toMatchObject([
      { code: 'client-refused', client: 'mqtt:c', reason: 'no AUTH in time', limit: 'connect_timeout_seconds' },
    ])
  })
})

const connect = {
  type: 1 as const,
  bridge: false,
  clientId: 'c',
  cleanStart: true,
  keepAlive: 0,
  will: undefined,
  username: 'u',
  password: Buffer.from('p'),
  properties: {},
}

const from = (peer: string): StreamInfo => ({ peer, listener: 'mqtt' })

describe('max_connections_per_address', () => {
  test('counts an IPv6 /64 as one, before and after a handshake', () => {
    const wire = new Wire({ maxConnectionsPerAddress: 3 })
    for (let i = 1; i <= 2; i++) wire.open({ peer: `[2001:db8:0:1::${i}]:1` })
    expect(wire.connections.arriving(wire.now, from('[2001:db8:0:1:ffff::1]:1'))).toBeUndefined()
    expect(wire.connections.arriving(wire.now, from('[2001:db8:0:1::9]:1'))).toBe('max_connections_per_address')
    expect(wire.out(wire.open({ peer: '[2001:db8:0:1:1:2:3:4]:1' }))).toEqual(['close'])
    expect(wire.out(wire.open({ peer: '[2001:db8:0:2::1]:1' }))).toEqual([])
    wire.connections.arrived(from('[2001:db8:0:1:abcd::1]:1'))
    expect(wire.out(wire.open({ peer: '[2001:db8:0:1:1:2:3:4]:1' }))).toEqual([])
  })

  test('counts IPv4 in IPv6 as the IPv4 that it is', () => {
    const wire = new Wire({ maxConnectionsPerAddress: 1 })
    wire.open({ peer: '192.0.2.1:1' })
    expect(wire.out(wire.open({ peer: '[::ffff:192.0.2.1]:1' }))).toEqual(['close'])
    expect(wire.out(wire.open({ peer: '[::ffff:192.0.2.2]:1' }))).toEqual([])
  })
})

test('who is banned gets no connection and no handshake; the log says by which option', () => {
  const bans = { banOf: (now: number, peer: string) => (peer.startsWith('192.0.2.') && now < 5000 ? 'ban_after' : undefined) }
  const wire = new Wire({ bans })
  expect(wire.out(wire.open({ peer: '192.0.2.1:1' }))).toEqual(['close'])
  expect(wire.connections.arriving(wire.now, from('192.0.2.1:1'))).toBe('ban_after')
  expect(wire.out(wire.open({ peer: '198.51.100.1:1' }))).toEqual([])
  const notice = {
    code: 'client-refused',
    level: 'info',
    peer: '192.0.2.1:1',
    reason: 'the address is banned',
    limit: 'ban_after',
  }
  expect(wire.notices).toEqual([notice, notice])
  expect(wire.connections.size).toBe(1)
  wire.advance(5000)
  expect(wire.out(wire.open({ peer: '192.0.2.1:1' }))).toEqual([])
})

test('a handshake takes what its listener takes, and counts in the half of memory_limit that is for streams', () => {
  const { broker } = new Wire()
  const memory = new Memory({ memoryLimit: 1_000_000 })
  const listeners = new Map([['tls', { ...DEFAULT_LISTENER_LIMITS, streamBytes: 50_000 }]])
  const connections = new Connections(broker, { listeners }, () => {}, memory)
  const handshake = { peer: '192.0.2.1:1', listener: 'tls' }
  for (let i = 0; i <= 10; i++) expect(connections.arriving(0, handshake)).toBeUndefined()
  expect(memory.byCategory().get('connections')).toBe(11 * 50_000)
  expect(connections.arriving(0, handshake)).toBe('memory_limit')
  expect(connections.arriving(0, from('192.0.2.2:1'))).toBe('memory_limit')
  connections.lingering(handshake)
  for (let i = 0; i <= 11; i++) connections.arrived(handshake)
  expect(memory.byCategory().get('connections')).toBe(0)
})

import { describe, expect, test } from 'vitest'
import { type Access, OPEN_ACCESS } from '../../src/broker/access.ts'
import { DEFAULT_LISTENER_LIMITS } from '../../src/mqtt/connection-limits.ts'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { will } from '../broker/harness.ts'
import { PINGREQ, publish, subscribe } from '../mqtt/requests.ts'
import { Wire } from '../mqtt/wire.ts'

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5]

/** What comes of these bytes on a new connection. */
function answerTo(hex: string, wire = new Wire()): string[] {
  const connection = wire.open()
  wire.sendHex(connection, hex)
  return wire.out(connection)
}

/** Somebody who hears everything. */
function watcherOf(wire: Wire): number {
  const watcher = wire.connect()
  wire.send(watcher, subscribe('#', 2))
  wire.out(watcher)
  return watcher
}

describe.each(VERSIONS)('behaviour 1: a second CONNECT is a protocol error (version %i)', (protocolVersion) => {
  const end = protocolVersion === 5 ? ['DISCONNECT 0x82', 'close'] : ['close']

  test('and ends the connection, with its will', () => {
    const wire = new Wire()
    const watcher = watcherOf(wire)
    const connection = wire.connect({ protocolVersion, clientId: 'c', will: will('w', 'gone') })
    expect(wire.lines(connection)).toEqual(['CONNACK'])
    wire.sendHex(connection, connectHex(protocolVersion))
    expect(wire.lines(connection)).toEqual(end)
    expect(wire.lines(watcher)).toEqual(['w=gone q0'])
  })

  test('in the same segment too: CONNACK goes first, what comes behind is not looked at', () => {
    const wire = new Wire()
    const watcher = watcherOf(wire)
    const hex = connectHex(protocolVersion)
    const connection = wire.open()
    wire.sendHex(connection, `${hex}${hex}c000`)
    const [written, closed, ...rest] = wire.out(connection)
    expect(written).toMatch(/^20/)
    expect(written?.includes('d000')).toBe(false)
    expect([closed, rest]).toEqual(['close', []])
    expect(wire.lines(watcher)).toEqual([])
  })

  test('whatever version the second one is of: the refusal is of the first', () => {
    for (const other of VERSIONS) {
      const wire = new Wire()
      const connection = wire.connect({ protocolVersion })
      wire.out(connection)
      wire.sendHex(connection, connectHex(other))
      expect(wire.lines(connection)).toEqual(end)
    }
  })
})

const connectHex = (version: ProtocolVersion): string =>
  version === 3
    ? '100f00064d514973647003020000000163'
    : version === 4
      ? '100d00044d51545404020000000163'
      : '100e00044d5154540502000000000163'

describe('behaviour 2: protocol name and level', () => {
  test('a level that nobody knows is told in the shape of the version: 3.x return code 1, 5.0 reason code 0x84', () => {
    expect(answerTo('100d 0004 4d515454 03 02 0000 0001 63')).toEqual(['20020001', 'close'])
    expect(answerTo('100d 0004 4d515454 02 02 0000 0001 63')).toEqual(['20020001', 'close'])
    expect(answerTo('100f 0006 4d5149736470 04 02 0000 0001 63')).toEqual(['20020001', 'close'])
    expect(answerTo('100e 0004 4d515454 06 02 0000 00 0001 63')).toEqual(['2003008400', 'close'])
  })

  test('another name is no MQTT: closed without a word', () => {
    expect(answerTo('100d 0004 4d515458 04 02 0000 0001 63')).toEqual(['close'])
    expect(answerTo('100d 0004 6d717474 04 02 0000 0001 63')).toEqual(['close'])
  })

  test('MQIsdp is 3.1, and the bridges of Mosquitto set the high bit of the level', () => {
    expect(answerTo(connectHex(3))).toEqual(['20020000'])
    expect(answerTo('100f 0006 4d5149736470 83 02 0000 0001 63')).toEqual(['20020000'])
    expect(answerTo('100d 0004 4d515454 84 02 0000 0001 63')).toEqual(['20020000'])
    expect(answerTo('100e 0004 4d515454 85 02 0000 00 0001 63')).toEqual(['2003008400', 'close'])
  })
})

describe('behaviour 3: the reserved connect flag', () => {
  test('3.1.1 closes without CONNACK, 5.0 may say why', () => {
    expect(answerTo('100d 0004 4d515454 04 03 0000 0001 63')).toEqual(['close'])
    const [connack, closed] = answerTo('100e 0004 4d515454 05 03 0000 00 0001 63')
    expect([connack?.slice(0, 2), connack?.slice(4, 8), closed]).toEqual(['20', '0081', 'close'])
  })

  test('3.1 does not use the flags of the fixed header either, as with Mosquitto; 3.1.1 and 5.0 reserve them', () => {
    expect(answerTo('13 0f 0006 4d5149736470 03 02 003c 0001 63')).toEqual(['20020000'])
    expect(answerTo('13 0f 0006 4d5149736470 03 03 003c 0001 63')).toEqual(['20020000'])
    expect(answerTo('13 0d 0004 4d515454 04 02 003c 0001 63')).toEqual(['close'])
    expect(answerTo('13 0e 0004 4d515454 05 02 003c 00 0001 63')).toEqual(['close'])
  })

  test('3.1 has none: any value will do', () => {
    expect(answerTo('100f 0006 4d5149736470 03 03 0000 0001 63')).toEqual(['20020000'])
  })
})

describe('behaviour 4: no client id', () => {
  test('3.1.1 without a clean session: return code 2, then the end', () => {
    expect(answerTo('100c 0004 4d515454 04 00 0000 0000')).toEqual(['20020002', 'close'])
  })

  test('3.1 in any case, for it knows no such client', () => {
    expect(answerTo('100e 0006 4d5149736470 03 02 0000 0000')).toEqual(['20020002', 'close'])
  })

  test('3.1.1 with a clean session is let in, and is somebody of its own', () => {
    const wire = new Wire()
    const clients = [1, 2, 3].map(() => wire.connect({ protocolVersion: 4, clientId: '' }))
    expect(clients.map((client) => wire.lines(client))).toEqual([['CONNACK'], ['CONNACK'], ['CONNACK']])
    expect(wire.broker.sessions.size).toBe(3)
  })

  test.each([true, false])('5.0 is told the id it got, and comes back by it (Clean Start %s)', (cleanStart) => {
    const wire = new Wire()
    const properties = { sessionExpiryInterval: 100 }
    const nameless = wire.connect({ clientId: '', cleanStart, properties })
    const [connack] = wire.packets(nameless)
    expect(connack).toMatchObject({ type: 2, reasonCode: 0, sessionPresent: false })
    const clientId = (connack as { properties: { assignedClientIdentifier: string } }).properties.assignedClientIdentifier
    expect(clientId).toMatch(/^auto-./)
    wire.close(nameless)
    expect(wire.lines(wire.connect({ clientId, cleanStart: false, properties }))).toEqual(['CONNACK present'])
  })

  test('auto_id_prefix is in front; an id that clientid_prefixes would not let in is not assigned', () => {
    const settings = { ...DEFAULT_LISTENER_LIMITS, autoIdPrefix: 'door-', clientIdPrefix: 'door-' }
    const wire = new Wire({ listeners: new Map([['mqtt', settings]]) })
    expect(wire.packets(wire.connect({ clientId: '' }))).toMatchObject([
      { reasonCode: 0, properties: { assignedClientIdentifier: expect.stringMatching(/^door-./) } },
    ])
    const strict = new Wire({ listeners: new Map([['mqtt', { ...settings, autoIdPrefix: 'auto-' }]]) })
    expect(strict.lines(strict.connect({ clientId: '' }))).toEqual(['CONNACK 0x85', 'close'])
  })

  test('allow_zero_length_clientid false refuses every version', () => {
    for (const protocolVersion of VERSIONS) {
      const settings = { ...DEFAULT_LISTENER_LIMITS, allowZeroLengthClientid: false }
      const wire = new Wire({ listeners: new Map([['mqtt', settings]]) })
      expect(wire.lines(wire.connect({ protocolVersion, clientId: '' }))).toEqual(['CONNACK 0x85', 'close'])
    }
  })
})

describe('behaviour 5: user name and password', () => {
  const PASSWORD = { password: Buffer.from('p') }

  test('5.0 may send a password alone, 3.1.1 and 3.1 may not', () => {
    const wire = new Wire()
    expect(wire.lines(wire.connect({ ...PASSWORD }))).toEqual(['CONNACK'])
    expect(wire.lines(wire.connect({ ...PASSWORD, protocolVersion: 4 }))).toEqual(['close'])
    expect(wire.lines(wire.connect({ ...PASSWORD, protocolVersion: 3 }))).toEqual(['close'])
  })

  test('what the flags announce has to be there; what they do not must not', () => {
    // A user name flag, a password flag, and neither with a user name behind the client id.
    expect(answerTo('100d 0004 4d515454 04 82 0000 0001 63')).toEqual(['close'])
    expect(answerTo('1010 0004 4d515454 04 c2 0000 0001 63 0001 75')).toEqual(['close'])
    expect(answerTo('1010 0004 4d515454 04 02 0000 0001 63 0001 75')).toEqual(['close'])
    for (const hex of [
      '100e 0004 4d515454 05 82 0000 00 0001 63',
      '100e 0004 4d515454 05 42 0000 00 0001 63',
      '1011 0004 4d515454 05 02 0000 00 0001 63 0001 75',
    ]) {
      const [connack, closed] = answerTo(hex)
      expect([connack?.slice(4, 8), closed]).toEqual(['0081', 'close'])
    }
  })

  test('3.1: the end of the packet counts for more than the flags', () => {
    expect(answerTo('100f 0006 4d5149736470 03 c2 0000 0001 63')).toEqual(['20020000'])
    expect(answerTo('1012 0006 4d5149736470 03 c2 0000 0001 63 0001 75')).toEqual(['20020000'])
    expect(answerTo('1011 0006 4d5149736470 03 c2 0000 0001 63 0001')).toEqual(['close'])
  })
})

describe('behaviour 10: keep alive', () => {
  test.each(VERSIONS)('one and a half times, after any packet, not only PINGREQ (version %i)', (protocolVersion) => {
    const wire = new Wire()
    const connection = wire.connect({ protocolVersion, keepAlive: 10 })
    wire.out(connection)
    for (const packet of [PINGREQ, publish('a', 'x'), subscribe('b'), publish('a', 'x', 1), publish('a', 'x', 2, 2)]) {
      wire.advance(14_999)
      expect(wire.out(connection)).not.toContain('close')
      wire.send(connection, packet)
    }
    wire.out(connection)
    wire.advance(14_999)
    expect(wire.lines(connection)).toEqual([])
    wire.advance(1)
    expect(wire.lines(connection)).toEqual(protocolVersion === 5 ? ['DISCONNECT 0x8d', 'close'] : ['close'])
  })

  test('parts of a packet do not count', () => {
    const wire = new Wire()
    const connection = wire.connect({ keepAlive: 10 })
    wire.out(connection)
    for (const byte of ['30', '05', '00']) {
      wire.advance(4000)
      wire.sendHex(connection, byte)
    }
    wire.advance(3000)
    expect(wire.lines(connection)).toEqual(['DISCONNECT 0x8d', 'close'])
  })

  test('its end is the end of the network: the will fires', () => {
    const wire = new Wire()
    const watcher = watcherOf(wire)
    wire.connect({ keepAlive: 10, will: will('w', 'silent') })
    wire.advance(15_000)
    expect(wire.lines(watcher)).toEqual(['w=silent q0'])
  })

  test('Server Keep Alive replaces what the client asked for, 0 included; a 3.x client, who cannot be told, is refused', () => {
    for (const keepAlive of [60, 0]) {
      const wire = new Wire({ maxKeepAlive: 20 })
      const connection = wire.connect({ keepAlive })
      expect(wire.packets(connection)).toMatchObject([{ type: 2, properties: { serverKeepAlive: 20 } }])
      wire.advance(29_999)
      expect(wire.lines(connection)).toEqual([])
      wire.advance(1)
      expect(wire.lines(connection)).toEqual(['DISCONNECT 0x8d', 'close'])
    }
    const wire = new Wire({ maxKeepAlive: 20 })
    expect(wire.packets(wire.connect({ keepAlive: 20 }))[0]).not.toHaveProperty('properties.serverKeepAlive')
    expect(wire.lines(wire.connect({ protocolVersion: 4, keepAlive: 60 }))).toEqual(['CONNACK 0x85', 'close'])
    expect(wire.lines(wire.connect({ protocolVersion: 4, keepAlive: 0 }))).toEqual(['CONNACK 0x85', 'close'])
  })

  test('while the client is not read, the silence is not its own', () => {
    const wire = new Wire()
    const connection = wire.connect({ keepAlive: 10 })
    wire.out(connection)
    wire.congested(connection, true)
    wire.advance(40_000)
    wire.congested(connection, false)
    wire.advance(14_999)
    expect(wire.lines(connection)).toEqual(['pause', 'resume'])
    wire.advance(1)
    expect(wire.lines(connection)).toEqual(['DISCONNECT 0x8d', 'close'])
  })
})

describe('behaviour 11: what follows CONNECT in the same segment', () => {
  const ASK: Access = { ...OPEN_ACCESS, connect: (_info, { clientId }) => (clientId === 'c' ? 'ask' : 0) }
  const ACCEPTED = { kind: 'accepted', username: 'u', grant: undefined } as const
  const REFUSED = { kind: 'refused', reasonCode: 0x87, reason: 'no' } as const
  const hex = (version: ProtocolVersion): string =>
    `${connectHex(version)}${version === 5 ? '30050001610031' : '30040001 6131'}${version === 5 ? '30050001610032' : '30040001 6132'}c000`

  test.each(VERSIONS)('is taken in, in its order, once the client is let in (version %i)', (version) => {
    const wire = new Wire()
    const watcher = watcherOf(wire)
    const [written] = answerTo(hex(version), wire)
    expect(written).toMatch(/^20.*d000$/)
    expect(wire.lines(watcher)).toEqual(['a=1 q0', 'a=2 q0'])
  })

  test.each(VERSIONS)('waits while somebody verifies who it is, and keeps its order (version %i)', (version) => {
    const wire = new Wire({}, { access: ASK })
    const watcher = watcherOf(wire)
    const connection = wire.open()
    wire.sendHex(connection, hex(version))
    expect(wire.out(connection)).toEqual(['pause'])
    expect(wire.lines(watcher)).toEqual([])
    // What was on its way when the socket was told to pause.
    wire.sendHex(connection, version === 5 ? '30050001610033' : '300400016133')
    const { link, step } = wire.broker.nextAuthRequest()!
    wire.broker.authenticated(wire.now, link, step, ACCEPTED)
    wire.run()
    const [connack, ...more] = wire.out(connection)
    expect(connack).toMatch(/^20/)
    expect(more).toContain('resume')
    expect(wire.lines(watcher)).toEqual(['a=1 q0', 'a=2 q0', 'a=3 q0'])
  })

  test.each(VERSIONS)('is thrown away if the client is refused, at once or later (version %i)', (version) => {
    const wire = new Wire({}, { access: ASK })
    const watcher = watcherOf(wire)
    const connection = wire.open()
    wire.sendHex(connection, hex(version))
    const { link, step } = wire.broker.nextAuthRequest()!
    wire.broker.authenticated(wire.now, link, step, REFUSED)
    wire.run()
    const [paused, connack, closed, ...rest] = wire.out(connection)
    expect([paused, connack?.slice(0, 2), closed, rest]).toEqual(['pause', '20', 'close', []])
    expect(wire.lines(watcher)).toEqual([])

    const strict = new Wire({}, { access: { ...OPEN_ACCESS, connect: (_info, { clientId }) => (clientId === 'c' ? 0x87 : 0) } })
    const other = watcherOf(strict)
    const [refusal, end, ...nothing] = answerTo(hex(version), strict)
    expect([refusal?.slice(0, 2), end, nothing]).toEqual(['20', 'close', []])
    expect(refusal).not.toContain('d000')
    expect(strict.lines(other)).toEqual([])
  })

  test('a client that leaves while it is verified leaves nothing behind', () => {
    const wire = new Wire({}, { access: ASK })
    const watcher = watcherOf(wire)
    const connection = wire.open()
    wire.sendHex(connection, hex(5))
    const { link, step } = wire.broker.nextAuthRequest()!
    wire.close(connection)
    wire.broker.authenticated(wire.now, link, step, ACCEPTED)
    wire.run()
    expect(wire.lines(watcher)).toEqual([])
    expect(wire.broker.sessions.connected).toBe(1)
  })
})

describe('behaviour 12: the end of who is not let in', () => {
  const STRICT: Access = { ...OPEN_ACCESS, connect: () => 0x87 }

  test.each(VERSIONS)('CONNACK that refuses is the last word, and DISCONNECT never comes (version %i)', (protocolVersion) => {
    const wire = new Wire({}, { access: STRICT })
    const connection = wire.connect({ protocolVersion })
    expect(wire.lines(connection)).toEqual(['CONNACK 0x87', 'close'])
    wire.send(connection, PINGREQ)
    expect(wire.out(connection)).toEqual([])
    expect(wire.connections.size).toBe(0)
  })

  test('no DISCONNECT before CONNACK: not at nonsense, not at the deadline, not at the end of the server', () => {
    expect(answerTo('c000')).toEqual(['close'])
    expect(answerTo('2002')).toEqual(['close'])
    const wire = new Wire({ connectTimeoutMs: 1000 })
    const silent = wire.open()
    wire.advance(1000)
    expect(wire.out(silent)).toEqual(['close'])
    const asked = new Wire({}, { access: { ...OPEN_ACCESS, connect: () => 'ask' } })
    const waits = asked.connect()
    asked.broker.shutdown.closeAll(asked.now, 0x8b)
    asked.run()
    expect(asked.lines(waits)).toEqual(['pause', 'close'])
  })

  test('a second CONNECT of the same name ends one that has no CONNACK yet without DISCONNECT', () => {
    const wire = Wire.stored()
    const first = wire.connect({ clientId: 'c' })
    expect(wire.lines(first)).toEqual(['CONNACK'])
    const second = wire.open()
    const third = wire.open()
    // In one turn: nothing of the second has left when the third comes.
    wire.connections.chunk(0, second, Buffer.from(connectHex(5), 'hex'))
    wire.connections.chunk(0, third, Buffer.from(connectHex(5), 'hex'))
    wire.run()
    expect(wire.lines(first)).toEqual(['DISCONNECT 0x8e', 'close'])
    expect(wire.lines(third)).toEqual(['CONNACK'])
    const told = wire.lines(second)
    expect(told.at(-1)).toBe('close')
    expect(told[0]).not.toMatch(/^DISCONNECT/)
  })

  test('who takes no CONNACK of its size takes nothing at all', () => {
    const wire = new Wire()
    const connection = wire.connect({ properties: { maximumPacketSize: 8 } })
    expect(wire.lines(connection)).toEqual(['close'])
    expect(wire.broker.sessions.connected).toBe(0)
    expect(wire.codes()).toContain('message-dropped')
  })
})

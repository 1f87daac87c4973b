import { describe, expect, test } from 'vitest'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import { DEFAULT_LISTENER_LIMITS } from '../../src/mqtt/connection-limits.ts'
import type { Connect, Will } from '../../src/mqtt/packets.ts'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { will } from '../broker/harness.ts'
import { disconnect, LASTING, subscribe } from '../mqtt/requests.ts'
import { Wire } from '../mqtt/wire.ts'

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5]

function connected(wire: Wire, options: Partial<Connect>): number {
  const connection = wire.connect(options)
  expect(wire.lines(connection)[0]).toMatch(/^CONNACK( present)?$/)
  return connection
}

/** A client that hears every will, whatever happens to the process. */
function watcherOf(wire: Wire, more: Partial<Connect> = {}): number {
  const watcher = connected(wire, { clientId: 'watcher', ...LASTING, ...more })
  wire.send(watcher, subscribe('w/#', 2))
  wire.out(watcher)
  return watcher
}

/** What has come for the watcher; without its connection it comes, hears and goes. */
function heard(wire: Wire, watcher?: number): string[] {
  const connection = watcher ?? wire.connect({ clientId: 'watcher', ...LASTING })
  const lines = wire.lines(connection).filter((line) => line.startsWith('w/'))
  if (watcher === undefined) wire.close(connection)
  return lines
}

const delayed = (text: string, seconds: number): Will => will('w/d', text, 1, { willDelayInterval: seconds })

describe('behaviour 13: the will fires when the connection ends without a goodbye', () => {
  const ends: Record<string, (wire: Wire, connection: number, version: ProtocolVersion) => void> = {
    'the network drops': (wire, connection) => wire.close(connection),
    'keep alive runs out': (wire) => wire.advance(15_000),
    'a protocol error': (wire, connection, version) =>
      wire.send(connection, { type: 2, sessionPresent: false, reasonCode: 0, properties: {} }, version),
    'a malformed packet': (wire, connection) => wire.sendHex(connection, '36050001610001'),
    'a takeover': (wire, _connection, protocolVersion) => void wire.connect({ clientId: 'c', protocolVersion }),
    'the end of the server': (wire) => {
      wire.broker.shutdown.publishWills(wire.now)
      wire.run()
      wire.broker.shutdown.closeAll(wire.now, 0x8b)
      wire.run()
    },
    'an administrator': (wire) => {
      allowed = false
      wire.broker.accessChanged(wire.now)
      wire.run()
    },
  }
  let allowed = true

  for (const version of VERSIONS) {
    test.each(Object.keys(ends))(`%s (version ${version})`, (name) => {
      allowed = true
      const remains = ({ clientId }: { clientId: string }): number => (clientId === 'c' && !allowed ? 0x87 : 0)
      const wire = new Wire({}, { access: { ...OPEN_ACCESS, remains } })
      const watcher = watcherOf(wire)
      const connection = connected(wire, { clientId: 'c', protocolVersion: version, keepAlive: 10, will: will('w/c', 'gone', 1) })
      ends[name]!(wire, connection, version)
      expect(heard(wire, watcher)).toEqual(['w/c=gone q1 #1'])
      wire.close(connection)
      wire.advance(1e9)
      expect(heard(wire, watcher)).toEqual([])
    })
  }

  test.each(VERSIONS)('DISCONNECT takes it away, for good (version %i)', (protocolVersion) => {
    const wire = Wire.stored()
    const watcher = watcherOf(wire)
    const connection = connected(wire, { clientId: 'c', protocolVersion, will: will('w/c', 'gone', 1) })
    wire.send(connection, disconnect())
    expect(wire.lines(connection)).toEqual(['close'])
    wire.advance(1000)
    expect(heard(wire, watcher)).toEqual([])
    const again = wire.restarted()
    again.advance(1e9)
    expect(heard(again)).toEqual([])
  })

  test('the end of the server: everybody who listens hears it before the goodbyes, also where the session ends with the connection', () => {
    const wire = new Wire()
    const watcher = watcherOf(wire)
    connected(wire, { will: will('w/now', 'x') })
    connected(wire, { will: will('w/session', 'x', 0, { willDelayInterval: 60 }) })
    wire.broker.shutdown.publishWills(wire.now)
    wire.run()
    expect(heard(wire, watcher)).toEqual(['w/now=x q0', 'w/session=x q0'])
    wire.broker.shutdown.closeAll(wire.now, 0x8b)
    wire.run()
    expect(wire.lines(watcher)).toEqual(['DISCONNECT 0x8b', 'close'])
  })

  test('the end of the server leaves a delayed will to the next start, once', () => {
    const wire = Wire.stored()
    const watcher = watcherOf(wire)
    connected(wire, { clientId: 'c', ...LASTING, will: delayed('late', 10) })
    wire.broker.shutdown.publishWills(wire.now)
    wire.run()
    wire.broker.shutdown.closeAll(wire.now, 0x8b)
    wire.run()
    expect(heard(wire, watcher)).toEqual([])
    const again = wire.restarted(4000)
    again.advance(5999)
    expect(heard(again)).toEqual([])
    again.advance(1)
    expect(heard(again)).toEqual(['w/d=late q1 #1'])
    const last = again.restarted()
    last.advance(1e9)
    expect(heard(last).filter((line) => !line.includes('dup'))).toEqual([])
  })

  test('what was published once is not published at the next start, even if its message needed no record', () => {
    const wire = Wire.stored()
    wire.close(connected(wire, { clientId: 'c', ...LASTING, will: will('w/c', 'gone', 0) }))
    expect(wire.codes()).toContain('will-published')
    const again = wire.restarted()
    again.advance(1000)
    expect(again.codes()).not.toContain('will-published')
  })

  test.each(VERSIONS)('the end of the process, without any warning: at the next start (version %i)', (protocolVersion) => {
    const wire = Wire.stored()
    watcherOf(wire)
    connected(wire, { clientId: 'c', protocolVersion, will: will('w/c', 'gone', 1) })
    const again = wire.restarted(1000)
    expect(heard(again)).toEqual(['w/c=gone q1 #1'])
  })
})

describe('behaviour 14: will delay and session expiry', () => {
  const expiring = (seconds: number, text: string, delay: number): Partial<Connect> => ({
    clientId: 'c',
    cleanStart: false,
    properties: { sessionExpiryInterval: seconds },
    will: delayed(text, delay),
  })

  /** Milliseconds after the loss of the connection at which the will is heard, in whole seconds; -1 is never. */
  function firesAfter(options: Partial<Connect>, end = (wire: Wire, connection: number): void => wire.close(connection)): number {
    const wire = new Wire()
    const watcher = watcherOf(wire)
    end(wire, connected(wire, options))
    for (let second = 0; second <= 200; second++) {
      if (heard(wire, watcher).length > 0) return second
      wire.advance(1000)
    }
    return -1
  }

  test('whichever comes first', () => {
    expect(firesAfter(expiring(100, 'x', 10))).toBe(10)
    expect(firesAfter(expiring(10, 'x', 100))).toBe(10)
    expect(firesAfter(expiring(10, 'x', 10))).toBe(10)
    expect(firesAfter(expiring(0, 'x', 100))).toBe(0)
    expect(firesAfter(expiring(0xffffffff, 'x', 0xffffffff))).toBe(-1)
  })

  test('the expiry that DISCONNECT says counts', () => {
    const goodbye =
      (seconds: number) =>
      (wire: Wire, connection: number): void =>
        wire.send(connection, disconnect(4, { sessionExpiryInterval: seconds }))
    expect(firesAfter(expiring(100, 'x', 50), goodbye(10))).toBe(10)
    expect(firesAfter(expiring(10, 'x', 50), goodbye(100))).toBe(50)
    expect(firesAfter(expiring(100, 'x', 50), goodbye(0))).toBe(0)
  })

  test('called off by who comes back to the session; not by a clean start, nor by somebody who is refused', () => {
    const wire = new Wire({}, { access: { ...OPEN_ACCESS, connect: (_info, { username }) => (username === 'bad' ? 0x86 : 0) } })
    const watcher = watcherOf(wire)
    wire.close(connected(wire, expiring(100, 'x', 10)))
    wire.advance(9999)
    wire.close(connected(wire, { clientId: 'c', ...LASTING }))
    wire.advance(50_000)
    expect(heard(wire, watcher)).toEqual([])

    wire.close(connected(wire, expiring(100, 'y', 10)))
    wire.advance(5000)
    expect(wire.lines(wire.connect({ clientId: 'c', ...LASTING, username: 'bad' }))).toEqual(['CONNACK 0x86', 'close'])
    expect(heard(wire, watcher)).toEqual([])
    wire.advance(5000)
    expect(heard(wire, watcher)).toEqual(['w/d=y q1 #1'])

    wire.close(connected(wire, expiring(100, 'z', 10)))
    connected(wire, { clientId: 'c', cleanStart: true })
    expect(heard(wire, watcher)).toEqual(['w/d=z q1 #2'])
  })

  test('survives a restart: the time in which there was no process counts', () => {
    const wire = Wire.stored()
    watcherOf(wire)
    wire.close(connected(wire, expiring(100, 'x', 60)))
    wire.advance(20_000)
    const again = wire.restarted(20_000)
    again.advance(19_999)
    expect(heard(again)).toEqual([])
    again.advance(1)
    expect(heard(again)).toEqual(['w/d=x q1 #1'])
  })

  test('a restart may find it due already, by its delay or by the end of the session', () => {
    for (const [expiry, delay] of [
      [100, 60],
      [60, 100],
    ] as const) {
      const wire = Wire.stored()
      watcherOf(wire)
      wire.close(connected(wire, expiring(expiry, 'x', delay)))
      expect(heard(wire.restarted(59_999))).toEqual([])
      expect(heard(wire.restarted(60_000))).toEqual(['w/d=x q1 #1'])
    }
  })

  test('a client that was connected when the process died has its delay from the start on, and calls it off by coming back', () => {
    const wire = Wire.stored()
    watcherOf(wire)
    connected(wire, expiring(100, 'x', 10))
    const again = wire.restarted(50_000)
    again.advance(9_999)
    expect(heard(again)).toEqual([])
    const back = again.restarted(0)
    connected(back, { clientId: 'c', ...LASTING })
    back.advance(1e6)
    expect(heard(back)).toEqual([])
    again.advance(1)
    expect(heard(again)).toEqual(['w/d=x q1 #1'])
  })

  test('its message expiry counts from its publication', () => {
    const wire = Wire.stored()
    const watcher = watcherOf(wire)
    const properties = { willDelayInterval: 50, messageExpiryInterval: 20 }
    wire.close(connected(wire, { ...expiring(100, '', 0), will: will('w/d', 'x', 1, properties) }))
    wire.close(watcher)
    wire.advance(50_000)
    wire.advance(15_000)
    const [, message] = wire.packets(wire.connect({ clientId: 'watcher', ...LASTING }))
    expect(message).toMatchObject({ topic: 'w/d', properties: { messageExpiryInterval: 5 } })
    wire.advance(5001)
    expect(heard(wire.restarted())).toEqual([])
  })
})

describe('behaviour 15: a will beyond what the server can do', () => {
  test.each(VERSIONS)('QoS above maximum_qos: refused, 5.0 with 0x9B, 3.x without a word (version %i)', (protocolVersion) => {
    const wire = new Wire({ listeners: new Map([['mqtt', { ...DEFAULT_LISTENER_LIMITS, maximumQos: 1 }]]) })
    const refused = wire.lines(wire.connect({ protocolVersion, will: will('w/c', 'x', 2) }))
    expect(refused).toEqual(protocolVersion === 5 ? ['CONNACK 0x9b', 'close'] : ['close'])
    connected(wire, { protocolVersion, will: will('w/c', 'x', 1) })
  })

  test.each(VERSIONS)('retained where nothing is: refused, 5.0 with 0x9A, 3.x without a word (version %i)', (protocolVersion) => {
    const wire = new Wire({}, { limits: { retainAvailable: false } })
    const refused = wire.lines(wire.connect({ protocolVersion, will: will('w/c', 'x', 0, {}, true) }))
    expect(refused).toEqual(protocolVersion === 5 ? ['CONNACK 0x9a', 'close'] : ['close'])
    connected(wire, { protocolVersion, will: will('w/c', 'x', 0) })
  })

  test('nothing of a refused one is kept', () => {
    const wire = Wire.stored({}, { limits: { retainAvailable: false } })
    const watcher = watcherOf(wire)
    wire.connect({ clientId: 'c', ...LASTING, will: will('w/c', 'x', 0, {}, true) })
    wire.advance(1e7)
    expect(heard(wire, watcher)).toEqual([])
    expect(wire.broker.sessions.get('mqtt', 'c')).toBeUndefined()
  })

  test('a retained will without a payload clears what is retained, after a restart too', () => {
    const wire = Wire.stored()
    const watcher = watcherOf(wire)
    wire.send(watcher, Publish.of('w/c', Buffer.from('kept'), 0, true))
    expect(wire.broker.retained.count).toBe(1)
    wire.out(watcher)
    wire.close(connected(wire, { will: will('w/c', '', 0, {}, true) }))
    expect(heard(wire, watcher)).toEqual(['w/c= q0'])
    expect(wire.broker.retained.count).toBe(0)
    expect(wire.restarted().broker.retained.count).toBe(0)
  })

  test('retained or not, as it says', () => {
    const wire = Wire.stored()
    wire.close(connected(wire, { will: will('w/not', 'x') }))
    wire.close(connected(wire, { will: will('w/kept', 'x', 1, {}, true) }))
    expect(Array.from(wire.restarted().broker.retained, ({ topic }) => topic)).toEqual(['w/kept'])
  })
})

describe('behaviour 16: will properties', () => {
  const properties = {
    payloadFormatIndicator: 1,
    messageExpiryInterval: 100,
    contentType: 'text/plain',
    responseTopic: 'answers',
    correlationData: Buffer.from('id'),
    userProperties: [
      ['b', '2'],
      ['a', '1'],
      ['b', '2'],
    ],
  } as const

  const published = (wire: Wire, watcher: number): object => {
    const message = wire.packets(watcher).find((packet) => typeof packet === 'object' && packet.type === 3)
    const { properties: found } = message as { properties: { correlationData: Uint8Array } }
    return { ...found, correlationData: Buffer.from(found.correlationData) }
  }

  test('are on the PUBLISH, user properties in their order; the delay is not', () => {
    const wire = Wire.stored()
    const watcher = watcherOf(wire)
    wire.close(connected(wire, { ...LASTING, will: will('w/c', 'x', 1, { ...properties, willDelayInterval: 5 }) }))
    wire.advance(5000)
    expect(published(wire, watcher)).toEqual(properties)
  })

  test('and after a restart', () => {
    const wire = Wire.stored()
    watcherOf(wire)
    wire.close(connected(wire, { ...LASTING, will: will('w/c', 'x', 1, { ...properties, willDelayInterval: 5 }) }))
    const again = wire.restarted(5000)
    expect(published(again, again.connect({ clientId: 'watcher', ...LASTING }))).toEqual(properties)
  })

  test('the retained will has them too, and a 3.1.1 subscriber gets it without', () => {
    const wire = Wire.stored()
    const watcher = watcherOf(wire, { clientId: 'old', protocolVersion: 4 })
    wire.close(connected(wire, { will: will('w/c', 'x', 1, properties, true) }))
    expect(heard(wire, watcher)).toEqual(['w/c=x q1 #1'])
    const again = wire.restarted()
    const late = connected(again, { clientId: 'late' })
    again.send(late, subscribe('w/c', 1))
    expect(published(again, late)).toEqual(properties)
  })
})

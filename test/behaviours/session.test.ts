import { describe, expect, test } from 'vitest'
import type { Connect } from '../../src/mqtt/packets.ts'
import type { Properties } from '../../src/mqtt/properties.ts'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { will } from '../broker/harness.ts'
import { disconnect, LASTING, publish, subscribe } from '../mqtt/requests.ts'
import { Wire } from '../mqtt/wire.ts'

const NEVER = 0xffffffff

/** CONNACK for this client, and what follows it at once. */
function told(wire: Wire, clientId: string, options: Partial<Connect> = LASTING): string[] {
  return wire.lines(wire.connect({ clientId, ...options }))
}

/** A connected client whose CONNACK was read. */
function connected(wire: Wire, clientId: string, options: Partial<Connect> = LASTING): number {
  const connection = wire.connect({ clientId, ...options })
  wire.out(connection)
  return connection
}

function watcherOf(wire: Wire): number {
  const watcher = connected(wire, 'watcher', {})
  wire.send(watcher, subscribe('#', 2))
  wire.out(watcher)
  return watcher
}

/** How a session that outlives its connection is asked for. */
const lasting = (protocolVersion: ProtocolVersion): Partial<Connect> =>
  protocolVersion === 5 ? LASTING : { protocolVersion, cleanStart: false }

describe('behaviour 6: Session Present is exact', () => {
  test.each([4, 5] as const)(
    'with and without subscriptions, after a clean start and after a restart (version %i)',
    (version) => {
      const options = lasting(version)
      let wire = Wire.stored()
      expect(told(wire, 'c', options)).toEqual(['CONNACK'])
      // Taken over, lost, and gone with a goodbye: it is the same session.
      expect(told(wire, 'c', options)).toEqual(['CONNACK present'])
      wire.close(2)
      expect(told(wire, 'c', options)).toEqual(['CONNACK present'])
      wire.send(3, disconnect())
      expect(told(wire, 'c', options)).toEqual(['CONNACK present'])
      wire = wire.restarted(1000)
      expect(told(wire, 'c', options)).toEqual(['CONNACK present'])
      wire.send(1, subscribe('a', 1))
      wire = wire.restarted(1000)
      expect(told(wire, 'c', options)).toEqual(['CONNACK present'])
      expect(told(wire, 'c', { ...options, cleanStart: true })).toEqual(['CONNACK'])
      wire = wire.restarted(1000)
      expect(told(wire, 'other', options)).toEqual(['CONNACK'])
      wire = wire.restarted(1000)
      // A clean session of 3.x ends with its connection, which the restart was.
      expect(told(wire, 'c', options)).toEqual([version === 5 ? 'CONNACK present' : 'CONNACK'])
    },
  )

  test('3.1 has no such flag, and the session all the same', () => {
    const wire = Wire.stored()
    const options = lasting(3)
    wire.send(connected(wire, 'c', options), subscribe('a', 1))
    wire.close(1)
    wire.send(connected(wire, 'p', {}), publish('a', 'x', 1))
    expect(told(wire, 'c', options)).toEqual(['CONNACK', 'a=x q1 #1'])
  })

  test('a session without expiry is over with its connection, at a takeover too', () => {
    const wire = Wire.stored()
    for (const options of [{ cleanStart: false }, { protocolVersion: 4, cleanStart: true }] as const) {
      wire.send(connected(wire, 'c', options), subscribe('a', 1))
      expect(told(wire, 'c', { ...options, cleanStart: false })).toEqual(['CONNACK'])
      expect(wire.broker.subscriptionCount).toBe(0)
      expect(told(wire, 'c', { cleanStart: true })).toEqual(['CONNACK'])
    }
    expect(told(wire.restarted(), 'c')).toEqual(['CONNACK'])
  })

  test('a refused CONNECT says 0, whatever there is', () => {
    const wire = Wire.stored({}, { limits: { maxTopicLevels: 2 } })
    wire.close(connected(wire, 'c'))
    expect(told(wire, 'c', { ...LASTING, will: will('a/b/c', 'x') })).toEqual(['CONNACK 0x90', 'close'])
    expect(told(wire, 'c')).toEqual(['CONNACK present'])
  })
})

describe('behaviour 7: takeover', () => {
  test.each([3, 4, 5] as const)(
    'the old connection is told 0x8E, or closed, before the new one has CONNACK (version %i)',
    (version) => {
      const wire = new Wire()
      const order: string[] = []
      const old = connected(wire, 'c', lasting(version))
      wire.send(old, subscribe('a', 1))
      wire.out(old)
      const fresh = wire.open()
      const { connections } = wire
      const poll = connections.poll.bind(connections)
      connections.poll = () => {
        const out = poll()
        if (out !== undefined) order.push(`${out.connection === old ? 'old' : 'new'} ${out.kind}`)
        return out
      }
      wire.send(fresh, {
        type: 1,
        protocolVersion: version,
        bridge: false,
        clientId: 'c',
        keepAlive: 0,
        will: undefined,
        username: undefined,
        password: undefined,
        cleanStart: false,
        properties: version === 5 ? { sessionExpiryInterval: 3600 } : {},
      })
      expect(order).toEqual(version === 5 ? ['old write', 'old close', 'new write'] : ['old close', 'new write'])
      expect(wire.lines(old)).toEqual(version === 5 ? ['DISCONNECT 0x8e', 'close'] : ['close'])
      expect(wire.lines(fresh)).toEqual([version === 3 ? 'CONNACK' : 'CONNACK present'])
      // The session is kept, and is the new connection's.
      wire.send(connected(wire, 'p', {}), publish('a', 'x', 1))
      expect(wire.lines(fresh)).toEqual(['a=x q1 #1'])
      wire.send(old, publish('a', 'from the grave'))
      expect(wire.lines(fresh)).toEqual([])
    },
  )

  test('between versions', () => {
    const wire = new Wire()
    const four = connected(wire, 'c', lasting(4))
    const five = wire.connect({ clientId: 'c', ...LASTING })
    expect([wire.lines(four), wire.lines(five)]).toEqual([['close'], ['CONNACK present']])
    const again = wire.connect({ clientId: 'c', ...lasting(4) })
    expect([wire.lines(five), wire.lines(again)]).toEqual([['DISCONNECT 0x8e', 'close'], ['CONNACK present']])
  })

  const takenOver = (old: Partial<Connect>, delay: number, fresh: Partial<Connect>): string[] => {
    const wire = new Wire()
    const watcher = watcherOf(wire)
    connected(wire, 'c', { ...old, will: will('w', 'old', 0, delay === 0 ? {} : { willDelayInterval: delay }) })
    connected(wire, 'c', fresh)
    wire.advance(1e7)
    return wire.lines(watcher)
  }

  test('the old will fires, unless it has a delay and the session goes on (MQTT-3.1.3-9)', () => {
    expect(takenOver(LASTING, 0, LASTING)).toEqual(['w=old q0'])
    expect(takenOver(LASTING, 10, LASTING)).toEqual([])
    expect(takenOver(LASTING, 10, { ...LASTING, cleanStart: true })).toEqual(['w=old q0'])
    // Without expiry the session ends at the takeover, and the delay with it.
    expect(takenOver({}, 10, LASTING)).toEqual(['w=old q0'])
    expect(takenOver(lasting(4), 0, lasting(4))).toEqual(['w=old q0'])
  })
})

describe('behaviour 8: Session Expiry', () => {
  /** What CONNACK says of the session after so many seconds away. */
  const backAfter = (seconds: number, interval: number | undefined, goodbye?: Properties): string => {
    const wire = Wire.stored()
    const properties = interval === undefined ? {} : { sessionExpiryInterval: interval }
    const connection = connected(wire, 'c', { cleanStart: false, properties })
    if (goodbye === undefined) wire.close(connection)
    else wire.send(connection, disconnect(0, goodbye))
    // Half of it while the process is down.
    wire.advance(seconds * 500)
    const again = wire.restarted(seconds * 500)
    again.advance(0)
    return told(again, 'c')[0]!
  }

  test('0 and none end with the connection', () => {
    expect(backAfter(0, 0)).toBe('CONNACK')
    expect(backAfter(0, undefined)).toBe('CONNACK')
  })

  test('counts from the end of the connection, over a restart', () => {
    expect(backAfter(99, 100)).toBe('CONNACK present')
    expect(backAfter(100, 100)).toBe('CONNACK')
    expect(backAfter(4_294_967_293, NEVER - 1)).toBe('CONNACK present')
    expect(backAfter(4_294_967_294, NEVER - 1)).toBe('CONNACK')
  })

  test('0xFFFFFFFF never ends', () => {
    expect(backAfter(10_000_000_000, NEVER)).toBe('CONNACK present')
  })

  test('DISCONNECT overrides it: shorter, longer, for ever, at once', () => {
    expect(backAfter(9, 100, { sessionExpiryInterval: 10 })).toBe('CONNACK present')
    expect(backAfter(10, 100, { sessionExpiryInterval: 10 })).toBe('CONNACK')
    expect(backAfter(999, 100, { sessionExpiryInterval: 1000 })).toBe('CONNACK present')
    expect(backAfter(1000, 100, { sessionExpiryInterval: 1000 })).toBe('CONNACK')
    expect(backAfter(10_000_000_000, 100, { sessionExpiryInterval: NEVER })).toBe('CONNACK present')
    expect(backAfter(0, NEVER, { sessionExpiryInterval: 0 })).toBe('CONNACK')
    expect(backAfter(100, 100, {})).toBe('CONNACK')
  })

  test('only for this once: the next CONNECT says its own', () => {
    const wire = new Wire()
    wire.send(connected(wire, 'c'), disconnect(0, { sessionExpiryInterval: 10 }))
    wire.close(connected(wire, 'c'))
    wire.advance(3_599_000)
    expect(told(wire, 'c')).toEqual(['CONNACK present'])
  })

  test('raised from 0 in DISCONNECT: 0x82, the will fires and nothing stays', () => {
    const wire = new Wire()
    const watcher = watcherOf(wire)
    const connection = connected(wire, 'c', { will: will('w', 'x') })
    wire.send(connection, disconnect(0, { sessionExpiryInterval: 10 }))
    expect(wire.lines(connection)).toEqual(['DISCONNECT 0x82', 'close'])
    expect(wire.lines(watcher)).toEqual(['w=x q0'])
    expect(told(wire, 'c')).toEqual(['CONNACK'])
    const other = connected(wire, 'd', {})
    wire.send(other, disconnect(0, { sessionExpiryInterval: 0 }))
    expect(wire.lines(other)).toEqual(['close'])
  })

  test('persistent_client_expiration: what a 3.x session without clean session lasts, and at most a 5.0 one, which is told', () => {
    const wire = new Wire({}, { limits: { persistentClientExpiration: 100 } })
    for (const protocolVersion of [3, 4] as const) {
      const options = { protocolVersion, cleanStart: false }
      const away = (seconds: number): number => {
        wire.close(connected(wire, 'c', options))
        wire.advance(seconds * 1000)
        return wire.broker.sessions.size
      }
      expect([away(99), away(100)]).toEqual([1, 0])
    }
    const [connack] = wire.packets(wire.connect({ clientId: 'five', ...LASTING }))
    expect(connack).toMatchObject({ properties: { sessionExpiryInterval: 100 } })
    expect(wire.packets(wire.connect({ properties: { sessionExpiryInterval: 100 } }))[0]).not.toHaveProperty(
      'properties.sessionExpiryInterval',
    )
    const [bounded] = wire.packets(wire.connect({ properties: { sessionExpiryInterval: NEVER } }))
    expect(bounded).toMatchObject({ properties: { sessionExpiryInterval: 100 } })
  })

  test('an old session of 3.x, and one that never ends, do not end', () => {
    const wire = Wire.stored()
    wire.close(connected(wire, 'four', lasting(4)))
    wire.advance(1e12)
    expect(told(wire.restarted(1e12), 'four', lasting(4))).toEqual(['CONNACK present'])
  })
})

describe('behaviour 9: Session Expiry is not for a server to send in DISCONNECT (MQTT-3.14.2-2)', () => {
  const ends: Record<string, (wire: Wire, connection: number) => void> = {
    takeover: (wire) => void wire.connect({ clientId: 'c' }),
    'the end of the server': (wire) => wire.broker.shutdown.closeAll(wire.now, 0x8b),
    'keep alive': (wire) => wire.advance(100_000),
    'a malformed packet': (wire, connection) => wire.sendHex(connection, 'c100'),
    'a protocol error': (wire, connection) => wire.send(connection, disconnect(0x00, { sessionExpiryInterval: 5 })),
  }

  test.each(Object.keys(ends))('at %s', (name) => {
    const wire = new Wire()
    const connection = connected(wire, 'c', { keepAlive: 10 })
    ends[name]!(wire, connection)
    wire.run()
    const [told] = wire.packets(connection)
    expect(told).toMatchObject({ type: 14, reasonCode: expect.any(Number) })
    expect((told as { reasonCode: number }).reasonCode).toBeGreaterThanOrEqual(0x80)
    expect(told).not.toHaveProperty('properties.sessionExpiryInterval')
  })
})

import { describe, expect, test } from 'vitest'
import { Publish } from '../../src/mqtt/publish.ts'
import { Wire } from './wire.ts'

const KIB = 1024
const most = { maxPacketSize: 64 * KIB, maxReceiveBufferBytes: 100 * KIB }

/** The first bytes of a PUBLISH with a remaining length of 60,000. */
const begin = (wire: Wire, connection: number, bytes: number): void =>
  wire.sendHex(connection, `30e0d403${'00'.repeat(bytes - 4)}`)

const connect = (wire: Wire, peer = '192.0.2.1:1'): number => {
  const connection = wire.connect({}, { peer })
  wire.out(connection)
  return connection
}

const closed = (wire: Wire, connections: readonly number[]): boolean[] =>
  connections.map((connection) => wire.lines(connection).includes('close'))

describe('packets that are not whole', () => {
  test('above the bound the one of an address that began first is given up, and the others arrive', () => {
    const wire = new Wire(most)
    const clients = [connect(wire), connect(wire), connect(wire)]
    for (const client of clients.slice(0, 2)) begin(wire, client, 50 * KIB)
    expect(closed(wire, clients)).toEqual([false, false, false])
    begin(wire, clients[2]!, 10 * KIB)
    expect(closed(wire, clients)).toEqual([true, false, false])
    expect(wire.notices.filter(({ limit }) => limit !== undefined)).toEqual([
      {
        code: 'limit-reached',
        level: 'warn',
        client: `mqtt:c${clients[0]}`,
        peer: '192.0.2.1:1',
        reason: 'a packet of which 51200 bytes have arrived is given up',
        limit: 'max_receive_buffer_bytes',
      },
    ])
  })

  test('the address that holds most gives one up, and an upload from another goes on', () => {
    const wire = new Wire(most)
    const honest = connect(wire, '192.0.2.1:1')
    begin(wire, honest, 20 * KIB)
    const flood = [1, 2, 3, 4, 5, 6].map((port) => connect(wire, `[2001:db8::${port}]:${port}`))
    for (const client of flood) begin(wire, client, 30 * KIB)
    expect(closed(wire, flood)).toEqual([true, true, true, true, false, false])
    expect(wire.lines(honest)).not.toContain('close')
    const ended = wire.notices.filter(({ code }) => code === 'limit-reached').map((notice) => 'client' in notice && notice.client)
    expect(ended).toEqual(flood.slice(0, 4).map((client) => `mqtt:c${client}`))
  })

  test('one that was read to its end counts no more, nor does one whose connection is gone', () => {
    const wire = new Wire(most)
    for (let i = 0; i < 5; i++) {
      const client = connect(wire)
      begin(wire, client, 50 * KIB)
      if (i % 2 === 0) wire.close(client)
      else wire.sendHex(client, '00'.repeat(60_004 - 50 * KIB))
    }
    expect(wire.codes()).not.toContain('limit-reached')
  })

  test('who sends one large packet after the other has not begun first', () => {
    const wire = new Wire(most)
    const [steady, slow, third] = [connect(wire), connect(wire), connect(wire)]
    const whole = Buffer.concat([Buffer.from('30e0d403000161', 'hex'), Buffer.alloc(59_997)]).toString('hex')
    wire.sendHex(steady, whole.slice(0, 40 * KIB))
    begin(wire, slow, 50 * KIB)
    // Its first packet ends, and its second begins in the same chunk.
    wire.sendHex(steady, whole.slice(40 * KIB) + whole.slice(0, 60 * KIB))
    begin(wire, third, 30 * KIB)
    expect(closed(wire, [steady, slow, third])).toEqual([false, true, false])
  })

  test('what waits in front of the stream counts, until it comes', () => {
    const wire = new Wire(most)
    const [first, second] = [connect(wire), connect(wire)]
    wire.connections.buffering(0, first, 60 * KIB)
    wire.send(first, Publish.of('a', Buffer.alloc(50 * KIB)))
    wire.connections.buffering(0, second, 60 * KIB)
    expect(wire.codes()).not.toContain('limit-reached')
    begin(wire, first, 50 * KIB)
    wire.run()
    expect(closed(wire, [first, second])).toEqual([false, true])
  })
})

test('a packet above max_packet_size has a code of its own, at warn, with the key', () => {
  const wire = new Wire({ maxPacketSize: 1000 })
  const client = connect(wire)
  wire.send(client, Publish.of('a', Buffer.alloc(1000)))
  expect(wire.lines(client)).toEqual(['DISCONNECT 0x95', 'close'])
  const reason = 'packet of 1007 bytes is above 1000 (MQTT-3.2.2-15)'
  const notice = {
    code: 'packet-too-large',
    level: 'warn',
    client: `mqtt:c${client}`,
    peer: '192.0.2.1:1',
    reason,
    limit: 'max_packet_size',
  }
  expect(wire.notices).toContainEqual(notice)
})

test('by default a packet of 16 MiB is taken, and CONNACK says so', () => {
  const wire = new Wire()
  const connection = wire.connect()
  expect(wire.packets(connection)).toMatchObject([{ type: 2, properties: { maximumPacketSize: 16 * KIB * KIB } }])
  wire.send(connection, Publish.of('a', Buffer.alloc(16 * KIB * KIB - 9)))
  expect(wire.out(connection)).toEqual([])
})

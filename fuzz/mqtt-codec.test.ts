import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Broker } from '../src/broker/broker.ts'
import { Connections } from '../src/mqtt/connections.ts'
import { Framer } from '../src/mqtt/framer.ts'
import type { Packet } from '../src/mqtt/packets.ts'
import type { ProtocolVersion } from '../src/mqtt/publish.ts'
import { MemoryStore } from '../src/store/store.ts'
import { decodeAll, encoded, packets, type Sender, said, sent } from './packets.ts'
import { runs } from './runs.ts'

const version = fc.constantFrom<ProtocolVersion>(3, 4, 5)

test('what is encoded decodes to itself, and encodes to the same bytes again', () => {
  fc.assert(
    fc.property(sent, ({ v, sender, packet }) => {
      const bytes = encoded(packet, v)
      const { packets: found, error } = decodeAll([bytes], sender, v)
      expect(error).toBeUndefined()
      expect(found.map(said)).toEqual([said(packet)])
      expect(encoded(found[0]!, v)).toEqual(bytes)
    }),
    runs(1000),
  )
})

/** A second one is malformed, whatever it says. */
const withOneConnect = (list: Packet[]): Packet[] => {
  const first = list.find(({ type }) => type === 1)
  return list.filter((packet) => packet.type !== 1 || packet === first)
}

test('any chunking of a stream gives the same packets', () => {
  const stream = fc
    .tuple(version, fc.constantFrom<Sender>('client', 'server'))
    .chain(([v, sender]) =>
      fc.tuple(
        fc.constant(v),
        fc.constant(sender),
        fc.array(packets(v, sender), { maxLength: 6 }).map(withOneConnect),
        fc.array(fc.nat(), { maxLength: 8 }),
      ),
    )
  fc.assert(
    fc.property(stream, ([v, sender, list, cuts]) => {
      const bytes = Buffer.concat(list.map((packet) => encoded(packet, v)))
      const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
      const chunks = ends.map((end, i) => Uint8Array.from(bytes.subarray(ends[i - 1] ?? 0, end)))
      expect(decodeAll(chunks, sender, v).packets.map(said)).toEqual(list.map(said))
    }),
    runs(500),
  )
})

test('any bytes are packets or malformed, never an exception, and never more is kept than allowed', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }),
      version,
      fc.constantFrom<Sender>('client', 'server'),
      (chunks, v, sender) => {
        decodeAll(chunks, sender, v)
        const framer = new Framer(20)
        for (const chunk of chunks) {
          framer.push(chunk)
          while (framer.next());
          expect(framer.buffered).toBeLessThanOrEqual(20)
        }
      },
    ),
    runs(3000),
  )
})

test('every truncation and every flipped bit gives packets or malformed', () => {
  fc.assert(
    fc.property(sent, fc.nat(), fc.nat(), ({ v, sender, packet }, cut, flip) => {
      const bytes = encoded(packet, v)
      expect(decodeAll([bytes.slice(0, cut % bytes.length)], sender, v).packets).toEqual([])
      bytes[flip % bytes.length]! ^= 1 << (flip % 8)
      decodeAll([bytes], sender, v)
    }),
    runs(2000),
  )
})

test('a broker behind its connections survives any bytes, and forgets who sent them', () => {
  const connectFirst = encoded(
    {
      type: 1,
      protocolVersion: 5,
      bridge: false,
      clientId: 'f',
      cleanStart: true,
      keepAlive: 0,
      will: undefined,
      username: undefined,
      password: undefined,
      properties: {},
    },
    5,
  )
  const step = fc.oneof(
    packets(5, 'client').map((packet) => encoded(packet, 5)),
    packets(4, 'client').map((packet) => encoded(packet, 4)),
    fc.uint8Array({ maxLength: 30 }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), fc.boolean(), (steps, connected) => {
      const broker = new Broker({ store: new MemoryStore(), clock: { epoch: 0 }, notice: () => {}, random: () => 0.5 })
      const connections = new Connections(broker, {}, () => {})
      connections.open(0, 1, { peer: 'fuzz', listener: 'mqtt' })
      for (const chunk of connected ? [connectFirst, ...steps] : steps) {
        if (chunk.length > 0) connections.chunk(0, 1, chunk)
        for (let link = broker.nextReadyLink(); link !== undefined; link = broker.nextReadyLink()) connections.linkReady(0, link)
        while (connections.poll() !== undefined);
      }
      connections.closed(0, 1, 'end')
      for (let link = broker.nextReadyLink(); link !== undefined; link = broker.nextReadyLink()) connections.linkReady(0, link)
      expect(connections.size).toBe(0)
      expect(broker.linkCount).toBe(0)
    }),
    runs(500),
  )
})

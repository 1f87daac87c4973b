import { describe, expect, test } from 'vitest'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { PINGREQ, publish, subscribe } from '../mqtt/requests.ts'
import { Wire } from '../mqtt/wire.ts'

// Chapter 2 (packet format) of MQTT 5.0; of 3.1.1 where it says the same. Chapter 1.5 is in test/behaviours/codec.test.ts.

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5]

function connected(wire: Wire, protocolVersion: ProtocolVersion = 5, clientId?: string): number {
  const connection = wire.connect({ protocolVersion, ...(clientId !== undefined && { clientId }) })
  wire.out(connection)
  return connection
}

describe.each(VERSIONS)('packet identifiers (version %i)', (version) => {
  test('MQTT-2.2.1-2: PUBLISH with QoS 0 has no packet identifier', () => {
    const wire = new Wire()
    const reader = connected(wire, version)
    wire.send(reader, subscribe('a', 0))
    wire.out(reader)
    const writer = connected(wire, version === 5 ? 4 : 5)
    wire.send(writer, publish('a', 'x', 1, 0x4142))
    expect(wire.out(reader)).toEqual([version === 5 ? '30050001610078' : '300400016178'])
  })

  test('MQTT-2.2.1-5: acknowledgements name the PUBLISH that they are for', () => {
    const wire = new Wire()
    const watcher = connected(wire)
    wire.send(watcher, subscribe('#', 0))
    const writer = connected(wire, version)
    wire.send(writer, publish('a', 'x', 1, 7))
    wire.send(writer, publish('a', 'y', 2, 8))
    wire.send(writer, { type: 6, packetId: 8, reasonCode: 0, properties: {} })
    expect(wire.lines(writer)).toEqual(['PUBACK #7', 'PUBREC #8', 'PUBCOMP #8'])
    const reader = connected(wire, version)
    wire.send(reader, subscribe('b', 2))
    wire.out(reader)
    for (const text of ['1', '2']) wire.send(writer, publish('b', text, 2, 9 + Number(text)))
    expect(wire.lines(reader)).toEqual(['b=1 q2 #1', 'b=2 q2 #2'])
    for (const packetId of [2, 1]) wire.send(reader, { type: 5, packetId, reasonCode: 0, properties: {} })
    expect(wire.lines(reader)).toEqual(['PUBREL #2', 'PUBREL #1'])
  })
})

test('MQTT-2.2.1-4: a new PUBLISH has a packet identifier that is not 0 and not in use', () => {
  const ids = 65_535
  const wire = new Wire({}, { limits: { maxInflightMessages: ids, maxQueuedMessages: ids } })
  const reader = connected(wire)
  wire.send(reader, subscribe('a', 1))
  wire.out(reader)
  const writer = connected(wire, 4)
  const send = (count: number): void => wire.sendHex(writer, '3206 0001 61 0001 78'.repeat(count))
  /** Packet ids of what has come. */
  const received = (): number[] => wire.packets(reader).map((packet) => (packet as { packetId: number }).packetId)
  const acknowledge = (list: number[]): void =>
    wire.sendHex(reader, list.map((id) => `4002${id.toString(16).padStart(4, '0')}`).join(''))
  send(2)
  expect(received()).toEqual([1, 2])
  // Once around, with 1 and 2 still on their way.
  for (let next = 3; next <= ids; next += 700) {
    send(Math.min(700, ids - next + 1))
    const some = received()
    expect([some[0], some.at(-1)]).toEqual([next, Math.min(next + 699, ids)])
    acknowledge(some)
  }
  send(2)
  expect(received()).toEqual([3, 4])
})

test('MQTT-2.2.2-1: no properties are a property length of zero', () => {
  const wire = new Wire()
  const connection = connected(wire)
  wire.send(connection, subscribe('a', 1))
  expect(wire.out(connection)).toEqual(['900400010001'])
  wire.send(connection, PINGREQ)
  wire.send(connected(wire, 4), publish('a', 'x', 1))
  expect(wire.out(connection)).toEqual(['d000', '3207000161000100 78'.replace(' ', '')])
})

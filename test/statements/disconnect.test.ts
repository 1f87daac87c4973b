import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { Will } from '../../src/mqtt/packets.ts'
import { disconnectCode, mayCarry } from '../../src/mqtt/reason-codes.ts'
import { Wire } from '../mqtt/wire.ts'
import { persistent, VERSIONS, WireClient, world } from '../mqtt/wire-client.ts'

const will: Will = { topic: 'w', payload: Buffer.from('gone'), qos: 0, retain: false, properties: {} }
const SUBSCRIBE_NOTHING = { 3: '82020001', 4: '82020001', 5: '8203000100' } as const

describe.each(VERSIONS)('DISCONNECT in version %i', (protocolVersion) => {
  test('MQTT-4.13.1-1: whoever breaks the protocol is closed, and told why if it speaks 5.0', () => {
    const client = WireClient.connect(world(), { protocolVersion })
    client.sendHex(SUBSCRIBE_NOTHING[protocolVersion])
    expect(client.hears()).toEqual(protocolVersion === 5 ? ['DISCONNECT 0x82', 'close'] : ['close'])
  })

  test('MQTT-4.13.2-1: what is no packet of a client closes too', () => {
    for (const hex of ['20020000', '90030001' + '00', 'b0020001', 'd000']) {
      const client = WireClient.connect(world(), { protocolVersion })
      client.sendHex(hex)
      expect(client.hears()).toEqual(protocolVersion === 5 ? ['DISCONNECT 0x82', 'close'] : ['close'])
    }
    const client = WireClient.connect(world(), { protocolVersion })
    client.wire.broker.shutdown.closeAll(0, 0x8b)
    client.wire.run()
    expect(client.hears()).toEqual(protocolVersion === 5 ? ['DISCONNECT 0x8b', 'close'] : ['close'])
  })
})

describe('DISCONNECT of 5.0', () => {
  test('5.0 MQTT-3.14.0-1: never before a CONNACK that accepts', () => {
    const wire = world()
    const malformed = wire.open()
    wire.sendHex(malformed, '10 0d 0004 4d515454 05 03 0000 00 0000')
    expect(wire.packets(malformed)).toEqual([expect.objectContaining({ type: 2, reasonCode: 0x81 }), 'close'])
    const never = wire.open()
    wire.sendHex(never, 'c000')
    expect(wire.packets(never)).toEqual(['close'])
    const refused = wire.connect({ will: { ...will, topic: '$SYS/x' } })
    expect(wire.packets(refused)).toEqual([expect.objectContaining({ type: 2, reasonCode: 0x87 }), 'close'])
  })

  test('5.0 MQTT-3.14.2-1: only with a reason code of its own', () => {
    for (let code = 0; code < 0x100; code++) expect(mayCarry(14, disconnectCode(code))).toBe(true)
    expect([0x82, 0x84, 0x86, 0x8c, 0x8a, 0x87].map(disconnectCode)).toEqual([0x82, 0x80, 0x87, 0x87, 0x87, 0x87])
    const client = WireClient.connect(world())
    client.wire.broker.shutdown.closeAll(0, 0x86)
    client.wire.run()
    expect(client.hears()).toEqual(['DISCONNECT 0x87', 'close'])
    const other = WireClient.connect(world())
    other.sendHex('e00186')
    expect(other.hears()).toEqual(['DISCONNECT 0x82', 'close'])
  })

  test('5.0 MQTT-3.14.2-2, -3: says why, and nothing else; not even that to a client that takes no packet of that size', () => {
    const told = (properties: object): unknown => {
      const client = WireClient.connect(world(), { properties })
      client.sendHex(SUBSCRIBE_NOTHING[5])
      return client.packets()
    }
    const disconnect = { type: 14, reasonCode: 0x82 }
    const reasonString = 'no topic filter (MQTT-3.8.3-2)'
    expect(told({ sessionExpiryInterval: 60 })).toEqual([{ ...disconnect, properties: { reasonString } }, 'close'])
    expect(told({ maximumPacketSize: 20 })).toEqual([{ ...disconnect, properties: {} }, 'close'])
  })

  test('5.0 MQTT-3.14.4-1, -2: is the last packet, and the connection is closed', () => {
    const wire = world()
    const client = WireClient.connect(wire).subscribed('a')
    client.sendHex(`${SUBSCRIBE_NOTHING[5]}c000`)
    WireClient.connect(wire).publish('a')
    client.sendHex('c000')
    client.sendHex(SUBSCRIBE_NOTHING[5])
    wire.advance(1e6)
    expect(client.hears()).toEqual(['DISCONNECT 0x82', 'close'])
  })

  test('5.0 MQTT-3.14.4-3: 0x00 takes the will away, every other reason code sends it', () => {
    for (const [reasonCode, fired] of [
      [0x00, []],
      [0x04, ['w=gone q0']],
      [0x80, ['w=gone q0']],
      [0x82, ['w=gone q0']],
    ] as const) {
      const wire = world()
      const watcher = WireClient.connect(wire).subscribed('w')
      const client = WireClient.connect(wire, { will })
      client.disconnect(reasonCode)
      expect(client.hears()).toEqual(['close'])
      expect(watcher.hears()).toEqual(fired)
    }
  })
})

describe('a store that is full', () => {
  test.each([3, 4] as const)('3.1.1 MQTT-4.8.0-2: closes version %i, which no answer can tell of it', (protocolVersion) => {
    for (const act of [
      (client: WireClient) => client.publish('a', 'x', 1),
      (client: WireClient) => client.publish('a', 'x', 2),
      (client: WireClient) => client.unsubscribe('a'),
    ]) {
      const store = new DelayedStore()
      const wire = new Wire({}, { store })
      const settle = (): void => {
        store.commit()
        wire.broker.handleDurable()
        wire.run()
      }
      const client = new WireClient(wire, { clientId: 'c', ...persistent(protocolVersion) })
      client.subscribe('a', 1)
      settle()
      expect(client.hears()).toEqual(['CONNACK', 'SUBACK #100 0x01'])
      store.refuse = true
      act(client)
      settle()
      expect(client.hears()).toEqual(['close'])
    }
  })

  test('refuses a subscription with 0x97, or the connection where 3.1 has no code for it', () => {
    for (const [protocolVersion, answer] of [
      [3, ['close']],
      [4, ['SUBACK #100 0x80']],
      [5, ['SUBACK #100 0x97']],
    ] as const) {
      const store = new DelayedStore()
      const wire = new Wire({}, { store })
      const client = new WireClient(wire, { clientId: 'c', ...persistent(protocolVersion) })
      store.commit()
      wire.broker.handleDurable()
      wire.run()
      client.hears()
      store.refuse = true
      client.subscribe('a', 1)
      expect(client.hears()).toEqual(answer)
      expect(wire.broker.subscriptionCount).toBe(0)
    }
  })

  test('ends the connection if it takes the subscription, but not the retained messages that SUBACK would vouch for', () => {
    const store = new DelayedStore()
    const wire = new Wire({}, { store })
    WireClient.connect(wire).publish('a', 'x', 1, { retain: true })
    const client = new WireClient(wire, { clientId: 'c', ...persistent(5) })
    store.commit()
    wire.broker.handleDurable()
    wire.run()
    client.hears()
    const append = store.append.bind(store)
    store.append = (record) => (record.type === 'message' ? 'full' : append(record))
    client.subscribe('a', 1)
    expect(client.hears()).toEqual(['DISCONNECT 0x97', 'close'])
  })
})

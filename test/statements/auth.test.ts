import { describe, expect, test } from 'vitest'
import type { AuthAnswer } from '../../src/broker/access.ts'
import type { Will } from '../../src/mqtt/packets.ts'
import { ACCEPTED, access, answerAuth, asking, CONTINUE, joined, METHOD, REFUSED, withData } from '../mqtt/enhanced-auth.ts'
import { persistent, WireClient, world } from '../mqtt/wire-client.ts'

const will: Will = { topic: 'w', payload: Buffer.from('gone'), qos: 0, retain: false, properties: {} }

describe('AUTH [5.0 section 3.15]', () => {
  test('MQTT-3.15.2-1: no other reason codes than those of AUTH, from either side', () => {
    const { wire, client } = asking()
    answerAuth(wire, CONTINUE)
    expect(client.hears()).toEqual(['AUTH 0x18'])
    client.auth(0x18, withData('proof'))
    answerAuth(wire, ACCEPTED)
    expect(client.hears()).toEqual(['CONNACK'])
    client.auth(0x19, withData('first'))
    answerAuth(wire, ACCEPTED)
    expect(client.hears()).toEqual(['AUTH'])
    client.sendHex('f0 06 01 04 15 0001 4d')
    expect(client.hears()).toEqual(['DISCONNECT 0x82', 'close'])
  })
})

describe('enhanced authentication [5.0 section 4.12]', () => {
  test('MQTT-4.12.0-1: a method that nobody knows is refused with 0x8C, and the connection is closed', () => {
    for (const wire of [world({ access }), world()]) {
      const client = new WireClient(wire, { properties: { authenticationMethod: 'other' } })
      expect(client.hears()).toEqual(['CONNACK 0x8c', 'close'])
    }
  })

  test('MQTT-4.12.0-2, -3: AUTH carries it on with 0x18, from either side', () => {
    const { wire, client } = asking()
    expect(answerAuth(wire, CONTINUE)).toMatchObject({ method: 'M', data: Buffer.from('first'), again: false })
    expect(client.packets()).toEqual([{ type: 15, reasonCode: 0x18, properties: withData('challenge') }])
    client.auth(0x18, withData('proof'))
    expect(answerAuth(wire, ACCEPTED)).toMatchObject({ method: 'M', data: Buffer.from('proof') })
    expect(client.hears()).toEqual(['CONNACK'])
    for (const reasonCode of [0x00, 0x19]) {
      const { wire, client } = asking()
      answerAuth(wire, CONTINUE)
      client.hears()
      client.auth(reasonCode, withData('proof'))
      expect(client.hears()).toEqual(['CONNACK 0x82', 'close'])
    }
  })

  test('MQTT-4.12.0-4: refused at any point, with CONNACK and the end of the connection', () => {
    const first = asking()
    answerAuth(first.wire, REFUSED)
    expect(first.client.hears()).toEqual(['CONNACK 0x87', 'close'])
    const second = asking()
    answerAuth(second.wire, CONTINUE)
    second.client.hears()
    second.client.auth(0x18, withData('proof'))
    answerAuth(second.wire, REFUSED)
    expect(second.client.hears()).toEqual(['CONNACK 0x87', 'close'])
    expect(second.wire.broker.sessions.size).toBe(0)
  })

  test('MQTT-4.12.0-5: the method stands in every AUTH and in CONNACK', () => {
    const { wire, client } = asking()
    for (let step = 0; step < 3; step++) {
      answerAuth(wire, CONTINUE)
      expect(client.packets()).toEqual([{ type: 15, reasonCode: 0x18, properties: withData('challenge') }])
      client.auth(0x18, withData('proof'))
      expect(client.hears()).toEqual([])
    }
    answerAuth(wire, ACCEPTED)
    expect(client.packets()).toEqual([
      expect.objectContaining({ type: 2, properties: expect.objectContaining(withData('final')) }),
    ])
    client.auth(0x19, withData('first'))
    answerAuth(wire, ACCEPTED)
    expect(client.packets()).toEqual([{ type: 15, reasonCode: 0, properties: withData('final') }])
  })

  test('MQTT-4.12.0-5: one without the method, or with another, ends it', () => {
    for (const properties of [{}, { authenticationMethod: 'N' }]) {
      const { wire, client } = asking()
      answerAuth(wire, CONTINUE)
      client.hears()
      client.auth(0x18, properties)
      expect(client.hears()).toEqual(['CONNACK 0x82', 'close'])
    }
  })

  test('MQTT-4.12.0-6: without a method in CONNECT there is none in CONNACK, and no AUTH', () => {
    const client = new WireClient(world({ access }))
    const [connack, ...rest] = client.packets()
    expect(connack).toMatchObject({ type: 2, reasonCode: 0 })
    expect(connack).not.toHaveProperty('properties.authenticationMethod')
    expect(rest).toEqual([])
  })

  test('MQTT-4.12.0-7: AUTH from a client that has named no method breaks the protocol', () => {
    for (const properties of [{}, METHOD]) {
      const client = WireClient.connect(world({ access }))
      client.auth(0x19, properties)
      expect(client.hears()).toEqual(['DISCONNECT 0x82', 'close'])
    }
  })
})

describe('re-authentication [5.0 section 4.12.1]', () => {
  test('MQTT-4.12.1-1: with 0x19 and the method of CONNECT, while messages go on', () => {
    const { wire, client } = joined()
    client.subscribed('a')
    client.auth(0x19, withData('again'))
    client.publish('a', 'meanwhile')
    client.sendHex('c000')
    expect(client.hears()).toEqual(['a=meanwhile q0', 'PINGRESP'])
    expect(answerAuth(wire, CONTINUE)).toMatchObject({ again: true, username: 'u' })
    expect(client.hears()).toEqual(['AUTH 0x18'])
    client.auth(0x18, withData('proof'))
    answerAuth(wire, ACCEPTED)
    expect(client.hears()).toEqual(['AUTH'])
  })

  test('MQTT-4.12.1-1: with another method it breaks the protocol', () => {
    for (const properties of [{}, { authenticationMethod: 'N' }]) {
      const { client } = joined()
      client.auth(0x19, properties)
      expect(client.hears()).toEqual(['DISCONNECT 0x82', 'close'])
    }
  })

  test('MQTT-4.12.1-2: one that fails ends the connection with DISCONNECT, and the will fires', () => {
    for (const [refusal, heard] of [
      [REFUSED, 'DISCONNECT 0x87'],
      [{ kind: 'refused', reasonCode: 0x8c, reason: 'x' }, 'DISCONNECT 0x87'],
      [{ kind: 'refused', reasonCode: 0x88, reason: 'x' }, 'DISCONNECT 0x80'],
      [{ ...ACCEPTED, username: 'somebody else' }, 'DISCONNECT 0x87'],
    ] as const) {
      const { wire, client } = joined({ will, properties: { ...withData('first'), ...persistent(5).properties } })
      const watcher = WireClient.connect(wire).subscribed('w')
      client.auth(0x19, withData('again'))
      answerAuth(wire, refusal as AuthAnswer)
      expect(client.hears()).toEqual([heard, 'close'])
      expect(watcher.hears()).toEqual(['w=gone q0'])
      expect(wire.broker.sessions.size).toBe(2)
    }
  })
})

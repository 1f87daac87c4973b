import { describe, expect, test } from 'vitest'
import type { Will } from '../../src/mqtt/packets.ts'
import { ACCEPTED, answerAuth, asking, CONTINUE, joined, withData } from '../mqtt/enhanced-auth.ts'
import { persistent, WireClient } from '../mqtt/wire-client.ts'

const will: Will = { topic: 'w', payload: Buffer.from('gone'), qos: 0, retain: false, properties: {} }

describe('behaviour 44: AUTH', () => {
  test('nothing else comes before it is done: what is sent too early is refused, and not carried out', () => {
    for (const hex of ['c000', '3005 0001 61 00 78', '820700010000016100', 'a206000100000161', '400200 01', 'f000']) {
      const { wire, client } = asking({ will })
      const watcher = WireClient.connect(wire).subscribed('#')
      answerAuth(wire, CONTINUE)
      client.hears()
      client.sendHex(hex)
      expect(client.hears()).toEqual(['CONNACK 0x82', 'close'])
      expect(watcher.hears()).toEqual([])
      expect([wire.broker.sessions.size, wire.broker.subscriptionCount]).toEqual([1, 1])
    }
    const { wire, client } = asking({ will })
    const watcher = WireClient.connect(wire).subscribed('#')
    answerAuth(wire, CONTINUE)
    client.hears()
    client.disconnect()
    expect([client.hears(), watcher.hears()]).toEqual([['close'], []])
  })

  test('what is pipelined behind CONNECT waits for the verifier, in its order', () => {
    const { wire, client } = asking()
    client.subscribe('a', 1)
    client.publish('a', 'x', 1)
    expect(client.hears()).toEqual([])
    answerAuth(wire, ACCEPTED)
    expect(client.hears().toSorted()).toEqual(['CONNACK', 'PUBACK #1', 'SUBACK #100 0x01', 'a=x q1 #1'])
  })

  test('re-authentication keeps traffic in both directions, and the session', () => {
    const { wire, client } = joined({ properties: { ...withData('first'), ...persistent(5).properties } })
    client.subscribed('a', 1)
    const other = WireClient.connect(wire)
    client.auth(0x19, withData('again'))
    other.publish('a', 'one', 1)
    answerAuth(wire, CONTINUE)
    other.publish('a', 'two', 1)
    client.publish('b', 'mine', 1)
    client.auth(0x18, withData('proof'))
    other.publish('a', 'three', 1)
    answerAuth(wire, ACCEPTED)
    expect(client.hears()).toEqual(['a=one q1 #1', 'AUTH 0x18', 'a=two q1 #2', 'PUBACK #1 0x10', 'a=three q1 #3', 'AUTH'])
  })

  test('a second re-authentication before the first is over breaks the protocol', () => {
    const { client } = joined()
    client.auth(0x19, withData('again'))
    client.auth(0x19, withData('again'))
    expect(client.hears()).toEqual(['DISCONNECT 0x82', 'close'])
  })

  test('who is gone before the answer is let go, and a late answer falls flat', () => {
    const { wire, client } = asking({ clientId: 'c' })
    const request = wire.broker.nextAuthRequest()!
    client.lost()
    expect(wire.broker.nextAbandonedAuth()).toBe(request.link)
    wire.broker.authenticated(wire.now, request.link, request.step, ACCEPTED)
    wire.run()
    expect(wire.broker.sessions.size).toBe(0)
  })

  test.each([
    ['says goodbye instead of an answer', (client: WireClient) => client.disconnect()],
    ['sends something else', (client: WireClient) => client.publish('t', 'x')],
    ['answers with another method', (client: WireClient) => client.auth(0x18, { authenticationMethod: 'other' })],
  ])('nobody goes on to verify a client that %s', (_, ends) => {
    const { wire, client } = asking()
    const { link } = answerAuth(wire, CONTINUE)
    ends(client)
    expect(wire.broker.nextAbandonedAuth()).toBe(link)
    expect(wire.broker.nextAbandonedAuth()).toBeUndefined()
  })

  test('nor one that leaves in the middle of a re-authentication', () => {
    const { wire, client } = joined()
    client.auth(0x19, withData('again'))
    const { link } = wire.broker.nextAuthRequest()!
    client.disconnect()
    expect(wire.broker.nextAbandonedAuth()).toBe(link)
  })
})

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { CONNACK, CONNECT, PINGREQ, PINGRESP, TestListener } from '../mqtt/io/test-listener.ts'
import { refusal, WsClient } from '../mqtt/io/ws-client.ts'

let roost: TestListener
beforeAll(async () => {
  roost = await TestListener.open({ protocol: 'websockets' })
})
afterEach(() => WsClient.terminateAll())
afterAll(() => roost.close())

const CONNECTS = [
  ['mqttv3.1', '3.1', Buffer.from('100f00064d51497364700302003c000163', 'hex'), CONNACK],
  ['mqtt', '3.1.1', CONNECT, CONNACK],
  ['mqtt', '5.0', Buffer.from('100d00044d5154540502003c000000', 'hex'), undefined],
] as const

describe('behaviour 44: WebSocket', () => {
  test.each(CONNECTS)('the subprotocol %s is echoed, and carries MQTT %s', async (name, _, connect, connack) => {
    const client = await new WsClient(roost.port, [name]).open()
    expect(client.ws.protocol).toBe(name)
    client.ws.send(connect)
    if (connack !== undefined) await client.answer(connack)
    client.ws.send(PINGREQ)
    while (!client.hex.endsWith(PINGRESP)) await new Promise((resolve) => client.ws.once('message', resolve))
  })

  test('mqtt is preferred, whatever the order; none or another is refused', async () => {
    for (const offered of [
      ['mqtt', 'mqttv3.1'],
      ['mqttv3.1', 'x', 'mqtt'],
    ]) {
      expect((await new WsClient(roost.port, offered).open()).ws.protocol).toBe('mqtt')
    }
    for (const offered of [[], ['MQTT'], ['mqtt5', 'amqp']]) expect(await refusal(new WsClient(roost.port, offered))).toBe(400)
  })

  test('a text frame closes, before CONNECT and after it, and nothing of it is read', async () => {
    for (const first of [[], [CONNECT]]) {
      const client = await new WsClient(roost.port).open()
      for (const bytes of first) client.ws.send(bytes)
      client.ws.send(PINGREQ.toString('latin1'), { binary: false })
      client.ws.send(PINGREQ)
      expect(await client.closed).toBe(1003)
      expect(client.hex).not.toContain(PINGRESP)
    }
  })

  test('a packet may be split over messages and over fragments, and a message may hold many packets', async () => {
    const client = await new WsClient(roost.port).open()
    for (const byte of CONNECT) client.ws.send(Uint8Array.of(byte))
    await client.answer(CONNACK)
    const subscribe = Buffer.from('8206000100016100', 'hex')
    const publish = Buffer.from('3004000161' + '78', 'hex')
    const all = Buffer.concat([subscribe, publish, PINGREQ, publish, PINGREQ])
    client.ws.send(all.subarray(0, 3), { fin: false })
    client.ws.send(all.subarray(3, 12), { fin: false })
    client.ws.send(all.subarray(12, 21), { fin: true })
    client.ws.send(all.subarray(21))
    const heard = 2 * (5 + 2 * 6 + 2 * 2)
    while (client.hex.length < heard) await new Promise((resolve) => client.ws.once('message', resolve))
    const { hex } = client
    expect([hex.length, hex.split('300400016178').length - 1, hex.split('9003000100').length - 1]).toEqual([heard, 2, 1])
  })
})

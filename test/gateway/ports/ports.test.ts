import { describe, expect, test } from 'vitest'
import { PRIVATE_NETWORKS, parseNetwork } from '../../../src/base/networks.ts'
import type { PortSettings } from '../../../src/gateway/ports/port-settings.ts'
import { addressOfRoute, carrierOf, ipOf, nodeIdOf, nodeRoute, portNameOf, routeAt } from '../../../src/gateway/ports/route.ts'
import { encodedMessage } from '../../../src/mqttsn/encode.ts'
import { say, TestGateway } from '../harness.ts'

const RADIO: PortSettings = {
  name: 'radio',
  maxFrame: 60,
  retry: { tRetryMs: 30_000, nRetry: 2, backoff: 2, jitter: 0 },
  airtime: { bytesPerSecond: 10, dutyCycle: 1 },
  maxQueued: 8,
}
const LAN: PortSettings = {
  ...RADIO,
  name: 'sn',
  maxFrame: 1000,
  airtime: undefined,
  retry: { tRetryMs: 10_000, nRetry: 3, backoff: 1, jitter: 0 },
}
const A = 'line@radio'

const withRadio = (radio: Partial<PortSettings> = {}): TestGateway => new TestGateway({ ports: [LAN, { ...RADIO, ...radio }] })

/** Connected, subscribed to `t`, and its answers read. */
function subscribed(gateway: TestGateway, route: string, qos: 0 | 1 | 2 = 1): void {
  gateway.send(route, say.connect('s', { duration: 3000 }), say.subscribe('t', qos))
  gateway.advance(2000)
  expect(gateway.sent(route)).toEqual(['CONNACK', `SUBACK 0401 #9 q${qos}`])
}

test('a route says its port, its address and the node behind it', () => {
  const route = nodeRoute(routeAt('[2001:db8::1]:5000', 'field'), Uint8Array.of(0, 0x1f))
  expect(route).toBe('[2001:db8::1]:5000@field/node:001f')
  expect([portNameOf(route), addressOfRoute(route), ipOf(route), carrierOf(route)]).toEqual([
    'field',
    '[2001:db8::1]:5000',
    '2001:db8::1',
    '[2001:db8::1]:5000@field',
  ])
  expect(nodeIdOf(route)).toEqual(Uint8Array.of(0, 0x1f))
  expect([portNameOf('192.0.2.1:5'), ipOf('192.0.2.1:5'), ipOf('line@radio'), nodeIdOf('x')]).toEqual([
    'sn',
    '192.0.2.1',
    undefined,
    undefined,
  ])
})

describe('airtime', () => {
  test('what exceeds the budget waits, acknowledgements go first, and the order of messages stays', () => {
    const gateway = withRadio()
    subscribed(gateway, A, 0)
    for (const text of ['1', '2', '3']) gateway.publish('t', text, 0)
    gateway.send(A, say.ping())
    // The first message (8 octets, 800 ms) is under way; PINGRESP overtakes the others.
    expect(gateway.sent(A)).toEqual(['PUBLISH 0401=1 q0'])
    gateway.advance(800)
    expect(gateway.sent(A)).toEqual(['PINGRESP'])
    gateway.advance(200)
    expect(gateway.sent(A)).toEqual(['PUBLISH 0401=2 q0'])
    gateway.advance(799)
    expect(gateway.sent(A)).toEqual([])
    gateway.advance(1)
    expect(gateway.sent(A)).toEqual(['PUBLISH 0401=3 q0'])
  })

  test('a tenth of the airtime of an hour is for answers alone', () => {
    // 36 s: messages may use 32.4 s of it.
    const gateway = withRadio({ airtime: { bytesPerSecond: 10, dutyCycle: 0.01 } })
    subscribed(gateway, A, 0)
    for (let i = 0; i < 40; i++) gateway.publish('t', '0123456789abc', 0)
    gateway.advance(600_000)
    // 11 octets for CONNACK and SUBACK, 20 for each message.
    expect(gateway.sent(A).length).toBe(15)
    gateway.send(A, say.ping())
    expect(gateway.sent(A)).toEqual(['PINGRESP'])
    gateway.advance(3_600_000)
    expect(gateway.sent(A).length).toBe(16)
  })

  test('what waits for a sensor does not reach another one that comes to its address', () => {
    const gateway = withRadio({ airtime: { bytesPerSecond: 1, dutyCycle: 1 } })
    gateway.send(A, say.connect('s', { duration: 3000, clean: false }), say.subscribe('t', 1))
    gateway.advance(60_000)
    gateway.sent(A)
    gateway.send(A, say.register('a'))
    gateway.publish('t', 'for s', 1)
    gateway.send(A, say.connect('other', { duration: 3000 }))
    gateway.advance(600_000)
    expect(gateway.sent(A)).toEqual(['REGACK 0402 #1', 'CONNACK'])
    gateway.send(A, say.connect('s', { duration: 3000, clean: false }))
    gateway.advance(60_000)
    expect(gateway.sent(A).slice(0, 2)).toEqual(['CONNACK', 'REGISTER 0401=t #2'])
  })

  test('another port does not wait for it', () => {
    const gateway = withRadio()
    subscribed(gateway, A, 0)
    gateway.send('10.0.0.1:5', say.connect('other'), say.subscribe('t', 0))
    gateway.sent('10.0.0.1:5')
    for (const text of ['1', '2', '3']) gateway.publish('t', text, 0)
    expect(gateway.sent('10.0.0.1:5')).toEqual(['PUBLISH 0401=1 q0', 'PUBLISH 0401=2 q0', 'PUBLISH 0401=3 q0'])
  })

  test('T_retry counts from the moment when a message leaves, and the port has its own profile', () => {
    const gateway = withRadio({ airtime: { bytesPerSecond: 1, dutyCycle: 1 } })
    gateway.send(A, say.connect('s', { duration: 3000 }), say.subscribe('t', 1))
    gateway.advance(100_000)
    gateway.sent(A)
    gateway.send(A, say.register('some/long/topic/name'), say.register('another/topic', 2))
    gateway.publish('t', 'x', 1)
    // Two REGACKs of 7 octets go first: 14 s.
    gateway.advance(13_999)
    expect(gateway.sent(A)).toEqual(['REGACK 0402 #1', 'REGACK 0403 #2'])
    gateway.advance(1)
    expect(gateway.sent(A)).toEqual(['PUBLISH 0401=x #1 q1'])
    gateway.advance(29_999)
    expect(gateway.sent(A)).toEqual([])
    gateway.advance(1)
    expect(gateway.sent(A)).toEqual(['PUBLISH 0401=x #1 q1 dup'])
    gateway.advance(60_000)
    expect(gateway.sent(A)).toEqual(['PUBLISH 0401=x #1 q1 dup'])
    expect(gateway.codes()).not.toContain('retries-exhausted')
    gateway.advance(120_000)
    expect(gateway.codes()).toContain('retries-exhausted')
  })

  test('a wake is over when its last message has left, and not before', () => {
    const gateway = withRadio()
    subscribed(gateway, A, 0)
    gateway.send(A, say.disconnect(600))
    gateway.advance(1000)
    gateway.sent(A)
    for (const text of ['1', '2']) gateway.publish('t', text, 1)
    // QoS 0 for the subscription: kept for the sleeper all the same.
    gateway.send(A, say.ping('s'))
    gateway.advance(2000)
    expect(gateway.sent(A)).toEqual(['PUBLISH 0401=1 q0', 'PUBLISH 0401=2 q0', 'PINGRESP'])
  })

  test('a client that falls asleep takes back what has not left; QoS 1 comes at its next wake, QoS 0 is told', () => {
    for (const qos of [0, 1] as const) {
      const gateway = withRadio({ airtime: { bytesPerSecond: 1, dutyCycle: 1 } })
      gateway.send(A, say.connect('s', { duration: 3000 }), say.subscribe('t', qos))
      gateway.advance(60_000)
      gateway.send(A, say.register('first'))
      gateway.publish('t', 'x', qos)
      gateway.send(A, say.disconnect(6000))
      gateway.advance(600_000)
      expect(gateway.sent(A)).toEqual(['CONNACK', `SUBACK 0401 #9 q${qos}`, 'REGACK 0402 #1', 'DISCONNECT'])
      expect(gateway.codes().includes('message-dropped')).toBe(qos === 0)
      gateway.send(A, say.ping('s'))
      gateway.advance(20_000)
      expect(gateway.sent(A)).toEqual(qos === 0 ? ['PINGRESP'] : ['PUBLISH 0401=x #1 q1 dup'])
    }
  })

  test('PINGREQ before the PINGRESP of the awake period before has left: one PINGRESP, behind what that one brings', () => {
    const gateway = withRadio()
    const other = nodeRoute(A, Uint8Array.of(1))
    const asleep = (): void => {
      gateway.send(A, say.disconnect(6000))
      gateway.advance(5000)
      gateway.sent(A)
      // The answer to another one (6 octets and an envelope) is under way.
      gateway.send(other, say.ping(), say.ping())
      gateway.send(A, say.ping('s'))
    }
    subscribed(gateway, A)
    asleep()
    gateway.publish('t', 'x', 1)
    gateway.send(A, say.ping('s'))
    gateway.advance(5000)
    expect(gateway.sent(A)).toEqual(['PUBLISH 0401=x #1 q1'])
    gateway.send(A, say.puback(0x401, 1))
    gateway.advance(5000)
    expect(gateway.sent(A)).toEqual(['PINGRESP'])
    asleep()
    gateway.send(A, say.ping('s'), say.ping('s'))
    gateway.advance(5000)
    expect(gateway.sent(A)).toEqual(['PINGRESP'])
  })

  test('a client that has said goodbye is asked nothing about its will', () => {
    const gateway = withRadio()
    const connect = say.connect('s', { clean: false, will: true })
    // The question is asked again while the first one (2 octets, 200 ms) is under way.
    gateway.send(A, connect, connect, say.disconnect())
    gateway.advance(5000)
    expect(gateway.sent(A)).toEqual(['WILLTOPICREQ', 'DISCONNECT'])
  })

  test('the queue of a port is bounded, and a client at a full port loses nothing of QoS 1', () => {
    const gateway = withRadio({ airtime: { bytesPerSecond: 1, dutyCycle: 1 }, maxQueued: 2 })
    const nodes = [1, 2, 3, 4].map((id) => nodeRoute(A, Uint8Array.of(id)))
    for (const [i, node] of nodes.entries()) {
      gateway.send(node, say.connect(`s${i}`, { duration: 6000 }), say.subscribe('t', 1))
      gateway.advance(20_000)
      gateway.sent(node)
    }
    gateway.publish('t', 'x', 1)
    gateway.publish('t', 'y', 1)
    // Two found a place, and two did not.
    const full = gateway.notices.filter(({ limit }) => limit === 'sn_max_queued_frames')
    expect(full.map(({ peer }) => peer)).toEqual(nodes.slice(2))
    gateway.advance(60_000)
    // Its transaction brings it again, when there is place.
    for (const node of nodes) expect(gateway.sent(node)[0]).toMatch('PUBLISH 0401=x #1 q1')
    // And what was behind it has waited in its session, not in the port.
    for (const [i] of nodes.entries()) expect(gateway.gateway.client(`s${i}`)?.link?.backlog).toBe(1)
  })

  test('with a window above 1 no message overtakes one that found no place at its port', () => {
    const gateway = new TestGateway({ inflightMessages: 2, ports: [LAN, { ...RADIO, maxQueued: 1 }] })
    const [first, second] = [nodeRoute(A, Uint8Array.of(1)), nodeRoute(A, Uint8Array.of(2))]
    for (const [id, node] of [
      ['s', first],
      ['t', second],
    ] as const) {
      gateway.send(node, say.connect(id, { duration: 3000 }), say.subscribe('t', 1))
      gateway.advance(5000)
      gateway.sent(node)
    }
    // Its answer is under way.
    gateway.send(first, say.ping())
    gateway.publish('t', 'x', 1)
    gateway.advance(5000)
    expect([gateway.sent(first), gateway.sent(second)]).toEqual([['PINGRESP', 'PUBLISH 0401=x #1 q1'], []])
    gateway.publish('t', 'y', 1)
    gateway.advance(30_000)
    expect(gateway.sent(second)).toEqual(['PUBLISH 0401=x #1 q1 dup', 'PUBLISH 0401=y #2 q1'])
  })

  test('what fits no frame of the port is told, and the next message goes on', () => {
    const gateway = withRadio()
    subscribed(gateway, A)
    gateway.publish('t', 'x'.repeat(54), 1)
    gateway.publish('t', 'x'.repeat(53), 1)
    gateway.advance(10_000)
    expect(gateway.sent(A)).toEqual([`PUBLISH 0401=${'x'.repeat(53)} #2 q1`])
    expect(gateway.notices.filter(({ code }) => code === 'message-dropped')).toMatchObject([
      { client: 'sn:s', reason: '54 octets on t are too long for a datagram' },
    ])
  })

  test('a sensor at a port that is no longer configured is told about, and lost when it does not come back', () => {
    const gateway = withRadio()
    gateway.send('10.0.0.1:5@gone', say.connect('s'))
    expect(gateway.sent('10.0.0.1:5@gone')).toEqual([])
    expect(gateway.notices.filter(({ code }) => code === 'message-dropped')).toMatchObject([
      { peer: '10.0.0.1:5@gone', reason: 'CONNACK not sent: there is no port gone any more' },
    ])
  })

  test("a forwarder's envelope counts", () => {
    const gateway = withRadio()
    const node = nodeRoute(A, Uint8Array.of(1, 2))
    subscribed(gateway, node)
    gateway.publish('t', 'x'.repeat(49), 1)
    gateway.publish('t', 'x'.repeat(48), 1)
    gateway.advance(20_000)
    expect(gateway.sent(node)).toEqual([`PUBLISH 0401=${'x'.repeat(48)} #2 q1`])
    expect(gateway.notices.filter(({ code }) => code === 'message-dropped')).toHaveLength(1)
  })
})

describe('A20: an address that has not proved itself', () => {
  const FAR = '198.51.100.7:5000'
  const trusted = PRIVATE_NETWORKS.map((text) => parseNetwork(text)!)
  const open = (): TestGateway => new TestGateway({ trustedNetworks: trusted, unprovenPerSecond: 1 })

  test('is sent one message of any size, and its acknowledgement proves it', () => {
    const gateway = open()
    gateway.send(FAR, say.connect('s'), say.subscribe('tt/#', 1))
    gateway.publish('tt/1', 'x'.repeat(500), 1)
    gateway.publish('tt/2', 'y'.repeat(500), 1)
    const [, , register] = gateway.messages(FAR)
    expect(register).toMatchObject({ topicName: 'tt/1', msgId: 2 })
    gateway.send(FAR, say.regack(0x401, 2))
    expect(gateway.sent(FAR)).toEqual([`PUBLISH 0401=${'x'.repeat(500)} #1 q1`])
    gateway.send(FAR, say.puback(0x401, 1))
    expect(gateway.sent(FAR)).toEqual(['REGISTER 0402=tt/2 #1'])
  })

  test('a REGISTER that needs more than it has earned is the exception, and the next one waits until more was heard', () => {
    const gateway = open()
    const long = `tt/${'long'.repeat(20)}`
    gateway.send(FAR, say.connect('s'), say.subscribe('tt/#', 1))
    gateway.publish(long, 'x', 1)
    expect(gateway.sent(FAR)).toEqual(['CONNACK', 'SUBACK 0000 #9 q1', `REGISTER 0401=${long} #2`])
    gateway.advance(15_000)
    // Repeated only when it is earned, and not given up before.
    expect(gateway.sent(FAR)).toEqual([])
    for (let i = 0; i < 11; i++) gateway.send(FAR, say.ping())
    expect(gateway.sent(FAR).filter((line) => line !== 'PINGRESP')).toEqual([])
    for (let i = 0; i < 11; i++) gateway.send(FAR, say.ping())
    expect(gateway.sent(FAR).filter((line) => line !== 'PINGRESP')).toEqual([`REGISTER 0401=${long} #2`])
  })

  test('QoS 0 has no exception, and three times what was heard is never exceeded', () => {
    const gateway = open()
    let received = 0
    let sent = 0
    const hear = (message: Parameters<typeof encodedMessage>[0]): void => {
      received += encodedMessage(message).length
      gateway.send(FAR, message)
      sent += gateway.messages(FAR).reduce((sum, each) => sum + encodedMessage(each).length, 0)
      expect(sent).toBeLessThanOrEqual(3 * received)
    }
    hear(say.connect('s'))
    hear(say.subscribe('tt', 0))
    for (let i = 0; i < 20; i++) {
      gateway.publish('tt', 'twenty octets of it!', 0)
      hear(say.ping())
    }
    expect(sent).toBeGreaterThan(received)
  })

  test('a subscriber of QoS 0 is asked for its proof by a REGISTER, and then hears everything', () => {
    const gateway = open()
    gateway.send(FAR, say.connect('s'), say.subscribe('site/commands', 0), say.subscribeId('short', 0x7474, 0))
    gateway.sent(FAR)
    for (const text of ['1', '2', '3']) gateway.publish('site/commands', text.repeat(300), 0)
    expect(gateway.sent(FAR)).toEqual(['REGISTER 0401=site/commands #1'])
    gateway.send(FAR, say.regack(0x401, 1))
    expect(gateway.sent(FAR)).toEqual(['1', '2', '3'].map((text) => `PUBLISH 0401=${text.repeat(300)} q0`))
    gateway.publish('tt', 'x'.repeat(300), 0)
    expect(gateway.sent(FAR)).toEqual([`PUBLISH short:7474=${'x'.repeat(300)} q0`])
  })

  test.each([2, 3])(
    'who refuses that REGISTER with %i has proved itself too, and is told by the id that it knows',
    (returnCode) => {
      const gateway = open()
      gateway.send(FAR, say.connect('s'), say.subscribeId('short', 0x7474, 0))
      gateway.sent(FAR)
      for (const text of ['1', '2']) gateway.publish('tt', text.repeat(300), 0)
      expect(gateway.sent(FAR)).toEqual(['REGISTER 0401=tt #1'])
      gateway.send(FAR, say.regack(0x401, 1, returnCode))
      expect(gateway.sent(FAR)).toEqual(['1', '2'].map((text) => `PUBLISH short:7474=${text.repeat(300)} q0`))
    },
  )

  test('a sleeper there hears PINGRESP at once when the rest has to wait, and gets one message a wake', () => {
    const gateway = open()
    gateway.send(FAR, say.connect('s', { clean: false }), say.subscribe('tt', 1), say.disconnect(600))
    for (const text of ['1', '2', '3']) gateway.publish('tt', text.repeat(300), 1)
    gateway.sent(FAR)
    for (let wake = 0; wake < 2; wake++) {
      gateway.advance(10_000)
      gateway.send(FAR, say.ping('s'))
      // Nobody acknowledges: the sender was forged.
      const dup = wake === 0 ? '' : ' dup'
      expect(gateway.sent(FAR)).toEqual([`PUBLISH 0401=${'1'.repeat(300)} #1 q1${dup}`])
      gateway.advance(10_000)
      // The copy may not go out.
      expect(gateway.sent(FAR)).toEqual(['PINGRESP'])
    }
    gateway.send(FAR, say.ping('s'))
    gateway.sent(FAR)
    gateway.send(FAR, say.puback(0x401, 1))
    expect(gateway.sent(FAR)).toEqual([`PUBLISH 0401=${'2'.repeat(300)} #2 q1`])
  })

  test('large messages are few, for all such addresses together', () => {
    const gateway = open()
    const routes = Array.from({ length: 5 }, (_, i) => `198.51.100.${i}:5000`)
    for (const [i, route] of routes.entries()) gateway.send(route, say.connect(`s${i}`), say.subscribe('tt', 1))
    gateway.publish('tt', 'x'.repeat(300), 1)
    expect(routes.filter((route) => gateway.sent(route).some((line) => line.startsWith('PUBLISH')))).toHaveLength(1)
  })

  test('forged senders do not take the place of those whose addresses are trusted', () => {
    const gateway = new TestGateway({ trustedNetworks: trusted, maxSessions: 20, maxUnprovenSessions: 10 })
    for (let i = 0; i < 30; i++) gateway.send(`203.0.113.${i}:9`, say.connect(`forged${i}`))
    expect([9, 10].map((i) => gateway.sent(`203.0.113.${i}:9`))).toEqual([['CONNACK'], ['CONNACK rc1']])
    expect(gateway.notices.filter(({ limit }) => limit === 'max_sn_unproven_sessions')).toHaveLength(20)
    // Whoever was there before connects anew; who is trusted comes in.
    gateway.send('203.0.113.9:9', say.connect('forged9'))
    gateway.send('192.168.1.5:5000', say.connect('mine'))
    expect([gateway.sent('203.0.113.9:9'), gateway.sent('192.168.1.5:5000')]).toEqual([['CONNACK'], ['CONNACK']])
  })

  test('private addresses and serial lines need no proof', () => {
    for (const route of ['192.168.1.5:5000', '[fe80::1%eth0]:5000', 'line@radio']) {
      const ports = [LAN, { ...RADIO, airtime: undefined, maxFrame: 1000 }]
      const gateway = new TestGateway({ trustedNetworks: trusted, ports })
      gateway.send(route, say.connect('s'), say.subscribe('tt', 0))
      for (const text of ['1', '2', '3']) gateway.publish('tt', text.repeat(300), 0)
      expect(gateway.sent(route).filter((line) => line.startsWith('PUBLISH'))).toHaveLength(3)
    }
  })

  test('a flood of forged CONNECTs: bounded memory, and who was there before is served', () => {
    const gateway = new TestGateway({ trustedNetworks: trusted, maxUnprovenAddresses: 50, maxSessions: 100 })
    gateway.send('192.168.1.5:5000', say.connect('old'), say.subscribe('tt', 1))
    gateway.send(FAR, say.connect('far', { clean: false }), say.subscribe('tt', 1))
    gateway.publish('tt', 'x', 1)
    gateway.send(FAR, say.puback(0x401, 1))
    gateway.send('192.168.1.5:5000', say.puback(0x401, 1))
    gateway.sent(FAR)
    gateway.sent('192.168.1.5:5000')
    for (let i = 0; i < 5000; i++) {
      const route = `203.0.${i >> 8}.${i & 255}:9`
      gateway.send(route, say.connect(`forged${i}`))
      gateway.sent(route)
    }
    expect(gateway.gateway.clientCount).toBe(100)
    expect(gateway.gateway.rememberedAddresses).toBeLessThanOrEqual(51)
    gateway.publish('tt', 'still here'.repeat(50), 1)
    expect(gateway.sent(FAR)).toHaveLength(1)
    expect(gateway.sent('192.168.1.5:5000')).toHaveLength(1)
    expect(gateway.notices.some(({ limit }) => limit === 'max_sn_unproven_addresses')).toBe(true)
  })
})

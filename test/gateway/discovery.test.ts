import { describe, expect, test } from 'vitest'
import { parseNetwork } from '../../src/base/networks.ts'
import type { DiscoverySettings, PortSettings } from '../../src/gateway/ports/port-settings.ts'
import { nodeRoute } from '../../src/gateway/ports/route.ts'
import { unwrap } from '../../src/mqttsn/forwarder.ts'
import { type Message, MsgType } from '../../src/mqttsn/messages.ts'
import { say, TestGateway } from './harness.ts'

const HABITS: DiscoverySettings = {
  broadcast: 'multicast',
  tAdvSeconds: 900,
  nAdv: 3,
  tGwinfoMs: 5000,
  standby: false,
  radius: 2,
}
const LAN: PortSettings = {
  name: 'sn',
  maxFrame: 1000,
  retry: { tRetryMs: 10_000, nRetry: 3, backoff: 1, jitter: 0 },
  maxQueued: 10,
  discovery: HABITS,
}
const RADIO: PortSettings = { ...LAN, name: 'radio', discovery: { ...HABITS, broadcast: 'medium', tAdvSeconds: 0 } }
const started = (lan: Partial<DiscoverySettings> = {}): TestGateway =>
  new TestGateway({ ports: [{ ...LAN, discovery: { ...HABITS, ...lan } }, RADIO] })

const SEARCH: Message = { type: MsgType.SEARCHGW, radius: 1 }
const advertise = (gwId: number, duration = 900): Message => ({ type: MsgType.ADVERTISE, gwId, duration })
const MINUTES = 60_000

describe('ADVERTISE [1.2 section 6.1]', () => {
  test('at the start, then every T_adv, which it says', () => {
    const gateway = started()
    gateway.advance(0)
    expect(gateway.messages('*')).toEqual([advertise(7)])
    gateway.advance(15 * MINUTES - 1)
    expect(gateway.messages('*')).toEqual([])
    gateway.advance(1)
    expect(gateway.messages('*')).toEqual([advertise(7)])
  })

  test('T_adv 0 is off', () => {
    const gateway = started({ tAdvSeconds: 0 })
    gateway.advance(600 * MINUTES)
    expect(gateway.messages('*')).toEqual([])
    expect(gateway.messages('*@radio')).toEqual([])
  })

  test('A26: through every forwarder that was heard, to all of its nodes, with the radius', () => {
    const gateway = started()
    gateway.advance(0)
    gateway.send(nodeRoute('10.0.0.9:1', Uint8Array.of(1, 2)), say.connect('s'))
    gateway.send(nodeRoute('10.0.0.8:1@radio', Uint8Array.of(1)), say.connect('t'))
    const everybody = nodeRoute('10.0.0.9:1', Uint8Array.of(0xff, 0xff))
    gateway.advance(15 * MINUTES)
    expect(gateway.messages(everybody)).toEqual([advertise(7)])
    expect(gateway.messages(nodeRoute('10.0.0.8:1@radio', Uint8Array.of(0xff)))).toEqual([])
    gateway.gateway.handleTimeout(30 * MINUTES)
    const datagrams = [gateway.gateway.poll(30 * MINUTES)!, gateway.gateway.poll(30 * MINUTES)!]
    expect(datagrams.map(({ route }) => route)).toEqual(['*', '10.0.0.9:1'])
    expect(unwrap(datagrams[1]!.bytes)).toMatchObject({ radius: 2, nodeId: Uint8Array.of(0xff, 0xff) })
  })

  test('A26: through the 256 forwarders that were heard last', () => {
    const gateway = started()
    gateway.advance(0)
    const forwarder = (i: number): string => `10.0.${i >> 8}.${i & 255}:1`
    const hear = (i: number): void => gateway.send(nodeRoute(forwarder(i), Uint8Array.of(1)), say.connect(`s${i}`))
    for (let i = 0; i < 256; i++) hear(i)
    hear(0)
    hear(256)
    hear(257)
    gateway.advance(15 * MINUTES)
    const heard = (i: number): boolean => gateway.messages(nodeRoute(forwarder(i), Uint8Array.of(0xff))).length > 0
    expect([0, 1, 2, 3, 256, 257].map(heard)).toEqual([true, false, false, true, true, true])
  })

  test('another gateway is told when it is heard, and when it has missed N_adv of its ADVERTISEs', () => {
    const gateway = started()
    gateway.send('10.0.0.2:1884', advertise(8, 60), advertise(8, 60), advertise(7, 60))
    gateway.advance(60 * MINUTES)
    const told = gateway.notices.filter(({ code }) => code.startsWith('gateway-')).map(({ code, reason }) => `${code}: ${reason}`)
    expect(told).toEqual([
      'gateway-heard: gateway 8 advertises itself at sn',
      'gateway-gone: gateway 8 is not heard at sn any more',
    ])
    expect(gateway.sent('10.0.0.2:1884')).toEqual([])
  })

  test('in standby it is silent as long as another is heard, and begins when that one is gone', () => {
    const gateway = started({ standby: true })
    gateway.advance(40 * MINUTES)
    gateway.send('10.0.0.2:1884', advertise(8))
    gateway.advance(44 * MINUTES)
    expect(gateway.messages('*')).toEqual([])
    gateway.send('10.0.0.2:1884', advertise(8))
    gateway.advance(45 * MINUTES - 1)
    expect(gateway.messages('*')).toEqual([])
    gateway.advance(1)
    expect(gateway.messages('*')).toEqual([advertise(7)])
    gateway.advance(15 * MINUTES)
    expect(gateway.messages('*')).toEqual([advertise(7)])
    gateway.send('10.0.0.2:1884', advertise(8))
    gateway.advance(30 * MINUTES)
    expect(gateway.messages('*')).toEqual([])
  })
})

describe('ADVERTISE of whoever pretends to be a gateway', () => {
  const silentFor = (gateway: TestGateway): number => {
    for (let minutes = 15; minutes < 100 * 60; minutes += 15) {
      gateway.advance(15 * MINUTES)
      if (gateway.messages('*').length > 0) return minutes
    }
    return Number.POSITIVE_INFINITY
  }

  test('however long it says that it lasts, standby is silent for no more than three periods of its own', () => {
    const gateway = started({ standby: true })
    gateway.advance(40 * MINUTES)
    gateway.send('10.0.0.2:1884', advertise(8, 65_535))
    gateway.advance(45 * MINUTES - 1)
    expect(gateway.messages('*')).toEqual([])
    gateway.advance(1)
    expect(gateway.messages('*')).toEqual([advertise(7)])
  })

  test('from outside the trusted networks it does not count, even if that address has proven itself, and is told once', () => {
    const trustedNetworks = [parseNetwork('10.0.0.0/8')!]
    const gateway = new TestGateway({ ports: [{ ...LAN, discovery: { ...HABITS, standby: true } }], trustedNetworks })
    for (let i = 0; i < 20; i++) gateway.send('203.0.113.9:1', advertise(i % 2 === 0 ? 8 : 9, 65_535))
    expect(gateway.notices.filter(({ code }) => code === 'gateway-heard')).toEqual([
      {
        code: 'gateway-heard',
        level: 'warn',
        peer: '203.0.113.9:1',
        reason: 'gateway 8 advertises itself at sn from where none is expected, and does not count (gateway_networks)',
      },
    ])
    expect(silentFor(gateway)).toBe(45)
  })

  test('gateway_networks says where gateways are', () => {
    const gatewayNetworks = [parseNetwork('10.0.0.0/24')!]
    const ports = [{ ...LAN, discovery: { ...HABITS, standby: true } }]
    const stranger = new TestGateway({ ports, gatewayNetworks })
    stranger.advance(40 * MINUTES)
    stranger.send('10.0.1.2:1884', advertise(8))
    stranger.advance(5 * MINUTES)
    expect(stranger.messages('*')).toEqual([advertise(7)])
    const gateway = new TestGateway({ ports, gatewayNetworks })
    gateway.advance(40 * MINUTES)
    gateway.send('10.0.0.2:1884', advertise(8))
    gateway.advance(5 * MINUTES)
    expect(gateway.messages('*')).toEqual([])
  })
})

describe('A25: SEARCHGW', () => {
  const info: Message = { type: MsgType.GWINFO, gwId: 7, gwAddr: undefined }

  test('its sender alone is answered, at once', () => {
    const gateway = started()
    gateway.send('10.0.0.3:1', SEARCH)
    expect(gateway.messages('10.0.0.3:1')).toEqual([info])
    expect(gateway.messages('*')).not.toContainEqual(info)
  })

  test('on a medium that everybody hears the answer waits a random time, and one is enough for all', () => {
    const gateway = started()
    gateway.chance = 0.5
    gateway.send('line@radio', SEARCH)
    gateway.advance(1000)
    gateway.send('line@radio', SEARCH)
    gateway.advance(1499)
    expect(gateway.messages('*@radio')).toEqual([])
    gateway.advance(1)
    expect(gateway.messages('*@radio')).toEqual([info])
    gateway.advance(60_000)
    expect(gateway.messages('*@radio')).toEqual([])
    expect(gateway.messages('line@radio')).toEqual([])
  })

  test('behind a forwarder the node alone is answered, with the radius that it asked for', () => {
    const gateway = started()
    gateway.advance(0)
    gateway.messages('*')
    gateway.gateway.handleDatagram(0, '10.0.0.9:1', Uint8Array.of(4, 0xfe, 0, 5, 3, 1, 9))
    expect(Buffer.from(gateway.gateway.poll(0)!.bytes).toString('hex')).toBe('04fe0305' + '030207')
  })
})

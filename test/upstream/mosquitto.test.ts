import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { PacketType } from '../../src/mqtt/packets.ts'
import type { UpstreamLink } from '../../src/upstream/upstream-link.ts'
import { Certificates } from '../interop/certificates.ts'
import { MosquittoSub, mosquittoPub } from '../interop/mosquitto.ts'
import { describeWithMosquittoBroker, MosquittoBroker } from '../interop/mosquitto-broker.ts'
import { Owner } from './pair.ts'
import { RealLinks, type RealSettings } from './real-links.ts'

let certificates: Certificates
let links: RealLinks
const ends: { stop: () => unknown }[] = []

beforeAll(() => {
  certificates = new Certificates()
})
afterAll(() => certificates.remove())
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end.stop()
})

async function broker(...lines: string[]): Promise<MosquittoBroker> {
  const started = await MosquittoBroker.start(...lines)
  ends.push(started)
  return started
}

function open(url: string, owner: Owner, settings: RealSettings = {}, connect = {}): UpstreamLink {
  links = new RealLinks()
  ends.push(links)
  return links.open(url, owner, settings, connect)
}

const isUp = (link: UpstreamLink): Promise<unknown> => expect.poll(() => link.status.state).toBe('up')

/** Each QoS in both directions, over what is there. */
async function carries(port: number, link: UpstreamLink, owner: Owner, ...flags: string[]): Promise<void> {
  await isUp(link)
  links.subscribe(link, 'down/#')
  await expect.poll(() => owner.ids(PacketType.SUBACK)).toEqual([1])
  const sub = await MosquittoSub.start(port, '-t', 'up/#', '-q', '2', ...flags)
  ends.push(sub)
  for (const qos of [0, 1, 2] as const) {
    links.publish(link, `up/${qos}`, `of QoS ${qos}`, qos, qos === 0 ? 0 : 10 + qos)
    expect(await sub.next()).toBe(`up/${qos} of QoS ${qos}`)
    await mosquittoPub(port, '-t', `down/${qos}`, '-m', `${qos}`, '-q', `${qos}`, ...flags)
  }
  await expect.poll(() => owner.ids(PacketType.PUBACK)).toEqual([11])
  await expect.poll(() => owner.ids(PacketType.PUBCOMP)).toEqual([12])
  await expect.poll(() => owner.messages.map(({ topic, qos }) => `${topic} ${qos}`)).toEqual(['down/0 0', 'down/1 1', 'down/2 2'])
}

describeWithMosquittoBroker('a link to Mosquitto', () => {
  test.each([5, 4, 3, 'auto'] as const)('over TCP, with version %s', async (version) => {
    const { port } = await broker('allow_anonymous true')
    const owner = new Owner()
    const link = open(`mqtt://127.0.0.1:${port}`, owner, { version, bridge: true })
    await carries(port, link, owner)
    expect(link.status.version).toBe(version === 'auto' ? 5 : version)
    expect(links.notices.filter(({ code }) => code.startsWith('upstream'))).toHaveLength(1)
  })

  test('over TLS with a client certificate', async () => {
    const path = (name: Parameters<Certificates['path']>[0]): string => certificates.path(name)
    const server = await broker(
      ...['allow_anonymous true', `cafile ${path('ca.crt')}`, `certfile ${path('server.crt')}`, `keyfile ${path('server.key')}`],
      'require_certificate true',
    )
    const owner = new Owner()
    const tls = { cafile: path('ca.crt'), certfile: path('client.crt'), keyfile: path('client.key') }
    const link = open(`mqtts://localhost:${server.port}`, owner, { tls })
    const flags = ['--cafile', path('ca.crt'), '--cert', path('client.crt'), '--key', path('client.key')]
    await carries(server.port, link, owner, ...flags)
  })

  test('over WebSocket, plain and with TLS', async () => {
    // Debian's opens WebSocket on all addresses only.
    const [port, securePort] = await freePorts(2)
    const path = (name: Parameters<Certificates['path']>[0]): string => certificates.path(name)
    const files = [`cafile ${path('ca.crt')}`, `certfile ${path('server.crt')}`, `keyfile ${path('server.key')}`]
    await broker(
      ...['allow_anonymous true', `listener ${port}`, 'protocol websockets'],
      ...[`listener ${securePort}`, 'protocol websockets', ...files],
    )
    for (const url of [`ws://127.0.0.1:${port}/mqtt`, `wss://localhost:${securePort}/mqtt`]) {
      const owner = new Owner()
      const link = open(url, owner, { tls: { cafile: path('ca.crt') } })
      await isUp(link)
      links.subscribe(link, 'a')
      links.publish(link, 'a', 'around', 2, 5)
      await expect.poll(() => owner.messages.map(({ text }) => text)).toEqual(['around'])
      await expect.poll(() => owner.ids(PacketType.PUBCOMP)).toEqual([5])
    }
  })

  test('wrong credentials, certificate, name or address: one line each, and it goes on trying', async () => {
    const { port } = await broker('allow_anonymous false')
    const owner = new Owner()
    for (const [version, text] of [
      [5, 'CONNECT is refused: not authorized (0x87)'],
      [4, 'CONNECT is refused: not authorized (0x87)'],
    ] as const) {
      const link = open(`mqtt://127.0.0.1:${port}`, owner, { version }, { username: 'a', password: Buffer.from('b') })
      await expect.poll(() => link.status.dials).toBeGreaterThan(2)
      expect(links.lines('upstream-down')).toEqual([text])
      expect(owner.codes(PacketType.CONNACK)).toEqual(version === 5 ? [0x87] : [0x87, 0x87])
    }
    const path = (name: Parameters<Certificates['path']>[0]): string => certificates.path(name)
    const tls = await broker(
      ...['allow_anonymous true', `cafile ${path('ca.crt')}`, `certfile ${path('server.crt')}`, `keyfile ${path('server.key')}`],
    )
    const cases: [string, RealSettings, RegExp][] = [
      [`mqtts://localhost:${tls.port}`, {}, /^self-signed certificate in certificate chain$/],
      [`mqtts://localhost:${tls.port}`, { tls: { cafile: '/nowhere.pem' } }, /^cafile \/nowhere\.pem: there is no such file$/],
      [
        `mqtts://localhost:${tls.port}`,
        { tls: { cafile: path('ca.crt'), serverName: 'elsewhere.example' } },
        /^Hostname\/IP does not match certificate's altnames: Host: elsewhere\.example/,
      ],
      ['mqtt://127.0.0.1:1', {}, /^connect ECONNREFUSED 127\.0\.0\.1:1$/],
      ['mqtt://nowhere.invalid', {}, /^getaddrinfo (ENOTFOUND|EAI_AGAIN) nowhere\.invalid$/],
      [`mqtt://localhost:${tls.port}`, {}, /^closed before CONNACK: .* \(or is this a port for TLS\?\)$/],
      [`mqtts://localhost:${port}`, { tls: { cafile: path('ca.crt') } }, /TLS/],
    ]
    for (const [url, settings, wanted] of cases) {
      const link = open(url, new Owner(), { version: 5, ...settings })
      await expect.poll(() => link.status.dials).toBeGreaterThan(2)
      expect(links.lines('upstream-down'), url).toEqual([expect.stringMatching(wanted)])
    }
    const link = open(`mqtts://localhost:${tls.port}`, new Owner(), {
      tls: { cafile: path('ca.crt'), serverName: 'elsewhere.example', insecure: true },
    })
    await isUp(link)
  })

  test('a broker that is killed and comes back gets what was not answered, once', async () => {
    const directory = certificates.directory
    const persistent = [
      'allow_anonymous true',
      'persistence true',
      `persistence_location ${directory}/`,
      'autosave_interval 1',
      'autosave_on_changes true',
    ]
    const first = await broker(...persistent)
    const owner = new Owner()
    owner.acknowledges = true
    const link = open(`mqtt://127.0.0.1:${first.port}`, owner)
    await isUp(link)
    links.subscribe(link, 'loop/#')
    await expect.poll(() => owner.ids(PacketType.SUBACK)).toEqual([1])
    for (let i = 1; i <= 50; i++) links.publish(link, `loop/${i}`, `${i}`, 2, i)
    await expect.poll(() => owner.messages.length).toBeGreaterThan(5)
    await first.kill()
    await expect.poll(() => link.status.state).not.toBe('up')
    // On the same port.
    const second = await MosquittoBroker.start(...persistent.slice(0, 1), `listener ${first.port} 127.0.0.1`)
    ends.push(second)
    await isUp(link)
    await expect.poll(() => link.inFlight).toBe(0)
    expect(new Set(owner.ids(PacketType.PUBCOMP)).size).toBe(50)
  })

  test('another client with the same id: the link does not fight with it, and says why', async () => {
    const { port } = await broker('allow_anonymous true')
    const link = open(`mqtt://127.0.0.1:${port}`, new Owner(), { version: 5, backoff: { baseMs: 50, maxMs: 60_000 } })
    await isUp(link)
    // It comes back after a second each time.
    const sub = await MosquittoSub.start(port, '-t', 'a', '-i', 'head-office', '-V', 'mqttv5')
    ends.push(sub)
    await expect
      .poll(() => links.lines('upstream-down').at(-1), { timeout: 15_000 })
      .toBe(
        "closed by the far side, 3 times in a row within 5 s of CONNACK: does another client have the client id 'head-office'?",
      )
    expect(links.server.upstream!.nextTimeout()! - performance.now()).toBeGreaterThan(50_000)
  })
})

/** Ports that nobody listens on. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  for (const server of servers) server.close()
  return ports
}

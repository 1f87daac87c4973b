import { once } from 'node:events'
import { request } from 'node:http'
import { connect as connectTls } from 'node:tls'
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { parseNetwork } from '../../../src/base/networks.ts'
import type { ConnectionLimits } from '../../../src/mqtt/connection-limits.ts'
import type { ListenOptions } from '../../../src/mqtt/io/listen.ts'
import { v2, v4Addresses } from '../../vectors/proxy-protocol.ts'
import { Certificates } from './certificates.ts'
import { CONNACK, CONNECT, PINGREQ, PINGRESP, RawClient, TestListener } from './test-listener.ts'
import { refusal, WsClient } from './ws-client.ts'

let certificates: Certificates
let server: { certfile: string; keyfile: string }
beforeAll(() => {
  certificates = new Certificates()
  server = certificates.issue('server', '/CN=localhost', 'server')
  certificates.issue('sensor', '/CN=sensor 1', 'client')
})
afterAll(() => certificates.remove())

const opened: TestListener[] = []
const ends: (() => void)[] = []
const open = async (options: Partial<ListenOptions> = {}, connections: Partial<ConnectionLimits> = {}): Promise<TestListener> => {
  const listener = await TestListener.open({ protocol: 'websockets', ...options }, connections)
  opened.push(listener)
  return listener
}
afterEach(async () => {
  for (const end of ends.splice(0)) end()
  WsClient.terminateAll()
  for (const listener of opened.splice(0)) await listener.close()
})

const mqttJs = async (url: string, options: IClientOptions = {}): Promise<MqttClient> => {
  const client = await connectAsync(url, { reconnectPeriod: 0, ...options })
  ends.push(() => client.end(true))
  return client
}

/** The request, and a message in one frame, of a client that is not ws. */
const UPGRADE = [
  'GET / HTTP/1.1',
  'Host: x',
  'Upgrade: websocket',
  'Connection: Upgrade',
  `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`,
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Protocol: mqtt\r\n\r\n',
].join('\r\n')

function frame(message: Uint8Array): Buffer {
  const header = Buffer.from('82ff000000000000000000000000', 'hex')
  header.writeUIntBE(message.length, 4, 6)
  return Buffer.concat([header, message])
}

/** What a client gets of its own message. */
async function echo(client: MqttClient, payload: Buffer): Promise<Buffer> {
  await client.subscribeAsync('echo', { qos: 1 })
  const received = new Promise<Buffer>((resolve) => client.once('message', (_, bytes) => resolve(bytes)))
  await client.publishAsync('echo', payload, { qos: 1 })
  return received
}

describe('MQTT.js', () => {
  test.each([3, 4, 5] as const)('version %i, small and large payloads', async (protocolVersion) => {
    const roost = await open({ path: '/mqtt' })
    const version = { protocolVersion, ...(protocolVersion === 3 && { protocolId: 'MQIsdp' as const }) }
    const client = await mqttJs(`ws://127.0.0.1:${roost.port}/mqtt`, version)
    const large = Buffer.alloc(500_000, 'abcdefg')
    expect((await echo(client, Buffer.from('small'))).toString()).toBe('small')
    expect((await echo(client, large)).equals(large)).toBe(true)
    expect(roost.infos[0]).toMatchObject({ kind: 'mqtt', listener: 'test', peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/) })
    await client.endAsync()
    await roost.next('client-disconnected')
  })

  test('wss with a client certificate, which names the client', async () => {
    const cafile = certificates.path('ca.pem')
    const names = { useIdentityAsUsername: true, useSubjectAsUsername: false, tlsVersion: 'tlsv1.2' } as const
    const roost = await open({ tls: { ...server, ...names, cafile, requireCertificate: 'required' } })
    const own = { ca: certificates.read('ca.pem'), cert: certificates.read('sensor.pem'), key: certificates.read('sensor.key') }
    const client = await mqttJs(`wss://127.0.0.1:${roost.port}`, own)
    expect((await echo(client, Buffer.from('secret'))).toString()).toBe('secret')
    expect(roost.infos[0]?.identity).toBe('sensor 1')
    const { cert: _, key: __, ...none } = own
    await expect(mqttJs(`wss://127.0.0.1:${roost.port}`, none)).rejects.toThrow()
    expect(await roost.next('client-refused')).toMatch(/TLS handshake: .*certificate/)
  })
})

describe('the upgrade', () => {
  test.each([
    [['mqtt'], 'mqtt'],
    [['mqttv3.1'], 'mqttv3.1'],
    [['other', 'mqttv3.1', 'mqtt'], 'mqtt'],
  ])('%j is answered with %s (MQTT-6.0.0-4)', async (offered, echoed) => {
    const client = await new WsClient((await open()).port, offered).open()
    expect(client.ws.protocol).toBe(echoed)
    expect(client.ws.extensions).toBe('')
  })

  test.each([[[]], [['MQTT']], [['other', 'mqtt5']]])('%j is refused with 400 (MQTT-6.0.0-3)', async (offered) => {
    const roost = await open()
    expect(await refusal(new WsClient(roost.port, offered))).toBe(400)
    expect(await roost.next('client-refused')).toBe('info PEER: the subprotocol mqtt was not offered (MQTT-6.0.0-3)')
    expect(roost.loop.connectionCount).toBe(0)
  })

  test('of another path is refused; a query does not matter', async () => {
    const { port } = await open({ path: '/mqtt' })
    expect(await refusal(new WsClient(port, ['mqtt'], {}, '/other'))).toBe(400)
    await new WsClient(port, ['mqtt'], {}, '/mqtt?x=1').open()
  })

  test('a plain request is told to upgrade, and closed', async () => {
    const roost = await open()
    const asked = request({ host: '127.0.0.1', port: roost.port, path: '/', agent: false }).end()
    const [response] = (await once(asked, 'response')) as [import('node:http').IncomingMessage]
    expect(response.statusCode).toBe(426)
    expect(response.headers.connection).toBe('close')
    response.resume()
    await once(asked, 'close')
    expect(await roost.next('client-refused')).toBe('info PEER: an HTTP request that is no upgrade to WebSocket')
  })

  test.each([
    ['a header that never ends', Buffer.from(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}`), 'HTTP/1.1 431'],
    ['MQTT without an upgrade', CONNECT, 'HTTP/1.1 400'],
  ])('%s is closed at once', async (_, bytes, answer) => {
    const client = await RawClient.connect({ host: '127.0.0.1', port: (await open()).port })
    client.socket.write(bytes)
    await client.closed
    expect(Buffer.from(client.hex, 'hex').toString()).toMatch(answer)
  })

  test('of a page of another site is refused with 403, and of this machine let in', async () => {
    const roost = await open({ origins: { allowed: [], anonymous: true, ownNames: [] } })
    expect(await refusal(new WsClient(roost.port, ['mqtt'], { origin: 'https://evil.example' }))).toBe(403)
    expect(await roost.next('client-refused')).toBe('info PEER: a page of https://evil.example (websockets_origin)')
    const rebound = { origin: 'http://localhost', headers: { host: 'evil.example' } }
    expect(await refusal(new WsClient(roost.port, ['mqtt'], rebound))).toBe(403)
    expect(await roost.next('client-refused')).toBe(
      'info PEER: a page that calls this machine by another name, evil.example (websockets_origin)',
    )
    expect(roost.loop.connectionCount).toBe(0)
    for (const origin of ['http://localhost:3000', `http://127.0.0.1:${roost.port}`])
      await new WsClient(roost.port, ['mqtt'], { origin }).open()
    await new WsClient(roost.port, ['mqtt'], { headers: { host: 'broker.lan' } }).open()
  })

  test('X-Forwarded-For of a trusted proxy says where the client is, in the log and for max_connections_per_address', async () => {
    const trustedProxies = [parseNetwork('127.0.0.1')!]
    const roost = await open({ trustedProxies }, { maxConnectionsPerAddress: 2 })
    const from = (address: string) =>
      new WsClient(roost.port, ['mqtt'], { headers: { 'x-forwarded-for': `1.2.3.4, ${address}` } })
    const first = await from('192.0.2.7').open()
    first.ws.send(CONNECT)
    await first.answer(CONNACK)
    expect(roost.infos[0]?.peer).toMatch(/^192\.0\.2\.7:\d+$/)
    await from('192.0.2.7').open()
    const third = await from('192.0.2.7').open()
    expect(await roost.next('limit-reached')).toMatch(
      /^warn 192\.0\.2\.7:\d+: connection refused \(max_connections_per_address\)$/,
    )
    await third.closed
    for (const address of ['192.0.2.8', '192.0.2.9']) await from(address).open()
  })

  test('nobody else is believed', async () => {
    const roost = await open({ trustedProxies: [parseNetwork('192.0.2.1')!] })
    const client = await new WsClient(roost.port, ['mqtt'], { headers: { 'x-forwarded-for': '192.0.2.7' } }).open()
    client.ws.send(CONNECT)
    await client.answer(CONNACK)
    expect(roost.infos[0]?.peer).toMatch(/^127\.0\.0\.1:/)
  })

  test('one that is not whole in time is closed', async () => {
    const roost = await open({ connectTimeoutMs: 30 })
    const client = await RawClient.connect({ host: '127.0.0.1', port: roost.port })
    client.socket.write('GET / HTTP/1.1\r\nHost: x\r\n')
    await client.closed
    expect(await roost.next('client-refused')).toBe('info PEER: no WebSocket upgrade in time (connect_timeout_seconds)')
  })

  test.each(['at once', 'split'])('behind a PROXY header, %s', async (way) => {
    const roost = await open({ proxyProtocol: true })
    const proxy = await RawClient.connect({ host: '127.0.0.1', port: roost.port })
    proxy.socket.removeAllListeners('data')
    const header = v2(0x21, 0x11, v4Addresses('192.0.2.1', 51234))
    if (way === 'split') await proxy.dribble(header)
    else {
      // Corked: the header and the request arrive in one piece.
      proxy.socket.cork()
      proxy.socket.write(header)
    }
    const connecting = new WsClient(roost.port, ['mqtt'], { createConnection: () => proxy.socket })
    setImmediate(() => proxy.socket.uncork())
    const client = await connecting.open()
    client.ws.send(CONNECT)
    await client.answer(CONNACK)
    expect(roost.infos[0]?.peer).toBe('192.0.2.1:51234')
  })
})

describe('messages', () => {
  const connected = async (options: Partial<ListenOptions> = {}): Promise<{ roost: TestListener; client: WsClient }> => {
    const roost = await open(options)
    const client = await new WsClient(roost.port).open()
    client.ws.send(CONNECT)
    await client.answer(CONNACK)
    return { roost, client }
  }

  test('one packet split over many, empty ones and fragments (MQTT-6.0.0-2)', async () => {
    const client = await new WsClient((await open()).port).open()
    for (const byte of CONNECT.subarray(0, 7)) {
      client.ws.send(Uint8Array.of(byte))
      client.ws.send(Buffer.alloc(0))
    }
    client.ws.send(CONNECT.subarray(7, 10), { fin: false })
    client.ws.send(CONNECT.subarray(10), { fin: true })
    await client.answer(CONNACK)
  })

  test('many packets in one', async () => {
    const client = await new WsClient((await open()).port).open()
    client.ws.send(Buffer.concat([CONNECT, ...Array.from({ length: 50 }, () => PINGREQ)]))
    await client.answer(CONNACK + PINGRESP.repeat(50))
  })

  test('text ends the connection with 1003 (MQTT-6.0.0-1), and what follows is not read', async () => {
    const stranger = await new WsClient((await open()).port).open()
    stranger.ws.send(CONNECT.toString('latin1'))
    expect(await stranger.closed).toBe(1003)
    const { roost, client } = await connected()
    client.ws.send('text')
    client.ws.send(PINGREQ)
    expect(await client.closed).toBe(1003)
    expect(client.hex).toBe('')
    expect(await roost.next('protocol-error')).toBe('info PEER: a text frame (MQTT-6.0.0-1)')
    expect(await roost.next('client-lost')).toContain('a text frame (MQTT-6.0.0-1)')
  })

  test('one that is larger than any packet ends the connection with 1009', async () => {
    const { roost, client } = await connected({ maxPacketSize: 1000 })
    client.ws.send(Buffer.alloc(64 * 1024 + 1))
    expect(await client.closed).toBe(1009)
    expect(await roost.next('packet-too-large')).toContain('above the largest packet')
    expect(await roost.next('client-lost')).toContain('Max payload size exceeded')
  })

  test('one that is larger than CONNECT may be ends the connection of a stranger before it is there', async () => {
    const roost = await open({}, { maxConnectPacketSize: 64 * 1024 })
    const { port } = roost
    const stranger = await new WsClient(port).open()
    // A megabyte is announced, and does not come.
    stranger.ws.send(Buffer.alloc(40 * 1024), { fin: false })
    stranger.ws.ping('still there?')
    await once(stranger.ws, 'pong')
    stranger.ws.send(Buffer.alloc(60 * 1024), { fin: false })
    await stranger.closed
    expect(await roost.next('packet-too-large')).toBe('info PEER: more than 65536 bytes before CONNECT (max_connect_packet_size)')
    // Whoever has connected may.
    const client = await new WsClient(port).open()
    client.ws.send(CONNECT)
    await client.answer(CONNACK)
    client.ws.send(Buffer.concat(Array.from({ length: 100_000 }, () => PINGREQ)))
    await client.answer(PINGRESP.repeat(100_000))
  })

  test('what comes in many small pieces counts for what it takes', async () => {
    const roost = await open()
    const client = await RawClient.connect({ host: '127.0.0.1', port: roost.port })
    client.socket.write(UPGRADE)
    await once(client.socket, 'data')
    client.socket.write(Buffer.from('82fe800000000000', 'hex'))
    await client.dribble(Buffer.alloc(1500))
    expect(await roost.next('packet-too-large')).toContain('before CONNECT')
    await client.closed
  })

  test('a flood of tiny messages takes its turns with everybody else', async () => {
    const roost = await open()
    const client = await RawClient.connect({ host: '127.0.0.1', port: roost.port })
    client.socket.write(UPGRADE)
    await once(client.socket, 'data')
    client.socket.write(frame(CONNECT))
    await once(client.socket, 'data')
    let [inTurn, most, all] = [0, 0, 0]
    // Not a spy, which would keep all of them.
    roost.loop.handle = ({ kind }) => {
      if (kind === 'chunk') inTurn++
    }
    const size = 60_000
    const answered = new Promise<void>((resolve) => {
      const turn = (): void => {
        most = Math.max(most, inTurn)
        all += inTurn
        inTurn = 0
        if (all === size) resolve()
        else setImmediate(turn)
      }
      turn()
    })
    client.socket.write(Buffer.alloc(7 * size, Buffer.from('82810000000000', 'hex')))
    await answered
    // A chunk of the network may have been large when the frames became short.
    expect(most).toBeLessThan(16_384)
  })

  test('one that comes in thousands of tiny TLS records ends the connection of whoever sends it', async () => {
    const names = { useIdentityAsUsername: false, useSubjectAsUsername: false, tlsVersion: 'tlsv1.2' } as const
    const roost = await open({ tls: { ...server, ...names, requireCertificate: 'no' } })
    const socket = connectTls({ host: '127.0.0.1', port: roost.port, rejectUnauthorized: false })
    socket.on('error', () => {})
    ends.push(() => socket.destroy())
    await once(socket, 'secureConnect')
    socket.write(UPGRADE)
    await once(socket, 'data')
    socket.write(frame(CONNECT))
    await once(socket, 'data')
    const closed = new Promise<void>((resolve) => socket.once('close', resolve))
    // As large as the largest message; ws would take each record out of a list of all of them.
    const large = frame(Buffer.alloc(1024 * 1024))
    socket.write(large.subarray(0, 4096))
    for (let i = 0; i < 5000 && !socket.destroyed; i++) await new Promise((resolve) => socket.write(Uint8Array.of(0), resolve))
    await closed
    expect(await roost.next('client-lost')).toContain('Too many buffered chunks')
  })

  test('DISCONNECT ends it, pings are answered', async () => {
    const { client } = await connected()
    client.ws.ping('are you there')
    expect(String((await once(client.ws, 'pong'))[0])).toBe('are you there')
    client.ws.send(Buffer.from('e000', 'hex'))
    expect(await client.closed).toBe(1000)
  })

  test('a client that stops reading keeps nobody waiting, and gets all of it in the end', async () => {
    const { roost, client: slow } = await connected({ socketBufferBytes: 1 })
    slow.ws.send(Buffer.from('8206000100016100', 'hex'))
    await slow.answer('9003000100')
    slow.ws.removeAllListeners('message')
    slow.ws.pause()
    const handle = vi.spyOn(roost.loop, 'handle')
    const fast = await new WsClient(roost.port).open()
    fast.ws.send(CONNECT)
    await fast.answer(CONNACK)
    const publish = Buffer.concat([Buffer.from('30e3ff030001', 'hex'), Buffer.from('a'), Buffer.alloc(65_504, 'x')])
    for (let i = 0; i < 100; i++) fast.ws.send(publish)
    fast.ws.send(PINGREQ)
    await fast.answer(PINGRESP)
    let received = 0
    const all = new Promise<void>((resolve) =>
      slow.ws.on('message', (data: Buffer) => {
        received += data.length
        if (received >= 100 * publish.length) resolve()
      }),
    )
    slow.ws.resume()
    await all
    expect(received).toBe(100 * publish.length)
    for (const on of [true, false]) expect(handle).toHaveBeenCalledWith({ kind: 'congested', connection: 1, on })
  })

  test('the end of the listener ends those that answer and those that do not', async () => {
    const { roost, client } = await connected()
    const mute = await new WsClient(roost.port).open()
    mute.ws.pause()
    await roost.listener.close()
    expect(await client.closed).toBe(1000)
  })
})

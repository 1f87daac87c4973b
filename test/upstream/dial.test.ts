import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { PacketType } from '../../src/mqtt/packets.ts'
import { Certificates } from '../interop/certificates.ts'
import { Owner } from './pair.ts'
import { RealLinks } from './real-links.ts'

const CONNACK = Buffer.from('2003000000', 'hex')

let certificates: Certificates
let links: RealLinks
const servers: Server[] = []
const sockets = new Set<Socket>()

beforeAll(() => {
  certificates = new Certificates()
})
afterAll(() => certificates.remove())
afterEach(async () => {
  links.stop()
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  for (const server of servers.splice(0)) server.close()
})

async function listening(server: Server): Promise<number> {
  servers.push(server)
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

test('a TLS session is resumed; client certificate, server name and ALPN are as configured', async () => {
  const seen: { reused: boolean; alpn: string | false | null; name: unknown; client: string | undefined }[] = []
  const path = (name: Parameters<Certificates['path']>[0]): string => certificates.path(name)
  const server = createTlsServer({
    cert: readFileSync(path('server.crt')),
    key: readFileSync(path('server.key')),
    ca: readFileSync(path('ca.crt')),
    requestCert: true,
    ALPNProtocols: ['x-amzn-mqtt-ca'],
  })
  server.on('secureConnection', (socket: TLSSocket) => {
    const { CN } = socket.getPeerCertificate().subject ?? {}
    seen.push({
      reused: socket.isSessionReused(),
      alpn: socket.alpnProtocol,
      name: (socket as TLSSocket & { servername?: unknown }).servername,
      client: CN as string | undefined,
    })
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write(CONNACK)
      if (seen.length === 1) setImmediate(() => socket.end())
    })
  })
  const port = await listening(server)
  links = new RealLinks()
  const tls = { cafile: path('ca.crt'), certfile: path('client.crt'), keyfile: path('client.key'), alpn: 'x-amzn-mqtt-ca' }
  links.open(`mqtts://127.0.0.1:${port}`, new Owner(), { version: 5, tls: { ...tls, serverName: 'localhost' } })
  await expect.poll(() => seen.length).toBe(2)
  expect(seen).toMatchObject([
    { reused: false, alpn: 'x-amzn-mqtt-ca', name: 'localhost', client: 'sensor-7' },
    { reused: true, alpn: 'x-amzn-mqtt-ca' },
  ])
})

test('an attempt is given up when its link ends, and no socket stays', async () => {
  // It accepts and never speaks TLS.
  const silent = createServer((socket) => {
    socket.resume()
    socket.on('error', () => {})
  })
  const port = await listening(silent)
  links = new RealLinks()
  const link = links.open(`mqtts://127.0.0.1:${port}`, new Owner())
  await expect.poll(() => sockets.size).toBe(1)
  links.loop.run((now) => link.lost(now, 'test'))
  const [socket] = sockets
  await expect.poll(() => socket!.closed).toBe(true)
  expect(links.loop.connectionCount).toBe(0)
})

test('a server that closes after each PUBLISH, over real sockets: given up, and the link is up', async () => {
  const port = await listening(
    createServer((socket) => {
      let isConnected = false
      socket.on('error', () => {})
      socket.on('data', (bytes) => {
        if (!isConnected) socket.write(CONNACK)
        else if (bytes[0]! >> 4 === PacketType.PUBLISH) socket.end()
        isConnected = true
      })
    }),
  )
  links = new RealLinks()
  const owner = new Owner()
  const link = links.open(`mqtt://127.0.0.1:${port}`, owner, { version: 5 })
  links.publish(link, 'a', 'x', 1, 1)
  await expect.poll(() => owner.codes(PacketType.PUBACK)).toEqual([0x83])
  await expect.poll(() => link.status.state).toBe('up')
  expect(links.lines('message-dropped')).toHaveLength(1)
  expect(new Set(links.lines('upstream-down'))).toEqual(new Set(['closed by the far side']))
})

test('a WebSocket server that refuses the upgrade', async () => {
  const port = await listening(
    createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n'))
    }),
  )
  links = new RealLinks()
  const link = links.open(`ws://127.0.0.1:${port}/wrong`, new Owner())
  await expect.poll(() => link.status.dials).toBeGreaterThan(2)
  expect(links.lines('upstream-down')).toEqual(['Unexpected server response: 404'])
})

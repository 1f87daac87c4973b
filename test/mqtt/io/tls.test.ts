import { once } from 'node:events'
import { copyFileSync, mkdirSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { type ConnectionOptions, connect as connectTls, createServer, type TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { StartError } from '../../../src/base/start-error.ts'
import type { ConnectionLimits } from '../../../src/mqtt/connection-limits.ts'
import type { ListenOptions } from '../../../src/mqtt/io/listen.ts'
import type { TlsOptions } from '../../../src/mqtt/io/tls.ts'
import { Certificates } from './certificates.ts'
import { CONNACK, CONNECT, PINGREQ, PINGRESP, RawClient, TestListener } from './test-listener.ts'

let certificates: Certificates
let server: { certfile: string; keyfile: string }
let ca: string

beforeAll(() => {
  certificates = new Certificates()
  server = certificates.issue('server', '/CN=localhost', 'server')
  certificates.issue('server2', '/CN=second', 'server')
  certificates.issue('sensor', '/C=DE/O=Example, Inc./CN=sensor 1', 'client')
  certificates.issue('nameless', '/O=Example', 'client')
  certificates.selfSigned('stranger', '/CN=sensor 1')
  ca = certificates.path('ca.pem')
})
afterAll(() => certificates.remove())

const opened: TestListener[] = []
const clients: RawClient[] = []
afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.destroy()
  for (const listener of opened.splice(0)) await listener.close()
})

const plain = {
  requireCertificate: 'no',
  useIdentityAsUsername: true,
  useSubjectAsUsername: false,
  tlsVersion: 'tlsv1.2',
} as const
const open = async (
  tls: Partial<TlsOptions> = {},
  options: Partial<ListenOptions> = {},
  connections: Partial<ConnectionLimits> = {},
): Promise<TestListener> => {
  const listener = await TestListener.open({ tls: { ...server, ...plain, ...tls }, ...options }, connections)
  opened.push(listener)
  return listener
}
const pem = (name: string) => ({ certFile: `${name}.pem`, keyFile: `${name}.key` })
const connect = (port: number, { certFile, keyFile, ...options }: ConnectionOptions & Partial<ReturnType<typeof pem>> = {}) => {
  const read = (name: string) => certificates.read(name)
  const own = certFile === undefined || keyFile === undefined ? {} : { cert: read(certFile), key: read(keyFile) }
  const client = new RawClient(
    connectTls({ host: '127.0.0.1', port, ca: read('ca.pem'), checkServerIdentity: () => undefined, ...own, ...options }),
  )
  clients.push(client)
  return client
}
const cnOf = (client: RawClient): unknown => (client.socket as TLSSocket).getPeerCertificate().subject.CN
const login = async (client: RawClient): Promise<void> => {
  client.socket.write(CONNECT)
  await client.answer(CONNACK)
}
/** The reason with which a client that says CONNECT is refused. */
const refusal = async (roost: TestListener, client: RawClient): Promise<string> => {
  client.socket.write(CONNECT)
  await client.closed
  expect(roost.infos).toEqual([])
  return roost.next('client-refused')
}

/** Whether this Node.js tells a server which CAs a client has sent; some do not (nodejs/node issue 65579). */
async function tellsSentChain(certificates: Certificates): Promise<boolean> {
  const pem = (name: string) => certificates.read(name)
  const tls = { cert: pem('server.pem'), key: pem('server.key'), ca: pem('ca.pem') }
  const listener = createServer({ ...tls, requestCert: true }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  const client = connectTls({ port, ca: tls.ca, cert: pem('good-chain.pem'), key: pem('good.key'), servername: 'localhost' })
  const [socket] = (await once(listener, 'secureConnection')) as [TLSSocket]
  const tells = socket.getPeerX509Certificate()?.issuerCertificate !== undefined
  socket.destroy()
  client.destroy()
  listener.close()
  return tells
}

test.each(['TLSv1.2', 'TLSv1.3'] as const)('carries MQTT over %s', async (version) => {
  const roost = await open()
  const client = connect(roost.port, { minVersion: version, maxVersion: version })
  await login(client)
  expect((client.socket as TLSSocket).getProtocol()).toBe(version)
  expect(roost.infos[0]).toMatchObject({ kind: 'mqtt', listener: 'test', peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/) })
  client.socket.end()
  await roost.next('client-lost')
})

test('versions below the minimum are refused', async () => {
  const old = connect((await open()).port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' })
  await old.closed
  expect(await opened[0]!.next('client-refused')).toMatch(/^info PEER: TLS handshake: .*(version|protocol)/)
  const modern = await open({ tlsVersion: 'tlsv1.3' })
  const client = connect(modern.port, { maxVersion: 'TLSv1.2' })
  expect(await refusal(modern, client)).toMatch(/^info PEER: TLS handshake: .*(version|protocol)/)
})

test('what is no TLS is refused, and nobody else notices', async () => {
  const roost = await open()
  const client = await RawClient.connect({ host: '127.0.0.1', port: roost.port })
  clients.push(client)
  expect(await refusal(roost, client)).toMatch(/^info PEER: TLS handshake: /)
  const scanner = await RawClient.connect({ host: '127.0.0.1', port: roost.port })
  scanner.socket.destroy()
  expect(await roost.next('client-refused')).toMatch(/^debug PEER: /)
  await login(connect(roost.port))
})

test('a handshake that does not end in time is ended', async () => {
  const roost = await open({}, { connectTimeoutMs: 30 })
  const client = await RawClient.connect({ host: '127.0.0.1', port: roost.port })
  await client.closed
  expect(await roost.next('client-refused')).toBe('info PEER: no TLS handshake in time (connect_timeout_seconds)')
  expect(roost.notices).toEqual([])
})

test('a connection above the bound is closed, and those in a handshake count', async () => {
  const roost = await open({}, { maxConnections: 1 })
  const first = await RawClient.connect({ host: '127.0.0.1', port: roost.port })
  await connect(roost.port).closed
  expect(await roost.next('limit-reached')).toContain('listener test is full (max_connections)')
  first.socket.destroy()
  await roost.next('client-refused')
  await login(connect(roost.port))
})

test('who is in a handshake counts among all connections; while the event loop is late nobody gets as far as one', async () => {
  const roost = await open({}, {}, { maxConnectionsPerAddress: 1 })
  const first = await RawClient.connect({ host: '127.0.0.1', port: roost.port })
  await connect(roost.port).closed
  expect(await roost.next('limit-reached')).toBe('warn PEER: connection refused (max_connections_per_address)')
  first.socket.destroy()
  await roost.next('client-refused')
  const client = connect(roost.port)
  await login(client)
  client.socket.destroy()
  await roost.next('client-lost')
  roost.loop.handle({ kind: 'overloaded', on: true })
  await connect(roost.port).closed
  expect(await roost.next('limit-reached')).toBe('warn PEER: connection refused (max_event_loop_lag_ms)')
  roost.loop.handle({ kind: 'overloaded', on: false })
  await login(connect(roost.port))
})

test('close ends those that are connected and those in a handshake', async () => {
  const roost = await open()
  const client = connect(roost.port)
  await login(client)
  const shaking = await RawClient.connect({ host: '127.0.0.1', port: roost.port })
  await Promise.all([roost.listener.close(), client.closed, shaking.closed])
})

describe('client certificates', () => {
  const versions = ['TLSv1.2', 'TLSv1.3'] as const

  test.each(versions)('required: a verified one names the client (%s)', async (maxVersion) => {
    const roost = await open({ cafile: ca, requireCertificate: 'required' })
    await login(connect(roost.port, { ...pem('sensor'), maxVersion }))
    expect(roost.infos[0]?.identity).toBe('sensor 1')
  })

  test.each(versions)('required: none, and one that we did not sign, end the handshake (%s)', async (maxVersion) => {
    const roost = await open({ cafile: ca, requireCertificate: 'required' })
    expect(await refusal(roost, connect(roost.port, { maxVersion }))).toMatch(/^info PEER: TLS handshake: .*certificate/)
    const stranger = connect(roost.port, { ...pem('stranger'), maxVersion })
    expect(await refusal(roost, stranger)).toBe('info PEER: TLS handshake: client certificate: DEPTH_ZERO_SELF_SIGNED_CERT')
  })

  test.each(versions)('optional: none is fine, one that we did not sign is not (%s)', async (maxVersion) => {
    const roost = await open({ cafile: ca, requireCertificate: 'optional' })
    const stranger = connect(roost.port, { ...pem('stranger'), maxVersion })
    expect(await refusal(roost, stranger)).toBe('info PEER: TLS handshake: client certificate: DEPTH_ZERO_SELF_SIGNED_CERT')
    await login(connect(roost.port, { maxVersion }))
    await login(connect(roost.port, { ...pem('sensor'), maxVersion }))
    expect(roost.infos.map(({ identity }) => identity)).toEqual([undefined, 'sensor 1'])
  })

  test('no: none is asked for, so that none names anybody', async () => {
    const roost = await open({ cafile: ca })
    await login(connect(roost.port, pem('sensor')))
    expect(roost.infos[0]).not.toHaveProperty('identity')
  })

  test('the name is taken only if wanted; the whole subject if that is; a certificate may have no name', async () => {
    const required = { cafile: ca, requireCertificate: 'required' } as const
    const identity = async (tls: Partial<TlsOptions>, name: string) => {
      const roost = await open({ ...required, ...tls })
      await login(connect(roost.port, pem(name)))
      return roost.infos[0]?.identity
    }
    expect(await identity({ useIdentityAsUsername: false }, 'sensor')).toBeUndefined()
    expect(await identity({ useSubjectAsUsername: true }, 'sensor')).toBe('CN=sensor 1,O=Example\\, Inc.,C=DE')
    expect(await identity({}, 'nameless')).toBeUndefined()
  })

  test.each(versions)('a session that is resumed still has its name (%s)', async (maxVersion) => {
    const roost = await open({ cafile: ca, requireCertificate: 'required' })
    const first = connect(roost.port, { ...pem('sensor'), maxVersion })
    const session = once(first.socket, 'session') as Promise<[Buffer]>
    await login(first)
    const second = connect(roost.port, { ...pem('sensor'), maxVersion, session: (await session)[0] })
    await login(second)
    expect((second.socket as TLSSocket).isSessionReused()).toBe(true)
    expect(roost.infos.map(({ identity }) => identity)).toEqual(['sensor 1', 'sensor 1'])
  })

  test('capath finds what `openssl rehash` has named', async () => {
    const capath = certificates.path('cas')
    mkdirSync(capath)
    copyFileSync(ca, `${capath}/ca.pem`)
    await expect(open({ capath, requireCertificate: 'required' })).rejects.toThrow('named as `openssl rehash` does')
    certificates.rehash(capath)
    const roost = await open({ capath, requireCertificate: 'required' })
    await login(connect(roost.port, pem('sensor')))
    expect(roost.infos[0]?.identity).toBe('sensor 1')
  })

  test.each(['in cafile', 'sent by the client'])('an intermediate CA with a list of its own, %s', async (where) => {
    certificates.issue('signing', '/CN=Signing CA', 'ca')
    for (const name of ['good', 'bad']) {
      certificates.issue(name, `/CN=${name}`, 'client', 'signing')
      certificates.write(`${name}-chain.pem`, certificates.read(`${name}.pem`) + certificates.read('signing.pem'))
    }
    const crlfile = certificates.revokeBy('signing', 'signing.crl', ['bad'])
    const both = certificates.write('both.pem', certificates.read('ca.pem') + certificates.read('signing.pem'))
    const isSent = where === 'sent by the client'
    const roost = await open({ cafile: isSent ? ca : both, crlfile, requireCertificate: 'required' })
    const shown = (name: string) => ({ certFile: isSent ? `${name}-chain.pem` : `${name}.pem`, keyFile: `${name}.key` })
    if (isSent && !(await tellsSentChain(certificates))) {
      expect(await refusal(roost, connect(roost.port, shown('good')))).toBe(
        'info PEER: TLS handshake: client certificate: UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      )
      return
    }
    const first = connect(roost.port, shown('good'))
    const session = once(first.socket, 'session') as Promise<[Buffer]>
    await login(first)
    await login(connect(roost.port, { ...shown('good'), session: (await session)[0] }))
    expect(roost.infos.splice(0).map(({ identity }) => identity)).toEqual(['good', 'good'])
    expect(await refusal(roost, connect(roost.port, shown('bad')))).toBe(
      'info PEER: TLS handshake: client certificate: CERT_REVOKED',
    )
  })

  test('one that is revoked is refused after a reload, also when it resumes its session', async () => {
    const crlfile = certificates.revoke('list.crl')
    const roost = await open({ cafile: ca, crlfile, requireCertificate: 'required' })
    const client = connect(roost.port, pem('sensor'))
    const session = once(client.socket, 'session') as Promise<[Buffer]>
    await login(client)
    roost.infos.length = 0
    certificates.revoke('list.crl', 'sensor')
    ;(await roost.listener.prepareReload())()
    client.socket.write(PINGREQ)
    await client.answer(PINGRESP)
    const again = connect(roost.port, { ...pem('sensor'), session: (await session)[0] })
    expect(await refusal(roost, again)).toBe('info PEER: TLS handshake: client certificate: CERT_REVOKED')
  })
})

describe('reload', () => {
  test('serves the new certificate, keeps who is connected, and changes nothing if anything is wrong', async () => {
    const certfile = certificates.write('live.pem', certificates.read('server.pem'))
    const keyfile = certificates.write('live.key', certificates.read('server.key'))
    const roost = await open({ certfile, keyfile })
    const first = connect(roost.port)
    await login(first)
    expect(cnOf(first)).toBe('localhost')

    certificates.write('live.pem', certificates.read('server2.pem'))
    await expect(roost.listener.prepareReload()).rejects.toThrow(`keyfile ${keyfile}: does not match certfile ${certfile}`)
    const second = connect(roost.port)
    await login(second)
    expect(cnOf(second)).toBe('localhost')

    certificates.write('live.key', certificates.read('server2.key'))
    ;(await roost.listener.prepareReload())()
    const third = connect(roost.port)
    await login(third)
    expect(cnOf(third)).toBe('second')
    for (const client of [first, second, third]) {
      client.socket.write(PINGREQ)
      await client.answer(PINGRESP)
    }
  })
})

describe('a start names the option and the file', () => {
  test.each<[string, () => Partial<TlsOptions>, RegExp]>([
    ['a missing certificate', () => ({ certfile: '/none.pem' }), /^certfile \/none\.pem: there is no such file$/],
    ['a directory as key', () => ({ keyfile: certificates.dir }), /^keyfile .*: it is a directory$/],
    ['a key that is none', () => ({ keyfile: server.certfile }), /^keyfile .*server\.pem: .+$/],
    ['a certificate that is none', () => ({ certfile: server.keyfile }), /^certfile .*server\.key: .+$/],
    [
      'a key of another',
      () => ({ keyfile: certificates.path('sensor.key') }),
      /^keyfile .*sensor\.key: does not match certfile .*$/,
    ],
    ['an empty CA file', () => ({ cafile: server.keyfile }), /^cafile .*server\.key: holds no PEM certificate$/],
    [
      'a broken CA file',
      () => ({ cafile: certificates.write('bad.pem', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n') }),
      /^cafile .*bad\.pem: .+$/,
    ],
    ['a missing directory of CAs', () => ({ capath: '/none' }), /^capath \/none: there is no such file$/],
    ['a list that is none', () => ({ crlfile: server.certfile }), /^crlfile .*server\.pem: holds no PEM revocation list$/],
    [
      'a list that is cut',
      () => ({ cafile: ca, crlfile: certificates.write('cut.crl', '-----BEGIN X509 CRL-----\nMAAw\n-----END X509 CRL-----\n') }),
      /^crlfile .*cut\.crl: .+$/,
    ],
    ['ciphers that nobody knows', () => ({ ciphers: 'NONESUCH' }), /^ciphers NONESUCH: .+$/],
    ['nothing to verify with', () => ({ requireCertificate: 'optional' }), /^require_certificate needs cafile or capath/],
  ])('%s', async (_, tls, line) => {
    const error = await open(tls()).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(StartError)
    expect((error as Error).message).toMatch(line)
  })
})

test.each(['at once', 'split'])('TLS behind a PROXY header, %s', async (way) => {
  const roost = await open({ cafile: ca, requireCertificate: 'required' }, { proxyProtocol: true })
  const proxy = await RawClient.connect({ host: '127.0.0.1', port: roost.port })
  proxy.socket.removeAllListeners('data')
  const header = Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.9 51234 8883\r\n')
  // Corked: the header and the ClientHello arrive in one piece.
  if (way === 'at once') proxy.socket.cork()
  if (way === 'at once') proxy.socket.write(header)
  else await proxy.dribble(header)
  const own = { ca: certificates.read('ca.pem'), cert: certificates.read('sensor.pem'), key: certificates.read('sensor.key') }
  const secure = new RawClient(connectTls({ socket: proxy.socket, ...own, checkServerIdentity: () => undefined }))
  clients.push(secure)
  setImmediate(() => proxy.socket.uncork())
  await login(secure)
  expect(roost.infos[0]).toMatchObject({ peer: '192.0.2.1:51234', identity: 'sensor 1' })
})

import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { hashPassword } from '../../src/access/io/password-hash.ts'
import { ByteWriter } from '../../src/base/bytes.ts'
import { loadConfig } from '../../src/config/io/config-file.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import { createLog } from '../../src/process/log.ts'
import { type Running, startProcess } from '../../src/process/roost.ts'
import { connectPacket } from '../broker/harness.ts'
import { Certificates } from '../interop/certificates.ts'

/** Without `cert`: a client that shows no certificate. */
type Dial = (port: number, cert: { cert?: Buffer; key?: Buffer }) => Promise<Socket | WebSocket>

describe('every transport', () => {
  let certificates: Certificates
  let roost: Running
  const socketPath = (): string => join(certificates.directory, 'roost.sock')
  const ca = (): Buffer => readFileSync(certificates.path('ca.crt'))

  beforeAll(async () => {
    certificates = new Certificates()
    const passwords = join(certificates.directory, 'passwords')
    writeFileSync(passwords, `alice:${await hashPassword(Buffer.from('secret'), 1000)}\n`, { mode: 0o600 })
    writeFileSync(join(certificates.directory, 'rules'), 'user alice\ntopic readwrite a\n')
    const tls = 'certfile: server.crt, keyfile: server.key, cafile: ca.crt'
    const yaml = `
memory: true
sn_port: 0
password_file: passwords
acl_file: rules
listeners:
  - {name: tcp, port: 0}
  - {name: unix, socket_path: roost.sock}
  - {name: ws, port: 0, protocol: websockets}
  - {name: tls, port: 0, ${tls}, require_certificate: required}
  - {name: wss, port: 0, protocol: websockets, ${tls}, require_certificate: required}
  - {name: named-tls, port: 0, ${tls}, require_certificate: required, use_identity_as_username: true}
  - {name: named-wss, port: 0, protocol: websockets, ${tls}, require_certificate: required, use_identity_as_username: true}
`
    const path = join(certificates.directory, 'roost.yaml')
    writeFileSync(path, yaml)
    const config = loadConfig(new Map([['config', { value: path, origin: '--config' }]]), certificates.directory)
    roost = await startProcess(config, createLog({ logLevel: 'silent', logFormat: 'json' }, process.stdout, false))
  })
  afterAll(async () => {
    await roost.stop()
    certificates.remove()
  })

  const secure: Dial = (port, cert) => opened(connectTls({ host: '127.0.0.1', port, ca: ca(), servername: 'localhost', ...cert }))
  const webSocket =
    (scheme: 'ws' | 'wss'): Dial =>
    (port, cert) =>
      opened(new WebSocket(`${scheme}://localhost:${port}`, 'mqtt', { ca: ca(), ...cert }))
  const DIALS: Record<string, Dial> = {
    tcp: (port) => opened(connectTcp({ host: '127.0.0.1', port })),
    unix: () => opened(connectTcp({ path: socketPath() })),
    ws: webSocket('ws'),
    tls: secure,
    wss: webSocket('wss'),
    'named-tls': secure,
    'named-wss': webSocket('wss'),
  }
  const opened = async <T extends Socket | WebSocket>(stream: T): Promise<T> => {
    stream.on('error', () => {})
    return stream
  }

  /** The reason code in the answer to CONNECT; undefined if there is none before the end. */
  async function answer(name: string, login: { username?: string; password?: string }, withCertificate: boolean) {
    const port = roost.mqtt.find((one) => one.name === name)!.port
    const cert = withCertificate
      ? { cert: readFileSync(certificates.path('client.crt')), key: readFileSync(certificates.path('client.key')) }
      : {}
    const stream = await DIALS[name]!(port, cert)
    const { username, password } = login
    const writer = new ByteWriter()
    encodePacket(
      writer,
      connectPacket(name, { username, password: password === undefined ? undefined : Buffer.from(password) }),
      5,
    )
    const bytes = writer.toBytes()
    const closed = once(stream, 'close').then(() => undefined)
    if (stream instanceof WebSocket) stream.on('open', () => stream.send(bytes))
    else stream.write(bytes)
    const first = once(stream, stream instanceof WebSocket ? 'message' : 'data').then(([data]) => (data as Buffer)[3])
    const code = await Promise.race([first, closed]).catch(() => undefined)
    if (stream instanceof WebSocket) stream.terminate()
    else stream.destroy()
    return code
  }

  const all = Object.keys(DIALS)
  const encrypted = all.filter((name) => /tls|wss/.test(name))

  test.each(all)('lesson 24, lesson 12: %s lets in who has the password, and nobody else', async (name) => {
    const named = name.startsWith('named')
    expect(await answer(name, {}, true)).toBe(named ? 0 : 0x87)
    if (named) return
    expect(await answer(name, { username: 'alice' }, true)).toBeGreaterThanOrEqual(0x80)
    expect(await answer(name, { username: 'alice', password: 'wrong' }, true)).toBeGreaterThanOrEqual(0x80)
    expect(await answer(name, { username: '', password: 'secret' }, true)).toBeGreaterThanOrEqual(0x80)
    expect(await answer(name, { username: 'alice', password: 'secret' }, true)).toBe(0)
  })

  test.each(encrypted)('lesson 24: %s wants a certificate, whatever the password', async (name) => {
    expect(await answer(name, { username: 'alice', password: 'secret' }, false)).toBeUndefined()
    expect(await answer(name, {}, false)).toBeUndefined()
  })
})

describe('web pages, as configured', () => {
  const start = (yaml: string): Promise<Running> => {
    const certificates = new Certificates()
    const passwords = join(certificates.directory, 'passwords')
    writeFileSync(passwords, 'alice:$7$1$c2FsdA==$aGFzaA==\n', { mode: 0o600 })
    const path = join(certificates.directory, 'roost.yaml')
    writeFileSync(path, `memory: true\nsn_port: 0\n${yaml}`)
    const config = loadConfig(new Map([['config', { value: path, origin: '--config' }]]), certificates.directory)
    return startProcess(config, createLog({ logLevel: 'silent', logFormat: 'json' }, process.stdout, false)).finally(() =>
      certificates.remove(),
    )
  }
  /** The status of the answer to an upgrade. */
  const status = (port: number, origin: string | undefined): Promise<number | undefined> =>
    new Promise((resolve) => {
      const page = new WebSocket(`ws://127.0.0.1:${port}`, 'mqtt', origin === undefined ? {} : { origin })
      page.on('error', () => {})
      page.on('unexpected-response', (_, response) => {
        response.resume()
        resolve(response.statusCode)
      })
      page.on('open', () => {
        page.terminate()
        resolve(101)
      })
    })

  test.each([
    ['nothing is configured', '', 403],
    ['anybody may connect', 'allow_anonymous: true\n', 403],
    ['clients authenticate', 'password_file: passwords\n', 101],
    ['clients authenticate, and pages are named', 'password_file: passwords\nwebsockets_origin: app.example.org\n', 403],
    ['the page is named', 'websockets_origin: app.example.org, https://evil.example\n', 101],
  ])('%s: a page of another site', async (_, yaml, expected) => {
    const roost = await start(`${yaml}listeners:\n  - {name: ws, port: 0, protocol: websockets}\n`)
    try {
      const { port } = roost.mqtt[0]!
      expect(await status(port, 'https://evil.example')).toBe(expected)
      for (const own of [undefined, 'http://localhost:3000', `http://127.0.0.1:${port}`])
        expect(await status(port, own)).toBe(101)
    } finally {
      await roost.stop()
    }
  })
})

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createWebSocketStream, WebSocket } from 'ws'
import { hashPassword } from '../../src/access/io/password-hash.ts'
import { StartError } from '../../src/base/start-error.ts'
import { type Config, type Layer, resolveConfig } from '../../src/config/config.ts'
import type { OptionKey } from '../../src/config/options.ts'
import { startProcess } from '../../src/process/roost.ts'
import { Certificates } from '../mqtt/io/certificates.ts'

let dir: string
let certificates: Certificates
const files: Record<string, string> = {}
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'roost-matrix-'))
  certificates = new Certificates()
  certificates.issue('server', '/CN=localhost', 'server')
  certificates.issue('alice', '/CN=alice', 'client')
  const put = (name: string, text: string): void => {
    files[name] = join(dir, name)
    writeFileSync(files[name], text, { mode: 0o600 })
  }
  put('passwords', `alice:${await hashPassword(Buffer.from('secret'), 1)}\n`)
  put('acl', 'topic read open\nuser alice\ntopic read hers\n')
  put('empty', '# nothing\n')
  put('jwt', '0123456789abcdef0123456789abcdef')
})
afterAll(() => {
  certificates.remove()
  rmSync(dir, { recursive: true })
})

type Settings = Record<string, unknown>
const TRANSPORTS: Record<string, () => Settings> = {
  tcp: () => ({}),
  tls: () => tls(),
  ws: () => ({ protocol: 'websockets' }),
  wss: () => ({ protocol: 'websockets', ...tls() }),
  unix: () => ({ socket_path: join(dir, 's.sock') }),
}
const NAMES = Object.keys(TRANSPORTS)
const tls = (): Settings => ({ certfile: certificates.path('server.pem'), keyfile: certificates.path('server.key') })
const layer = (values: Settings, origin: string): Layer =>
  new Map(Object.entries(values).map(([key, value]) => [key as OptionKey, { value, origin: `${origin}${key}` }]))
const at = (transport: string, host: string): Settings => ({
  ...(transport === 'unix' ? {} : { host, port: 0 }),
  ...TRANSPORTS[transport]!(),
})
const QUIET = { memory: true, sn_port: 0 }

/** The same settings on the default listener, and on ones in the file that have them themselves or inherit them. */
const PLACES: Record<string, (transports: string[], access: Settings, host: string) => ReturnType<typeof resolveConfig>> = {
  'the default listener': ([transport], access, host) =>
    resolveConfig(layer({ ...at(transport!, host), ...access, ...QUIET }, '--'), new Map()),
  'listeners with settings of their own': (transports, access, host) => {
    const entry = (transport: string, i: number) => {
      const origin = `listeners[${i}]`
      const name = { value: transport, origin }
      return { origin, name, own: layer({ ...at(transport, host), ...access }, `${origin}: `) }
    }
    return resolveConfig(layer(QUIET, '--'), new Map(), transports.map(entry))
  },
  'listeners that inherit': (transports, access, host) => {
    const entry = (transport: string, i: number) => {
      const origin = `listeners[${i}]`
      return { origin, name: { value: transport, origin }, own: layer(at(transport, host), `${origin}: `) }
    }
    return resolveConfig(layer(QUIET, '--'), layer(access, 'roost.yaml: '), transports.map(entry))
  },
}
/** One start for all transports, where several can listen. */
const GROUPS: readonly (readonly [string, readonly string[]])[] = Object.keys(PLACES).flatMap((place) =>
  place === 'the default listener' ? NAMES.map((name): [string, string[]] => [place, [name]]) : [[place, NAMES] as const],
)

let opened = 1

function open(transport: string, port: number, more: object = {}): Duplex {
  // Each from an address of its own: the refusals of one that has failed before are kept back.
  const localAddress = `127.0.${1 + (opened >> 8)}.${opened++ & 0xff}`
  const trust = { ca: certificates.read('ca.pem'), localAddress, ...more }
  if (transport === 'unix') return connectTcp(join(dir, 's.sock'))
  if (transport === 'tcp') return connectTcp({ port, host: '127.0.0.1', localAddress })
  if (transport === 'tls') return connectTls({ host: '127.0.0.1', port, checkServerIdentity: () => undefined, ...trust })
  return createWebSocketStream(new WebSocket(`${transport}://localhost:${port}/mqtt`, ['mqtt'], { family: 4, ...trust }))
}

/** Hex of what a broker answers to hex. */
async function answer(stream: Duplex, ...packets: string[]): Promise<string[]> {
  stream.on('error', () => {})
  const answers: string[] = []
  for (const packet of packets) {
    stream.write(Buffer.from(packet, 'hex'))
    answers.push(
      await new Promise<string>((resolve) => {
        stream.once('data', (bytes: Buffer) => resolve(bytes.toString('hex')))
        stream.once('close', () => resolve('closed'))
      }),
    )
  }
  stream.destroy()
  return answers
}
const text = (value: string): string => Buffer.from([0, value.length]).toString('hex') + Buffer.from(value).toString('hex')
const packet = (type: string, body: string): string => type + Buffer.from([body.length / 2]).toString('hex') + body
const HEAD = '00044d51545404'
const ANONYMOUS = packet('10', `${HEAD}02003c${text('c')}`)
const named = (user: string, password: string): string => packet('10', `${HEAD}c2003c${text('c')}${text(user)}${text(password)}`)
const subscribe = (filter: string): string => packet('82', `0001${text(filter)}00`)
const [IN, REFUSED, WRONG] = ['20020000', '20020005', '20020004']
const [GRANTED, FORBIDDEN] = ['9003000100', '9003000180']

type Ask = (...packets: string[]) => Promise<string[]>

/** Starts what is configured, and hands each transport's listener to `use`. */
async function onEach(
  config: Omit<Config, 'predefinedTopics'>,
  transports: readonly string[],
  use: (ask: Ask, port: number, transport: string) => Promise<void>,
): Promise<void> {
  const roost = await startProcess({ ...config, predefinedTopics: [] }, pino({ level: 'silent' }))
  try {
    for (const [i, transport] of transports.entries()) {
      const { port } = roost.mqtt[i]!
      await use((...packets) => answer(open(transport, port), ...packets), port, transport)
    }
  } finally {
    await roost.stop()
  }
}

describe.each(GROUPS)('%s over %j', (place, transports) => {
  const settled = (access: Settings, host = '0.0.0.0', of: readonly string[] = transports) =>
    PLACES[place]!([...of], access, host)

  test('with nothing to verify anybody with there is no port for others', () => {
    const accesses = [{}, { allow_anonymous: false }, { acl_file: files.acl }, { acl_file: files.empty }]
    for (const transport of transports.filter((name) => name !== 'unix'))
      for (const access of accesses)
        for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.org'])
          expect(() => settled(access, host, [transport])).toThrow(StartError)
  })

  test.each<[string, () => Settings]>([
    ['a password file', () => ({ password_file: files.passwords })],
    ['a password file and an access list', () => ({ password_file: files.passwords, acl_file: files.acl })],
    ['an empty password file', () => ({ password_file: files.empty })],
    ['tokens', () => ({ jwt_secret_file: files.jwt })],
    ['a service that nobody reaches', () => ({ http_auth_url: 'http://127.0.0.1:1/' })],
  ])('with %s nobody without a name or with a wrong password gets in', async (_, access) => {
    await onEach(settled(access()), transports, async (ask, _port, transport) => {
      expect([transport, await ask(ANONYMOUS)]).toEqual([transport, [REFUSED]])
      expect([IN, 'closed']).not.toContain((await ask(named('alice', 'wrong')))[0])
      if (access().password_file !== files.passwords) return
      const other = access().acl_file === undefined ? GRANTED : FORBIDDEN
      expect(await ask(named('alice', 'secret'), subscribe('hers'), subscribe('secret'))).toEqual([IN, GRANTED, other])
      expect(await ask(named('alice', 'wrong'))).toEqual([WRONG])
      expect(await ask(named('bob', 'secret'))).toEqual([WRONG])
    })
  })

  test('allow_anonymous: false without any authentication accepts no client, on this machine either', async () => {
    await onEach(settled({ allow_anonymous: false }, '127.0.0.1'), transports, async (ask) => {
      expect(await ask(ANONYMOUS)).toEqual([REFUSED])
      expect(await ask(named('alice', 'secret'))).toEqual([REFUSED])
    })
  })

  test('an access list on this machine: who has no name has the rights of nobody', async () => {
    await onEach(settled({ acl_file: files.acl }, '127.0.0.1'), transports, async (ask) => {
      expect(await ask(ANONYMOUS, subscribe('open'), subscribe('hers'))).toEqual([IN, GRANTED, FORBIDDEN])
    })
  })
})

test('client certificates, over TLS and over WSS: who shows none has no name, and gets in by nothing', async () => {
  const secure = ['tls', 'wss']
  const settled = (access: Settings) =>
    PLACES['listeners with settings of their own']!(
      secure,
      { cafile: certificates.path('ca.pem'), use_identity_as_username: true, ...access },
      '0.0.0.0',
    )
  await onEach(settled({ require_certificate: 'required', acl_file: files.acl }), secure, async (ask, port, transport) => {
    const key = { cert: certificates.read('alice.pem'), key: certificates.read('alice.key') }
    expect(await ask(ANONYMOUS)).toEqual(['closed'])
    const shown = answer(open(transport, port, key), ANONYMOUS, subscribe('hers'), subscribe('open'))
    expect(await shown).toEqual([IN, GRANTED, FORBIDDEN])
  })
  // Without require_certificate the certificate is asked for, and a client without one is refused as by Mosquitto, whatever else it shows.
  const byCertificate = settled({ password_file: files.passwords, allow_anonymous: true })
  await onEach(byCertificate, secure, async (ask, port, transport) => {
    const key = { cert: certificates.read('alice.pem'), key: certificates.read('alice.key') }
    expect(await ask(ANONYMOUS)).toEqual([WRONG])
    expect(await ask(named('alice', 'secret'))).toEqual([WRONG])
    expect(await answer(open(transport, port, key), ANONYMOUS)).toEqual([IN])
  })
  await onEach(settled({ require_certificate: 'optional', password_file: files.passwords }), secure, async (ask) => {
    expect(await ask(ANONYMOUS)).toEqual([REFUSED])
    expect(await ask(named('alice', 'secret'))).toEqual([IN])
  })
  // Optional and nothing else, or required and asked for nothing but its being there: nobody says who it is.
  expect(() => settled({ require_certificate: 'optional' })).toThrow(StartError)
  expect(() => settled({ require_certificate: 'required', use_identity_as_username: false })).toThrow(StartError)
})

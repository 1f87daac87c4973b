import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { hashPassword } from '../../../src/access/io/password-hash.ts'
import { run } from '../../../src/cli/cli.ts'
import { DEFAULT_CONFIG } from '../../../src/config/config.ts'
import { HttpServer } from '../../../src/http/io/http-server.ts'
import { HttpUsers } from '../../../src/http/io/http-users.ts'
import type { HttpTls } from '../../../src/http/io/tls.ts'
import { Publish } from '../../../src/mqtt/publish.ts'
import { TestApi, testHost } from '../../http/harness.ts'
import { Certificates } from '../../mqtt/io/certificates.ts'
import { StubHost } from '../stub-host.ts'

const TOKEN = 'v'.repeat(32)

let dir: string
let api: TestApi
let http: HttpServer | undefined
let other: Server | undefined
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-status-'))
  api = new TestApi()
})
afterEach(async () => {
  await http?.close()
  http = undefined
  other?.close()
  other = undefined
  rmSync(dir, { recursive: true })
})

async function listen(files: Partial<typeof DEFAULT_CONFIG> = {}, tls?: HttpTls): Promise<string> {
  const users = new HttpUsers({ ...DEFAULT_CONFIG, ...files }, 'view')
  const { routes } = api
  const running = testHost({ run: (step) => step(api.world.schedule.now) })
  http = await HttpServer.listen({
    host: '127.0.0.1',
    port: 0,
    names: [],
    users,
    routes,
    running,
    notice: () => {},
    ...(tls && { tls }),
  })
  return String(http.port)
}

async function withUsers(): Promise<string> {
  const [passwords, tokens] = [join(dir, 'passwords'), join(dir, 'tokens')]
  writeFileSync(passwords, `eva:${await hashPassword(Buffer.from('secret'), 10)}\n`, { mode: 0o600 })
  writeFileSync(tokens, `# for scrapes\nview ${TOKEN}\n`, { mode: 0o600 })
  return listen({ httpPasswordFile: passwords, httpTokenFile: tokens })
}

interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}
async function roost(argv: readonly string[], more: Partial<StubHost> & { env?: Record<string, string> } = {}): Promise<Ended> {
  const host = Object.assign(new StubHost(), { cwd: dir, ...more })
  const code = await run(argv, host)
  return { code, out: host.out, err: host.err }
}

function retain(topic: string, payload: string): void {
  const message = Publish.of(topic, Buffer.from(payload), 1, true)
  message.own()
  api.server.broker.retained.set(topic, message)
}

describe('roost status', () => {
  test('shows totals', async () => {
    const port = await listen()
    retain('a/b', 'x'.repeat(2000))
    const { code, out, err } = await roost(['status', '--http-port', port])
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain(`Roost 1.2.3 at http://127.0.0.1:${port}, ready, up `)
    expect(out).toContain('  clients       0 connected, 0 disconnected, at most 0 at the same time\n')
    expect(out).toContain('  retained      1 message, 2.0 kB\n')
  })

  test('as JSON', async () => {
    const { out } = await roost(['status', '--json', '--http-port', await listen()])
    expect(JSON.parse(out)).toMatchObject({ overview: { version: '1.2.3', ready: true }, sensors: [] })
  })

  test('--watch shows them again, also after Roost was away, until Ctrl-C', async () => {
    const port = await listen()
    const host = Object.assign(new StubHost(), { cwd: dir })
    const screens: string[] = []
    host.stdout.write = (text) => {
      screens.push(text)
      if (screens.length === 1) void http!.close()
      if (screens.length === 2) host.events.emit('SIGINT')
      return ''
    }
    expect(await run(['status', '--watch', '--http-port', port], host)).toBe(0)
    http = undefined
    expect(screens[0]).toContain('\x1b[H\x1b[2JRoost 1.2.3')
    expect(screens[1]).toContain('nothing answers')
    expect(host.events.listenerCount('SIGINT')).toBe(0)
  })

  test('--watch and --json exclude each other', async () =>
    expect(await roost(['status', '--watch', '--json'])).toEqual({ code: 2, out: '', err: '--json: not with --watch\n' }))
})

describe('roost retained', () => {
  test('lists messages, as many as there are', async () => {
    const port = await listen()
    for (let i = 0; i < 2500; i++) retain(`site/${String(i).padStart(4, '0')}`, 'x')
    retain('other\u009b', 'xx')
    const lines = (await roost(['retained', '--http-port', port])).out.trimEnd().split('\n')
    expect(lines).toHaveLength(2502)
    expect(lines[0]).toMatch(/^TOPIC +BYTES +QOS +PUBLISHER +USER +EXPIRES$/)
    // No control character of a topic reaches the terminal.
    expect(lines[1]).toMatch(/^other\\u\{9b} +2 +1 +- +- +never$/)
    expect((await roost(['retained', 'site/#', '-q', '/00', '--http-port', port])).out.trimEnd().split('\n')).toHaveLength(101)
    const { out } = await roost(['retained', 'site/0001', '--json', '--http-port', port])
    expect(JSON.parse(out)).toEqual([{ topic: 'site/0001', payload_bytes: 1, qos: 1 }])
  })

  test('lists levels', async () => {
    const port = await listen()
    for (const topic of ['a/1', 'a/2', 'b']) retain(topic, 'x')
    const levels = await roost(['retained', '--level', '', '--http-port', port])
    expect(levels.out).toBe('TOPIC  RETAINED  BELOW\na      no            2\nb      yes           0\n')
    const err = '--level: not with a filter or --query\n'
    expect(await roost(['retained', 'a', '--level', ''])).toEqual({ code: 2, out: '', err })
  })

  test('what the service refuses is one line, exit code 2', async () => {
    const port = await listen()
    const err = `http://127.0.0.1:${port}: filter: # is not a whole level\n`
    expect(await roost(['retained', 'a#', '--http-port', port])).toEqual({ code: 2, out: '', err })
  })
})

describe('roost clients', () => {
  test('an empty list is a head alone, and an empty array', async () => {
    const port = await listen()
    expect((await roost(['clients', '--http-port', port])).out).toMatch(/^ID +USER +STATE .*\n$/)
    expect((await roost(['clients', '--json', '--http-port', port])).out).toBe('[]\n')
  })
})

test('roost bridges: an empty list is a head alone, and an empty array', async () => {
  const port = await listen()
  expect(await roost(['bridges', '--http-port', port])).toMatchObject({
    code: 0,
    err: '',
    out: expect.stringMatching(/^BRIDGE +STATE.*\n$/),
  })
  expect(await roost(['bridges', '--json', '--http-port', port])).toMatchObject({ code: 0, out: '[]\n' })
})

test('roost upstream, where sensors have their sessions at that Roost: one line, exit code 2', async () => {
  const port = await listen()
  const err = `http://127.0.0.1:${port}: sensors have their sessions here: upstream is not configured\n`
  expect(await roost(['upstream', '--http-port', port])).toEqual({ code: 2, out: '', err })
})

describe('who asks', () => {
  const OK = expect.objectContaining({ code: 0, err: '' })

  test('without a login where one is needed', async () => {
    const port = await withUsers()
    const err = `http://127.0.0.1:${port}: a user name and password, or a bearer token, is needed (--http-user, --http-token-file)\n`
    expect(await roost(['clients', '--http-port', port])).toEqual({ code: 2, out: '', err })
  })

  test('by a token: in a file alone, in the file of the service, in the environment', async () => {
    const argv = ['clients', '--http-port', await withUsers()]
    writeFileSync(join(dir, 'alone'), `${TOKEN}\n`)
    expect(await roost([...argv, '--http-token-file', 'alone'])).toEqual(OK)
    expect(await roost([...argv, '--http-token-file', 'tokens'])).toEqual(OK)
    expect(await roost(argv, { env: { ROOST_HTTP_TOKEN: TOKEN } })).toEqual(OK)
    expect((await roost(argv, { env: { ROOST_HTTP_TOKEN: 'a b' } })).err).toBe(
      'ROOST_HTTP_TOKEN: expected a token without spaces\n',
    )
    writeFileSync(join(dir, 'broken'), 'two words\n')
    expect((await roost([...argv, '--http-token-file', 'broken'])).err).toContain('broken:1: expected `view TOKEN`')
    writeFileSync(join(dir, 'empty'), '# none\n')
    expect((await roost([...argv, '--http-token-file', 'empty'])).err).toContain('contains no token (--http-token-file)')
    expect((await roost([...argv, '--http-token-file', 'none'])).err).toContain('--http-token-file: cannot read none')
  })

  test('by user and password: from a terminal without echo, once, or from a pipe', async () => {
    const argv = ['clients', '--http-user', 'eva', '--http-port', await withUsers()]
    expect(await roost(argv, { stdin: Readable.from(['secret\n']) })).toEqual(OK)
    const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => {} })
    stdin.write('secret\r')
    expect(await roost(argv, { stdin })).toMatchObject({ code: 0, err: 'Password: \n' })
    expect(await roost(argv, { stdin: Readable.from(['wrong\n']) })).toMatchObject({ code: 2, out: '' })
  })
})

describe('HTTPS', () => {
  test('with the authority, the certificate of the configuration, or neither', async () => {
    const certificates = new Certificates()
    const tls = certificates.issue('server', '/CN=localhost', 'server')
    const port = await listen({}, tls)
    const argv = ['clients', '--http-port', port]
    expect(await roost([...argv, '--http-cafile', certificates.path('ca.pem')])).toMatchObject({ code: 0, err: '' })
    expect((await roost([...argv, '--http-tls'])).err).toMatch(
      /^https:.*: nothing answers: unable to verify the first certificate/,
    )
    expect((await roost(argv)).err).toMatch(/^http:.*: nothing answers: /)
    await http!.close()
    certificates.selfSigned('self', '/CN=localhost')
    const own = { certfile: certificates.path('self.pem'), keyfile: certificates.path('self.key') }
    const file = join(dir, 'roost.yaml')
    writeFileSync(file, `http_port: ${await listen({}, own)}\nhttp_host: localhost\nhttp_certfile: ${own.certfile}\n`)
    expect(await roost(['clients', '--config', file])).toMatchObject({ code: 0, err: '' })
    certificates.remove()
  })
})

describe('no service', () => {
  test('nothing answers: one line, exit code 2', async () => {
    const port = await listen()
    await http!.close()
    http = undefined
    const err = `http://127.0.0.1:${port}: nothing answers: connection refused (is Roost running, with http: true? see --http-port)\n`
    expect(await roost(['status', '--http-port', port])).toEqual({ code: 2, out: '', err })
  })

  test('the configuration says that it is off, or where it is', async () => {
    const file = join(dir, 'roost.yaml')
    writeFileSync(file, 'memory: true\nhttp: false\n')
    const off = `${file}:2:7: http: the HTTP service is switched off: set http: true and restart Roost\n`
    expect(await roost(['status', '--config', file])).toEqual({ code: 2, out: '', err: off })
    writeFileSync(file, `http_port: ${await listen()}\nhttp_host: 0.0.0.0\n`)
    expect(await roost(['status', '-c', file])).toMatchObject({ code: 0, err: '' })
  })

  const answering = async (answer: (path: string, response: ServerResponse) => void): Promise<string> => {
    other = createServer(({ url = '' }, response) => answer(url, response)).listen(0, '127.0.0.1')
    await new Promise((listening) => other!.once('listening', listening))
    return String((other.address() as AddressInfo).port)
  }

  test.each(['{}', 'null', '[]', '{"version":1}', '{"clients":[{}],"messages":[null],"levels":{}}'])(
    'JSON of something else, %s: one line, exit code 2',
    async (body) => {
      const port = await answering((_, response) => response.end(body))
      const err = `http://127.0.0.1:${port}: this is not the HTTP service of Roost, or one of another version\n`
      const lists = [['clients'], ['clients', 'a'], ['retained'], ['retained', '--level', ''], ['users']]
      for (const command of [['status'], ['status', '--watch'], ...lists, ['access', 'a']])
        expect(await roost([...command, '--http-port', port])).toEqual({ code: 2, out: '', err })
    },
  )

  test.each([200, 503])('an answer of status %i that breaks off: one line, exit code 2', async (status) => {
    const port = await answering((_, response) => {
      response.writeHead(status, { 'content-length': '100' })
      response.write('{"version":', () => response.destroy())
    })
    for (const command of [['status'], ['status', '--watch'], ['clients']]) {
      const { code, out, err } = await roost([...command, '--http-port', port])
      expect([code, out, err]).toEqual([2, '', expect.stringMatching(/^http:\S+: the answer has broken off: [^\n]+\n$/)])
    }
  })

  test('a stream of something else: one line, exit code 2', async () => {
    const port = await answering((_, response) => response.end('event: packet\ndata: 7\n\n'))
    const err = `http://127.0.0.1:${port}: this is not the HTTP service of Roost, or one of another version\n`
    expect(await roost(['trace', '--http-port', port])).toEqual({ code: 2, out: '', err })
  })

  test('something else answers', async () => {
    other = createServer((_, response) => response.end('<html>')).listen(0, '127.0.0.1')
    await new Promise((listening) => other!.once('listening', listening))
    const { port } = other.address() as AddressInfo
    const err = `http://127.0.0.1:${port}: this is not the HTTP service of Roost, or one of another version\n`
    expect(await roost(['status', '--http-port', String(port)])).toEqual({ code: 2, out: '', err })
  })

  test('--pcap: a file that was there with another mode is only for its owner', async () => {
    const file = join(dir, 'all.pcap')
    writeFileSync(file, '')
    chmodSync(file, 0o644)
    expect((await roost(['trace', '--http-port', await listen(), '--pcap', '.'])).err).toMatch(
      /^--pcap: cannot write .*directory/,
    )
    other = createServer((_, response) => response.end('<html>')).listen(0, '127.0.0.1')
    await new Promise((listening) => other!.once('listening', listening))
    const { port } = other.address() as AddressInfo
    expect((await roost(['trace', '--http-port', String(port), '--pcap', 'all.pcap'])).code).toBe(2)
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  test.each(['0', '65536', 'x'])('--http-port %s is none', async (port) =>
    expect(await roost(['status', '--http-port', port])).toEqual({
      code: 2,
      out: '',
      err: `--http-port: expected a whole number from 1 to 65535, got ${port}\n`,
    }),
  )
})

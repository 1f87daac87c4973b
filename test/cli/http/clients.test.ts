import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { World } from '../../../fuzz/sim/world.ts'
import { type Acl, parseAcl } from '../../../src/access/acl.ts'
import { parsePasswordLines } from '../../../src/access/password-file.ts'
import { AccessPolicy, type ListenerPolicy } from '../../../src/access/policy.ts'
import { run } from '../../../src/cli/cli.ts'
import { type ClientDetail, detailLines } from '../../../src/cli/http/client-detail.ts'
import { DEFAULT_CONFIG } from '../../../src/config/config.ts'
import { SensorRules } from '../../../src/gateway/sensor-rules.ts'
import { HttpServer } from '../../../src/http/io/http-server.ts'
import { HttpUsers } from '../../../src/http/io/http-users.ts'
import { bytes, will } from '../../broker/harness.ts'
import { connectClient, connectSensor, pass, TestApi, testHost } from '../../http/harness.ts'
import { StubHost } from '../stub-host.ts'

const acl = parseAcl(
  'topic read public/#\nuser eva\ntopic readwrite site/#\ntopic deny site/secret\npattern write state/%u\n',
) as Acl
const POLICY: ListenerPolicy = {
  ...{ allowAnonymous: true, verifies: false, methods: [], passwords: undefined, tokenKeys: new Set<string>() },
  acl,
  aclFile: '/etc/acl',
}
const HASH = Buffer.alloc(64).toString('base64')

let api: TestApi
let http: HttpServer
beforeEach(async () => {
  const users = parsePasswordLines(`eva:$7$101$c2FsdA==$${HASH}\nkim:$7$210000$c2FsdA==$${HASH}\nbad:x\n`).users
  api = new TestApi(new World(1), {
    access: new AccessPolicy(new Map([['mqtt', POLICY]]), POLICY),
    accounts: {
      files: [{ kind: 'mqtt', path: '/etc/passwords', listeners: ['mqtt'], users }],
      managers: new Set(),
      isOpen: true,
    },
    sensors: {
      rules: new SensorRules([{ clients: undefined, networks: undefined, user: { name: 'field' }, line: 4 }], {
        ...{ username: undefined, qosM1: false, qosM1Username: undefined },
      }),
      file: '/etc/sensors',
      username: undefined,
    },
  })
  http = await HttpServer.listen({
    ...{ host: '127.0.0.1', port: 0, names: [], users: new HttpUsers(DEFAULT_CONFIG, 'manage'), routes: api.routes },
    running: testHost({ run: (step) => step(api.world.schedule.now) }),
    notice: () => {},
  })
})
afterEach(() => http.close())

async function roost(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const host = new StubHost()
  const code = await run([...argv, '--http-port', String(http.port)], host)
  return { code, out: host.out, err: host.err }
}

describe('roost clients ID', () => {
  test('an MQTT client: connection, session, subscriptions, queue, what is in flight, and the will', async () => {
    const archive = connectClient(api, 'archive', { username: 'eva', keepAliveSeconds: 90, will: will('gone\n', 'bye', 1) })
    archive.act((client, now) => client.subscribe(now, [{ filter: 'site/#', qos: 1, noLocal: true }]))
    pass(api, 100)
    archive.act((client, now) => client.disconnect(now))
    pass(api, 100)
    const from = connectClient(api, 'from')
    for (let i = 0; i < 101; i++)
      from.act((client, now) => client.publish(now, { topic: `site/${i}`, payload: bytes('four'), qos: 1 }))
    pass(api, 100)
    const { code, out, err } = await roost('clients', 'archive')
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(/^mqtt:archive has been disconnected for /)
    expect(out).toMatch(/\nConnection\n {2}port +mqtt\n/)
    expect(out).toMatch(/\nSession\n {2}created +\S.*\n {2}user +eva\n {2}persistent +yes\n {2}expiry +1 h\n/)
    expect(out).toMatch(/\nSubscriptions \(1\)\n {2}FILTER +QOS +NO LOCAL\n {2}site\/# +1 +yes\n/)
    expect(out).toMatch(
      /\nQueue \(101 messages, \S+ kB, the oldest .*\)\n {2}TOPIC +QOS +BYTES +PUBLISHER +ACCEPTED\n {2}site\/0 +1 +4 +mqtt:from +\S/,
    )
    expect(out).toMatch(
      /\n\nWhy it does not get all its messages\n {2}it is not connected: 101 messages wait .*\(.*ends in .*\)\n/,
    )
    expect((await roost('clients', 'archive', '--topic', 'none')).out).toMatch(/ no subscription /)
    expect(out).toMatch(/\n {2}and 1 more\n/)
    expect(out).not.toMatch(/In flight|More/)
    const of = await roost('clients', 'mqtt:archive', '--json')
    expect(JSON.parse(of.out)).toMatchObject({ id: 'mqtt:archive', queue: { messages: 101 } })
  })

  test('what it is connected by, and what it has not acknowledged', async () => {
    const reader = connectClient(api, 'reader', { keepAliveSeconds: 90, will: will('gone', 'bye', 1) })
    reader.act((client, now) => client.subscribe(now, [{ filter: 'a', qos: 1 }]))
    pass(api, 100)
    const { out } = await roost('clients', 'reader')
    expect(out).toMatch(/^mqtt:reader has been connected for /)
    expect(out).toMatch(
      /\n {2}version +5.0\n {2}port +mqtt\n {2}address +\S+\n {2}last heard +\S.*\n {2}keep alive +1 min 30 s\n/,
    )
    expect(out).toMatch(/\nWill\n {2}topic +gone\n {2}qos +1\n {2}retain +no\n {2}payload +3 B\n {2}delay +0 s\n/)
  })

  test('a sensor: topic ids and counters', async () => {
    const sensor = connectSensor(api, 'pump-7')
    sensor.act((client, now) => client.register(now, 'site/a'))
    pass(api, 1000)
    const { out } = await roost('clients', 'sn:pump-7')
    expect(out).toMatch(/^sn:pump-7 has been active for /)
    expect(out).toMatch(/\n {2}version +1.2\n {2}port +sn\n/)
    expect(out).toMatch(/\nTopic ids \(1\)\n +ID +TOPIC +REQUESTED BY +KNOWN\n {2} *\d+ +site\/a +sensor +yes\n/)
  })

  test('fields that this command does not know are shown by their names, whatever they are', () => {
    const detail = {
      ...{
        id: 'sn:a',
        client_id: 'a',
        protocol: 'mqtt-sn',
        state: 'active',
        subscription_count: 0,
        waiting_messages: 0,
        waiting_bytes: 0,
      },
      counters: { messages_received: 3, bytes_sent: 2000 },
      last_day: [...Array.from({ length: 94 }, () => 'unknown'), 'asleep', 'lost'],
      exchanges: 7,
      queue: null,
      oldest_seconds: 3600,
      reasons: [{ code: 'asleep', text: 'it sleeps', until: '1970-01-01T00:01:00Z', option: 'sleep_margin' }, 'plain', null],
      notes: [{ code: 'asleep', text: 'it sleeps' }, 'plain', null],
      nothing: undefined,
    } as unknown as ClientDetail
    expect(detailLines(detail, 0).join('')).toBe(
      [
        'sn:a is active',
        '',
        'Why it does not get all its messages',
        '  it sleeps (ends in 1 min, sleep_margin)',
        '',
        'Counters',
        '  messages received   3',
        '  bytes sent          2.0 kB',
        '',
        'Last day (s asleep, w awake, l lost, - unknown; a letter is a quarter of an hour, the last one is now)',
        '  ---- ---- ---- ---- ---- ----',
        '  ---- ---- ---- ---- ---- ----',
        '  ---- ---- ---- ---- ---- ----',
        '  ---- ---- ---- ---- ---- --sl',
        '',
        'More',
        '  oldest seconds      1 h',
        '  notes               code asleep, text it sleeps',
        '  notes               plain',
        '',
      ].join('\n'),
    )
  })

  test('none of this name, and a filter beside an id: one line, exit code 2', async () => {
    const err = `http://127.0.0.1:${http.port}: there is no client none`
    expect(await roost('clients', 'none')).toEqual({ code: 2, out: '', err: expect.stringMatching(/^[^\n]+\n$/) })
    expect((await roost('clients', 'none')).err).toContain(err)
    expect((await roost('clients', '--topic', 'a')).err).toBe('--topic: only with a client id\n')
    expect(await roost('clients', 'a', '--state', 'lost')).toEqual({ code: 2, out: '', err: '--state: not with a client id\n' })
  })
})

/** Without the padding of columns. */
const squeezed = (text: string): readonly string[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => line.trim().replaceAll(/ {2,}/g, ' | '))

describe('roost users', () => {
  test('names, kinds, and how well the passwords are kept', async () => {
    expect(squeezed((await roost('users')).out)).toEqual([
      'USER | ROLE | PASSWORD | FROM',
      'mqtt:bad | - | refused: its line cannot be read | password_file /etc/passwords',
      'mqtt:eva | - | weak | password_file /etc/passwords',
      'mqtt:kim | - | strong hash | password_file /etc/passwords',
      'sn:field | - | - | sn_users /etc/sensors:4',
    ])
    expect(squeezed((await roost('users', '--kind', 'mqtt', '-q', 'KIM')).out)).toHaveLength(2)
    expect(JSON.parse((await roost('users', '--kind', 'sn', '--json')).out)).toMatchObject([{ id: 'sn:field', line: 4 }])
    expect(await roost('users', '--kind', 'x')).toMatchObject({ code: 2, out: '' })
  })
})

describe('roost access', () => {
  test('the rules of a client, and where they stand', async () => {
    connectClient(api, 'c1', { username: 'eva' })
    expect(squeezed((await roost('access', 'c1')).out)).toEqual([
      'mqtt:c1',
      'user | eva (not verified)',
      'listener | mqtt',
      'rules | from acl_file; what no rule allows is denied',
      'subscribe | filters may be wider than what may be read',
      '',
      'RULE | FILTER | PATTERN | LINE',
      'readwrite | site/# | - | /etc/acl:3',
      'deny | site/secret | - | /etc/acl:4',
      'write | state/eva | state/%u | /etc/acl:5',
    ])
  })

  test('one question: whether, why, and by which line', async () => {
    const asked = async (...argv: string[]) => squeezed((await roost('access', ...argv)).out).slice(-2)
    expect(await asked('mqtt:x', '--user', 'eva', '--topic', 'site/secret', '--action', 'publish')).toEqual([
      '',
      'publish site/secret: denied: line 4 denies it: /etc/acl:4',
    ])
    expect(await asked('mqtt:x', '--user', 'eva', '--topic', 'site/#', '--action', 'subscribe', '--listener', 'mqtt')).toEqual([
      'subscribe site/#: allowed: line 3 allows it: /etc/acl:3',
      'not everything that the filter matches is delivered',
    ])
    expect((await roost('access', 'mqtt:x', '--topic', 'a')).err).toContain('topic and action belong together')
  })

  test('a sensor, what is not known, and a pattern that is ignored', async () => {
    expect(squeezed((await roost('access', 'sn:pump')).out)).toContain(
      'sensor | may connect: user field by sn_users /etc/sensors:4',
    )
    const lines = squeezed((await roost('access', 'mqtt:new')).out)
    expect(lines).toContain('unknown | user: it has no session; these are the rules for a client without a user name')
    expect(lines).toContain('write | - | state/%u | /etc/acl:5 | ignored: the client has no user name that counts here')
    expect(JSON.parse((await roost('access', 'sn:pump', '--json')).out)).toMatchObject({ id: 'sn:pump' })
  })

  test('without a client, or with two: one line, exit code 2', async () => {
    expect(await roost('access')).toMatchObject({ code: 2, out: '', err: expect.stringMatching(/^[^\n]+\n$/) })
    expect(await roost('access', 'a', 'b')).toMatchObject({ code: 2, out: '' })
  })
})

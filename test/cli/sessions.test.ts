import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { run } from '../../src/cli/cli.ts'
import type { SessionInfo } from '../../src/process/stored-sessions.ts'
import { checkStore } from '../../src/store/io/check.ts'
import { SqliteStore, startHere } from '../../src/store/io/sqlite-store.ts'
import type { StoredDelivery, StoredOwner, StoreRecord } from '../../src/store/store.ts'
import { StubHost } from './stub-host.ts'

let root: string
let dir: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'roost-sessions-'))
  dir = join(root, 'data')
})
afterEach(() => rmSync(root, { recursive: true }))

const sessions = async (...argv: string[]) => {
  const host = new StubHost()
  const code = await run(['sessions', ...argv, '--data-dir', dir], host)
  return { code, out: host.out, err: host.err }
}
const listed = async (): Promise<SessionInfo[]> => JSON.parse((await sessions('list', '--json')).out) as SessionInfo[]
const opened = () => SqliteStore.open(dir, { onDurable: () => {}, onFailed: () => {}, onRecovered: () => {} }, startHere)

const AT = Date.UTC(2026, 0, 2, 3, 4, 5)
const ANYBODY: StoredOwner = { username: undefined, listener: 'l', verified: false }
const stored = (topic: string, payload: string) => ({
  topic,
  payload: Buffer.from(payload),
  qos: 1 as const,
  retain: false,
  from: 'mqtt:p',
})
const session = (key: string, more: Partial<Extract<StoreRecord, { type: 'session' }>> = {}): StoreRecord => ({
  type: 'session',
  key,
  expirySeconds: 3600,
  will: null,
  owner: ANYBODY,
  ...more,
})
const subscribe = (key: string, filter: string): StoreRecord => ({
  type: 'subscribe',
  key,
  filter,
  options: { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
})
const message = (id: number, topic: string, deliveries: readonly (Partial<StoredDelivery> & { key: string })[]): StoreRecord => ({
  type: 'message',
  id,
  message: stored(topic, `message ${id}`),
  deliveries: deliveries.map((delivery) => ({ qos: 1, retain: false, ...delivery })),
})
const detached = (key: string, more: object = {}): StoreRecord => ({
  type: 'detached',
  key,
  at: AT,
  expirySeconds: 3600,
  will: false,
  ...more,
})
const sensor = (clientId: string): StoreRecord => ({
  type: 'sn-client',
  clientId,
  state: 'disconnected',
  route: '192.0.2.9:1',
  durationSeconds: 60,
  sleepSeconds: 0,
  cleanSession: false,
  will: null,
  at: AT,
})

/** Writes a store as Roost leaves it: in two processes, so that some of it is in rows and some in the log. */
async function keep(...records: StoreRecord[]): Promise<void> {
  for (const half of [records.slice(0, records.length / 2), records.slice(records.length / 2)]) {
    const store = await opened()
    for (const record of half) store.append(record)
    await store.close()
  }
}

const ALICE: StoredOwner = { username: 'alice', listener: 'l', verified: true, address: '2001:db8::/64' }
const SITE: StoreRecord[] = [
  { type: 'clock', at: AT, wall: AT, bootId: '', uptime: 0 },
  session('mqtt:alice', { owner: ALICE, will: { message: stored('gone', 'x'), delaySeconds: 60 } }),
  subscribe('mqtt:alice', 'a/#'),
  subscribe('mqtt:alice', 'b'),
  session('mqtt:bob'),
  subscribe('mqtt:bob', 'a/#'),
  message(1, 'a/1', [{ key: 'mqtt:alice' }, { key: 'mqtt:bob' }]),
  message(2, 'a/2', [{ key: 'mqtt:alice' }, { key: 'mqtt:bob' }]),
  { type: 'sent', key: 'mqtt:alice', id: 1, packetId: 7 },
  { ...message(3, 'kept', [{ key: 'mqtt:alice' }]), retains: true } as StoreRecord,
  detached('mqtt:alice', { will: true }),
  detached('mqtt:bob', { expirySeconds: Number.POSITIVE_INFINITY }),
  session('sn:house'),
  sensor('house'),
  { type: 'sn-topic', clientId: 'house', topicId: 1, topicName: 'a/b' },
  session('mqtt:house'),
  sensor('lost'),
  { type: 'sn-topic', clientId: 'lost', topicId: 1, topicName: 'a/b' },
]

const soundness = (): string[] => {
  const problems: string[] = []
  checkStore(dir, (problem) => problems.push(problem))
  return problems
}
async function replayed(): Promise<StoreRecord[]> {
  const store = await opened()
  const records = [...store.replay()]
  await store.close()
  return records
}

describe('list', () => {
  test('as a table: whose each session is, where it stands, and what waits in it', async () => {
    await keep(...SITE)
    const { code, out, err } = await sessions('list')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out.split('\n')).toEqual([
      'ID          USER   ADDRESS        STATE         SINCE                 EXPIRES               SUBSCRIPTIONS  MESSAGES  WILL',
      'mqtt:alice  alice  2001:db8::/64  disconnected  2026-01-02T03:04:05Z  2026-01-02T04:04:05Z              2         3  gone',
      'mqtt:bob    -      -              disconnected  2026-01-02T03:04:05Z  never                             1         2  -',
      'mqtt:house  -      -              connected     -                     -                                 0         0  -',
      'sn:house    -      -              connected     -                     -                                 0         0  -',
      'sn:lost     -      -              disconnected  -                     never                             0         0  -',
      '',
    ])
  })

  test('as JSON, and as a table, without characters that a terminal obeys', async () => {
    const id = 'mqtt:a\u202e\u009b\u007f\u2028\u{e0001}"'
    await keep(session(id), detached(id))
    expect((await listed())[0]?.id).toBe(id)
    expect((await sessions('list', '--json')).out).toContain('{"id":"mqtt:a\\u202e\\u009b\\u007f\\u2028\\udb40\\udc01\\"",')
    expect((await sessions('list')).out).toContain('mqtt:a\\u{202e}\\u{9b}\\u{7f}\\u{2028}\\u{e0001}" ')
  })

  test('as JSON', async () => {
    await keep(...SITE)
    const [alice, , , house, lost] = await listed()
    expect(alice).toEqual({
      id: 'mqtt:alice',
      username: 'alice',
      verified: true,
      address: '2001:db8::/64',
      state: 'disconnected',
      since: '2026-01-02T03:04:05Z',
      expires: '2026-01-02T04:04:05Z',
      subscriptions: 2,
      messages: 3,
      message_bytes: expect.any(Number),
      will_topic: 'gone',
      topic_ids: 0,
    })
    expect(alice!.message_bytes).toBeGreaterThan(3 * 'message 1'.length)
    expect([house, lost]).toMatchObject([
      { id: 'sn:house', topic_ids: 1 },
      { id: 'sn:lost', topic_ids: 1 },
    ])
  })

  test('of no sessions, and of names that would break a line', async () => {
    await keep(SITE[0]!, session('mqtt:x'))
    await sessions('rm', 'x')
    expect(await listed()).toEqual([])
    await keep(session('mqtt:one'), session('mqtt:two\nlines\u001b[2J'))
    const { out } = await sessions('list')
    expect(out.split('\n')).toHaveLength(4)
    expect(out).toContain(String.raw`mqtt:two\u{a}lines\u{1b}[2J`)
  })

  test('changes nothing', async () => {
    await keep(...SITE)
    const before = await replayed()
    await sessions('list')
    expect(await replayed()).toEqual(before)
  })
})

describe('rm', () => {
  test('removes a session with all that belongs to it, and leaves everything else: the store is sound', async () => {
    await keep(...SITE)
    expect(await sessions('rm', 'alice')).toEqual({ code: 0, out: 'removed mqtt:alice: 2 subscriptions, 3 messages\n', err: '' })
    expect(soundness()).toEqual([])
    const records = await replayed()
    expect(soundness()).toEqual([])
    expect(JSON.stringify(records)).not.toContain('alice')
    expect(records.filter(({ type }) => type === 'delivery')).toMatchObject([
      { id: 1, delivery: { key: 'mqtt:bob' } },
      { id: 2, delivery: { key: 'mqtt:bob' } },
    ])
    // Its will was not published; payloads that others wait for are there, and so is what is retained.
    expect(records.flatMap((record) => (record.type === 'message' ? record.message.topic : [])).sort()).toEqual([
      'a/1',
      'a/2',
      'kept',
    ])
    expect((await listed()).map(({ id }) => id)).toEqual(['mqtt:bob', 'mqtt:house', 'sn:house', 'sn:lost'])
    await sessions('rm', 'bob')
    const rest = await replayed()
    expect(rest.flatMap((record) => (record.type === 'message' ? record.message.topic : []))).toEqual(['kept'])
    expect(soundness()).toEqual([])
  })

  test('a sensor goes with its topic ids, also one that has nothing else', async () => {
    await keep(...SITE)
    expect((await sessions('rm', 'sn:house', 'lost')).code).toBe(0)
    const records = await replayed()
    expect(records.filter(({ type }) => type.startsWith('sn-'))).toEqual([])
    expect((await listed()).map(({ id }) => id)).toEqual(['mqtt:alice', 'mqtt:bob', 'mqtt:house'])
  })

  test('a message that waits in it for a shared subscription goes to another member', async () => {
    const filter = '$share/g/jobs'
    await keep(
      session('mqtt:one'),
      subscribe('mqtt:one', filter),
      session('mqtt:two'),
      subscribe('mqtt:two', filter),
      ...Array.from({ length: 1500 }, (_, i) => message(i + 1, 'jobs', [{ key: 'mqtt:one', share: filter }])),
      detached('mqtt:one'),
      detached('mqtt:two'),
    )
    expect((await sessions('rm', 'one')).out).toBe('removed mqtt:one: 1 subscription, 1500 messages\n')
    expect(await listed()).toMatchObject([{ id: 'mqtt:two', messages: 1500 }])
    expect(soundness()).toEqual([])
  })

  test.each([
    ['nobody', 'nobody: no such session; see roost sessions list'],
    ['house', 'house: there is mqtt:house and sn:house; give one of these'],
  ])('%s: one line, exit code 2, and nothing has been removed', async (id, line) => {
    await keep(...SITE)
    expect(await sessions('rm', 'bob', id)).toEqual({ code: 2, out: '', err: `${line}\n` })
    expect(await listed()).toHaveLength(5)
  })
})

test('a directory without a store is an error, and none is made there', async () => {
  expect(await sessions('list')).toEqual({ code: 2, out: '', err: `${dir}: no such directory\n` })
  dir = root
  expect((await sessions('rm', 'x')).err).toBe(`${dir}: there is no store in it\n`)
  expect(readdirSync(root)).toEqual([])
})

test('help, and words that are no command', async () => {
  const host = new StubHost()
  expect(await run(['sessions', 'list', '--help'], host)).toBe(0)
  expect(host.out).toContain('roost clients and its API (docs/api.md).')
  const wrong = new StubHost()
  expect(await run(['sessions', 'lsit'], wrong)).toBe(2)
  expect(wrong.err).toBe('lsit: unknown command (did you mean list?); see roost sessions --help\n')
})

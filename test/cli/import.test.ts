import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { run } from '../../src/cli/cli.ts'
import { SqliteStore, startHere } from '../../src/store/io/sqlite-store.ts'
import type { StoreRecord } from '../../src/store/store.ts'
import { type EncodedMessage, type EncodedSession, type Layout, StateEncoder } from '../mosquitto/encode-state.ts'
import { StubHost } from './stub-host.ts'

let root: string
let file: string
let dir: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'roost-import-'))
  file = join(root, 'mosquitto.db')
  dir = join(root, 'data')
})
afterEach(() => rmSync(root, { recursive: true }))

const ran = async (...argv: string[]) => {
  const host = new StubHost()
  const code = await run(argv, host)
  return { code, out: host.out, err: host.err }
}

const imported = (bytes: Uint8Array, ...flags: string[]) => {
  writeFileSync(file, bytes)
  return ran('import', file, '--data-dir', dir, ...flags)
}

const LISTENER = { onDurable: () => {}, onFailed: () => {}, onRecovered: () => {} }

async function stored(): Promise<StoreRecord[]> {
  const store = await SqliteStore.open(dir, { writtenBy: 'test', ...LISTENER }, startHere)
  try {
    return [...store.replay()].filter(({ type }) => type !== 'clock')
  } finally {
    await store.close()
  }
}

const session = (clientId: string, more: Partial<EncodedSession> = {}): EncodedSession => ({
  ...{ clientId, username: '', expiresAt: 0, expiry: 0xffff_ffff, lastPacketId: 0 },
  ...more,
})

const message = (number: bigint, topic: string, more: Partial<EncodedMessage> = {}): EncodedMessage => ({
  ...{ number, topic, payload: Buffer.from(topic), qos: 1, retain: false },
  ...{ sourceId: 'publisher', sourceUsername: 'ann', expiresAt: 0, properties: {} },
  ...more,
})

const place = (number: bigint, clientId: string, state: number, packetId: number, qos = 1) =>
  ({ number, clientId, packetId, qos, state, retain: false, direction: 1, identifier: 0 }) as const

/** Queues out of the order of their numbers, as retained messages make them. */
const site = (layout: Layout): StateEncoder =>
  new StateEncoder(layout)
    .message(message(9n, 'new'))
    .message(message(2n, 'old', { retain: true }))
    .message(message(8n, 'sent'))
    .session(session('one', { username: 'ann', lastPacketId: 40 }))
    .place(place(8n, 'one', 3, 39))
    .place(place(9n, 'one', 11, 40))
    .place(place(2n, 'one', 11, 0))
    .session(session('other', { expiry: 3_000_000_000, expiresAt: 4_000_000_000 }))
    .place(place(2n, 'other', 11, 1))
    .place(place(9n, 'other', 11, 2))
    .subscription({ clientId: 'one', filter: '#', qos: 1, options: 0x24, identifier: 0 })
    .retained(2n)

test.each<Layout>([
  { format: 5, machine: 'x86-64' },
  { format: 5, machine: 'mips' },
  { format: 6, machine: 'i386' },
  { format: 6, machine: 'mips' },
])('what a file of format $format of $machine becomes', async (layout) => {
  const { code, out, err } = await imported(site(layout).bytes())
  expect({ code, err }).toEqual({ code: 0, err: '' })
  const found = `1 retained message, 2 sessions, 1 subscription, 5 queued messages`
  expect(out).toBe(`imported ${file} (format ${layout.format}) into ${dir}: ${found}\n`)
  const records = await stored()
  const topics = new Map(records.flatMap((record) => (record.type === 'message' ? [[record.id, record.message.topic]] : [])))
  const queue = (key: string) =>
    records.flatMap((record) => (record.type === 'delivery' && record.delivery.key === key ? [topics.get(record.id)] : []))
  expect(queue('mqtt:one')).toEqual(['sent', 'new', 'old'])
  expect(queue('mqtt:other')).toEqual(['old', 'new'])
  const sent = records.flatMap((record) => (record.type === 'sent' ? [[topics.get(record.id), record.packetId]] : []))
  expect(sent).toEqual([
    ['sent', 39],
    [undefined, 40],
  ])
  const owner = { username: layout.format === 6 ? 'ann' : undefined, listener: '', verified: false }
  expect(records).toContainEqual({ type: 'session', key: 'mqtt:one', expirySeconds: Number.POSITIVE_INFINITY, will: null, owner })
  const options = { qos: 1, noLocal: true, retainAsPublished: false, retainHandling: 2 }
  expect(records).toContainEqual({ type: 'subscribe', key: 'mqtt:one', filter: '#', options })
  expect(records).toContainEqual({
    type: 'detached',
    key: 'mqtt:other',
    at: 1_000_000_000_000,
    expirySeconds: 3_000_000_000,
    will: false,
  })
})

test('what is left out is said, each kind in a line', async () => {
  const bytes = new StateEncoder({ format: 6, machine: 'x86-64' }, 100n, false)
    .message(message(1n, 'gone', { expiresAt: 1000 }))
    .message(message(2n, 'bad/#'))
    .session(session('ended', { expiry: 0 }))
    .session(session('expired', { expiry: 60, expiresAt: 1000 }))
    .session(session('local.host.up'))
    .place(place(1n, 'local.host.up', 11, 1))
    .session(session('stays'))
    .place(place(1n, 'stays', 11, 1))
    .place(place(2n, 'stays', 11, 2))
    .place(place(3n, 'stays', 11, 3))
    .place(place(3n, 'nobody', 11, 3))
    .subscription({ clientId: 'stays', filter: 'a/#/b', qos: 0, options: 0, identifier: 0 })
    .retained(1n)
    .chunk(9, () => {})
    .bytes()
  const { code, out, err } = await imported(bytes)
  expect(code).toBe(0)
  expect(out).toMatch(/: 0 retained messages, 1 session, 0 subscriptions, 0 queued messages\n$/)
  expect(err.trimEnd().split('\n').sort()).toEqual([
    'left out: messages in sessions of bridges of Mosquitto: 1',
    'left out: queued messages that are not in the file: 1',
    'left out: queued messages that have expired: 1',
    'left out: queued messages with an invalid topic: 1',
    'left out: records of sessions that are not in the file: 1',
    'left out: records of unknown kinds: 1',
    'left out: retained messages that have expired: 1',
    'left out: sessions of bridges of Mosquitto: 1',
    'left out: sessions that ended with their connection: 1',
    'left out: sessions that have expired: 1',
    'left out: subscriptions with an invalid filter: 1',
    `warning: ${file}: Mosquitto saved it while it ran; what came later is not in it`,
  ])
})

const whole = site({ format: 6, machine: 'x86-64' }).bytes()
const changed = (at: number, byte: number): Buffer => {
  const bytes = Buffer.from(whole)
  bytes[at] = byte
  return bytes
}

test.each([
  ['nothing', Buffer.alloc(0), 'it is empty'],
  [
    'another file',
    Buffer.from('listener 1883\nallow_anonymous true\n'),
    "no persistence file of Mosquitto: it does not begin with 'mosquitto db'",
  ],
  ['a header cut short', whole.subarray(0, 20), 'cut short: it ends within its header'],
  ['a chunk header cut short', whole.subarray(0, 50), 'cut short: it ends within the chunk at offset 47'],
  ['a chunk cut short', whole.subarray(0, 60), 'cut short or damaged: the chunk at offset 47 has 50 bytes, of which 5 are there'],
  ['a newer format', changed(22, 7), 'format 7, which is newer than 6 and not known to this version of Roost'],
  [
    'an older format',
    changed(22, 4),
    'format 4, of Mosquitto 1.5 or older: let Mosquitto 1.6 or 2.0 start and stop with it, which converts it',
  ],
  ['a QoS that there is not', changed(47 + 8 + 30, 3), 'damaged: chunk at offset 47: QoS 3'],
  ['a payload that is too long', changed(47 + 8 + 18, 1), 'damaged: chunk at offset 47: its parts are longer than itself'],
])('%s is refused, and nothing is written', async (_, bytes, words) => {
  expect(await imported(bytes)).toEqual({ code: 2, out: '', err: `${file}: ${words}\n` })
  expect(existsSync(dir)).toBe(false)
})

test('a file that is not there, a directory, and no file', async () => {
  expect(await ran('import', file, '--data-dir', dir)).toMatchObject({
    code: 2,
    err: `${file}: no such file or directory (ENOENT)\n`,
  })
  expect(await ran('import', root, '--data-dir', dir)).toEqual({ code: 2, out: '', err: `${root}: it is a directory\n` })
  expect((await ran('import')).code).toBe(2)
  expect(existsSync(dir)).toBe(false)
})

test('a store of a first start is replaced, one with sessions or one in use is not', async () => {
  const first = await SqliteStore.open(dir, { writtenBy: 'test', ...LISTENER }, startHere)
  expect(await imported(whole)).toEqual({ code: 2, out: '', err: `${dir}: another process uses it; stop Roost first\n` })
  first.append({ type: 'clock', at: 1, wall: 1, bootId: '', uptime: 1 })
  await first.close()
  expect(await imported(whole)).toMatchObject({ code: 0, err: '' })
  const names = readdirSync(dir).filter((name) => !/^roost\.(db|db-wal|db-shm|lock|reserve)$/.test(name))
  expect(names).toEqual([])
  const line = `${dir}: a store with sessions or messages is in it; choose an empty directory\n`
  expect(await imported(whole)).toEqual({ code: 2, out: '', err: line })
  expect((await stored()).length).toBeGreaterThan(5)
})

test('user names count as verified where the flag says so', async () => {
  const bytes = new StateEncoder()
    .message(message(1n, 'r', { retain: true }))
    .session(session('one', { username: 'ann' }))
    .retained(1n)
  expect(await imported(bytes.bytes(), '--users-verified')).toMatchObject({ code: 0 })
  const owner = { username: 'ann', listener: '', verified: true }
  const records = await stored()
  expect(records).toContainEqual(expect.objectContaining({ type: 'session', owner }))
  expect(records).toContainEqual(
    expect.objectContaining({ type: 'message', message: expect.objectContaining({ source: owner, retain: true }) }),
  )
})

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { grown } from './full/grown.mjs'
import * as attacks from './full/memory-attacks.mjs'
import { passwordFile, transports } from './full/sites.mjs'
import { Client, MIB, Started } from './full/started.mjs'

// The started process with a small heap, of which memory_limit is derived: 28.8 MiB.
const SMALL = ['--max-old-space-size=80']
const CONGESTION = 1
const QUOTA_EXCEEDED = 0x97
const WRONG_PASSWORD = 0x86
const SERVER_BUSY = 0x89
/** Nothing is refused: what is dropped or closed has no answer of its own. */
const NOBODY = 'none'

let roost: Started | undefined
afterEach(async () => {
  if (roost?.ended === undefined) await roost?.stop()
})

const ACL = fileURLToPath(new URL('./full/open.acl', import.meta.url))

interface Attack {
  readonly name: string
  readonly flags?: readonly string[]
  /** The memory stays full: there may be no room for whoever is new. */
  readonly lasts?: true
  readonly run: (roost: Started) => Promise<attacks.Outcome>
  /** The bound that it reaches, if its like is refused. */
  readonly limit: string | undefined
  /** What everything that is refused is refused with. */
  readonly code: number | undefined
  /** What bounds it, where nothing is refused. */
  readonly holds: (roost: Started, outcome: attacks.Outcome) => Promise<void>
}

const nothingMore = async (): Promise<void> => {}
const of = (name: string, run: Attack['run'], limit: string, code: number | 'none' = QUOTA_EXCEEDED): Attack => ({
  name,
  run,
  limit,
  code: code === 'none' ? undefined : code,
  holds: nothingMore,
})
const bounded = (name: string, run: Attack['run'], holds: Attack['holds']): Attack => ({
  name,
  run,
  limit: undefined,
  code: undefined,
  holds,
})

/** By the account, which is told every second, this takes so many bytes at most. */
const atMost = (category: string, most: number) => async (to: Started) => {
  const client = await Client.connected(to.port, { clientId: 'figures' })
  client.subscribe(`$SYS/broker/roost/memory/${category}`, 0)
  let last = -1
  for (const until = Date.now() + 2500; Date.now() < until; ) {
    const packet = (await Promise.race([client.next(), sleep(500)])) as { type: number; payload: Uint8Array } | undefined
    if (packet?.type === 3) last = Number(Buffer.from(packet.payload).toString())
  }
  client.end()
  expect(last).toBeGreaterThanOrEqual(0)
  expect(last).toBeLessThanOrEqual(most)
}

/** One client gets a message of the victim 16 times at most by its shared subscriptions (max_shared_copies_per_session). */
async function fewCopies(_to: Started, { deliveries = [] }: attacks.Outcome): Promise<void> {
  const copies = new Map<string, number>()
  for (const { payload } of deliveries) {
    const text = Buffer.from(payload).toString()
    copies.set(text, (copies.get(text) ?? 0) + 1)
  }
  expect(Math.max(...copies.values())).toBe(16)
}

/** Of the 28.8 MiB the routes that are kept may take an eighth. */
const ROUTES_MAX = 3.6 * MIB
/** Forms that are kept from turn to turn, and the last message's. */
const FORMS_MAX = 4 * MIB + 1_000_000

const ATTACKS: readonly Attack[] = [
  of('filters of 65,000 octets', (to) => attacks.filters(to, 300), 'max_memory_per_client'),
  of('filters of 128 levels', (to) => attacks.deepFilters(to, 500), 'max_memory_per_client'),
  bounded('shared subscriptions', (to) => attacks.sharedGroups(to, 3000), fewCopies),
  of('REGISTERs of 65,000 octets', (to) => attacks.registers(to, 5, 120), 'max_memory_per_client', CONGESTION),
  of('REGISTERs of one sensor', (to) => attacks.registers(to, 1, 150), 'max_memory_per_client', CONGESTION),
  of('retained topics of 128 levels', (to) => attacks.retained(to, 1000), 'memory_limit'),
  of('absent sessions with full queues', (to) => attacks.queues(to, 60, 500_000, 50_000), 'max_memory_per_address'),
  of('wills', (to) => attacks.wills(to, 400), 'max_memory_per_address'),
  of('retained wills that fire, on 128 levels each', (to) => attacks.firedWills(to, 1700), 'memory_limit', NOBODY),
  of('will topics of sensors whose messages never come', (to) => attacks.willTopics(to, 1200), 'memory_limit', CONGESTION),
  {
    ...of('wills of sensors that have said goodbye', (to) => attacks.keptWills(to, 1200), 'memory_limit', CONGESTION),
    lasts: true,
  },
  of('half packets', (to) => attacks.halfPackets(to, 20, MIB), 'max_receive_buffer_bytes'),
  bounded('routes', (to) => attacks.routes(to, 20, 8000), atMost('routes', ROUTES_MAX)),
  bounded('wire forms', (to) => attacks.wireForms(to, 20), atMost('wire_forms', FORMS_MAX)),
  of('readers that do not read', (to) => attacks.outputs(to, 20, 20, MIB), 'max_memory_per_address', NOBODY),
  of('readers that acknowledge nothing', (to) => attacks.unacknowledged(to, 10, 10, MIB), 'max_memory_per_address'),
  {
    ...of('QoS 2 packet ids that are not released', (to) => attacks.receipts(to, 40, 3000), 'max_memory_per_address'),
    flags: ['--memory-limit', String(8 * MIB)],
  },
  // With less of the heap, so that it takes seconds.
  { ...of('topic aliases', (to) => attacks.aliases(to, 150), 'memory_limit'), flags: ['--memory-limit', String(8 * MIB)] },
  of('user names of 60,000 octets', (to) => attacks.userNames(to, 1200), 'max_memory_per_address'),
  of('client ids of 60,000 octets, in what they retained', (to) => attacks.retainers(to, 1200), 'memory_limit'),
  {
    ...bounded('topics that access rules remember', (to) => attacks.answers(to, 8), nothingMore),
    flags: ['--acl-file', ACL],
  },
  of('four million filters in one packet', (to) => attacks.manyFilters(to, 16 * MIB - 20), 'max_subscribe_packet_size', NOBODY),
]

describe('one peer cannot end the process by what it makes it hold', () => {
  test.each(ATTACKS)('$name', { timeout: 60_000 }, async ({ run, flags = [], lasts = false, code, limit, holds }) => {
    roost = await Started.startWith(SMALL, '--memory', '--sys-interval', '1', ...flags)
    const victim = await attacks.Victim.start(roost.port)
    const outcome = await run(roost)
    const { taken, refusals, clients } = outcome
    expect(roost.ended).toBe(undefined)
    if (code !== undefined) {
      expect(taken).toBeGreaterThan(0)
      expect([...refusals].filter(([, count]) => count > 0).map(([refused]) => refused)).toEqual([code])
    }
    await holds(roost, outcome)
    // The line may come behind the refusal.
    const { lines } = roost
    if (limit !== undefined) await vi.waitFor(() => expect(lines.map((line) => line.limit)).toContain(limit))
    // A victim loses nothing, and is refused nothing.
    expect(await victim.stop()).toBe(0)
    expect(victim.refused).toBe(0)
    for (const client of clients) client.end()
    const { port } = roost
    if (lasts) return
    const other = await Client.connected(port, { clientId: 'other' })
    expect(other.connack?.reasonCode).toBe(0)
    other.subscribe('other')
    expect((await other.next())?.reasonCodes).toEqual([1])
    other.end()
  })

  test('logins that wait', async () => {
    const users = 4
    const { flags, remove } = await passwordFile(users)
    try {
      roost = await Started.startWith(SMALL, '--memory', ...flags)
      const victim = await attacks.Victim.start(roost.port)
      const { taken, refusals, times } = await attacks.pendingLogins(roost, 2000, users, 7000, 80)
      expect(roost.ended).toBe(undefined)
      // Before they were bounded nobody new was let in while they waited.
      expect(refusals.get(SERVER_BUSY)).toBeGreaterThan(0)
      expect([...refusals.keys()].filter((code) => code !== SERVER_BUSY && code !== WRONG_PASSWORD)).toEqual([])
      expect(roost.reached('memory_limit')).toBeGreaterThan(0)
      expect(taken).toBe(users)
      // On a busy machine: so many times what a login takes with nobody beside it, as in fair-logins.test.ts.
      expect(Math.min(...times.slice(1))).toBeLessThan(Math.max(2000, 5 * times[0]!))
      expect(await victim.stop()).toBe(0)
      expect(victim.refused).toBe(0)
    } finally {
      remove()
    }
  }, 60_000)

  test('TLS handshakes that are never finished', async () => {
    const { flags, remove } = transports()
    try {
      roost = await Started.startWith(SMALL, '--memory', ...flags)
      const victim = await attacks.Victim.start(roost.port)
      const { taken, refusals, clients } = await attacks.halfHandshakes(roost, 500)
      expect(roost.ended).toBe(undefined)
      // 52 kB each, of half of the limit.
      expect(taken).toBeGreaterThan(200)
      expect(taken).toBeLessThan(320)
      expect(refusals.get(-1)).toBe(500 - taken)
      expect(roost.reached('memory_limit')).toBeGreaterThan(0)
      expect(await victim.stop()).toBe(0)
      expect(victim.refused).toBe(0)
      for (const client of clients) client.end()
    } finally {
      remove()
    }
  })

  test('what a store has is taken in again with half of the limit, and read by those whom it is for', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'roost-memory-'))
    try {
      const limits = ['--memory-limit', String(28 * MIB), '--max-memory-per-address', String(24 * MIB)]
      roost = await Started.startWith(SMALL, '--data-dir', directory, ...limits)
      const { taken } = await attacks.queues(roost, 40, 500_000, 50_000)
      expect(taken).toBeGreaterThan(250)
      expect(await roost.stop()).toBe(0)
      roost = await Started.startWith(SMALL, '--data-dir', directory, '--memory-limit', String(10 * MIB))
      const { port } = roost
      const stranger = await Client.connected(port, { clientId: 'stranger' })
      expect(stranger.connack?.reasonCode).toBe(QUOTA_EXCEEDED)
      let got = 0
      const lasting = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } }
      for (let i = 0; i < 40; i++) {
        const client = await Client.connected(port, { clientId: `absent ${i}`, ...lasting })
        expect(client.connack).toMatchObject({ reasonCode: 0, sessionPresent: true })
        got += await readAll(client)
        client.end()
      }
      expect(got).toBe(taken)
      expect((await Client.connected(port, { clientId: 'stranger' })).connack?.reasonCode).toBe(0)
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })
})

describe('a process grows by whatever it can for some seconds, and loses nothing that it has acknowledged', () => {
  test.each([false, true])(
    'on disk: %s',
    async (isOnDisk) => {
      expect(await grown(0.1, 1, isOnDisk)).toMatch(/victim p50 .* 0 lost, 0 refused/)
    },
    90_000,
  )
})

/** Acknowledges what waits for the client; gives how many messages that were. */
async function readAll(client: Client): Promise<number> {
  let got = 0
  const send = (packet: object): void => void (client as unknown as { send(packet: object): void }).send(packet)
  send({ type: 12 })
  for (let pings = 0; pings < 3; ) {
    const packet = (await client.next()) as { type: number; packetId: number } | undefined
    if (packet === undefined) return got
    if (packet.type === 13) {
      pings++
      send({ type: 12 })
    } else if (packet.type === 3) {
      got++
      pings = 0
      send({ type: 4, packetId: packet.packetId, reasonCode: 0, properties: {} })
    }
  }
  return got
}

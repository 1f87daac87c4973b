import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import * as attacks from './full/memory-attacks.mjs'
import { fuzz } from './full/memory-fuzz.mjs'
import { passwordFile, transports } from './full/sites.mjs'
import { Client, MIB, Started } from './full/started.mjs'

// The started process with a small heap, of which memory_limit is derived: 28.8 MiB.
const SMALL = ['--max-old-space-size=64']
const CONGESTION = 1
const QUOTA_EXCEEDED = 0x97
const WRONG_PASSWORD = 0x86
const SERVER_BUSY = 0x89

let roost: Started | undefined
afterEach(async () => {
  if (roost?.ended === undefined) await roost?.stop()
})

interface Attack {
  readonly name: string
  readonly run: (roost: Started) => Promise<attacks.Outcome>
  readonly code: number | undefined
  /** The bound that it reaches. */
  readonly limit: string | undefined
}

const of = (name: string, run: Attack['run'], limit?: string, code = QUOTA_EXCEEDED): Attack => ({
  name,
  run,
  limit,
  code: limit === undefined ? undefined : code,
})

const ATTACKS: readonly Attack[] = [
  of('filters of 65,000 octets', (to) => attacks.filters(to, 300), 'max_memory_per_client'),
  of('filters of 128 levels', (to) => attacks.deepFilters(to, 500), 'max_memory_per_client'),
  of('shared subscriptions', (to) => attacks.sharedGroups(to, 3000)),
  of('REGISTERs of 65,000 octets', (to) => attacks.registers(to, 5, 120), 'max_memory_per_client', CONGESTION),
  of('REGISTERs of one sensor', (to) => attacks.registers(to, 1, 150), 'max_memory_per_client', CONGESTION),
  of('retained topics of 128 levels', (to) => attacks.retained(to, 1000), 'memory_limit'),
  of('absent sessions with full queues', (to) => attacks.queues(to, 60, 500_000, 50_000), 'max_memory_per_user'),
  of('wills', (to) => attacks.wills(to, 400), 'max_memory_per_address'),
  of('half packets', (to) => attacks.halfPackets(to, 20, MIB), 'max_receive_buffer_bytes'),
  of('routes', (to) => attacks.routes(to, 20, 2000)),
  of('wire forms', (to) => attacks.wireForms(to, 10)),
  of('readers that do not read', (to) => attacks.outputs(to, 20, 20, MIB), 'max_memory_per_address'),
  of('topic aliases', (to) => attacks.aliases(to, 100)),
  of('four million filters in one packet', (to) => attacks.manyFilters(to, 16 * MIB - 20)),
]

describe('one peer cannot end the process by what it makes it hold', () => {
  test.each(ATTACKS)('$name', async ({ run, code, limit }) => {
    roost = await Started.startWith(SMALL, '--memory')
    const victim = await attacks.Victim.start(roost.port)
    const { taken, refusals, clients } = await run(roost)
    expect(roost.ended).toBe(undefined)
    if (code !== undefined && limit !== 'max_receive_buffer_bytes' && refusals.size > 0) {
      expect(taken).toBeGreaterThan(0)
      expect([...refusals.keys()]).toEqual([code])
    }
    if (limit !== undefined)
      expect(roost.lines.filter((line) => line.limit !== undefined).map((line) => line.limit)).toContain(limit)
    // A victim loses nothing, and is refused nothing.
    expect(await victim.stop()).toBe(0)
    expect(victim.refused).toBe(0)
    for (const client of clients) client.end()
    const { port } = roost
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
      const { taken, refusals, times } = await attacks.pendingLogins(roost, 2000, users, 2000)
      expect(roost.ended).toBe(undefined)
      // Before they were bounded nobody new was let in while they waited.
      expect(refusals.get(SERVER_BUSY)).toBeGreaterThan(0)
      expect([...refusals.keys()].filter((code) => code !== SERVER_BUSY && code !== WRONG_PASSWORD)).toEqual([])
      expect(roost.reached('memory_limit')).toBeGreaterThan(0)
      expect(taken).toBe(users)
      expect(Math.min(...times.slice(1))).toBeLessThan(2000)
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
      roost = await Started.startWith(SMALL, '--data-dir', directory, '--max-memory-per-user', String(24 * MIB))
      const { taken } = await attacks.queues(roost, 40, 500_000, 50_000)
      expect(taken).toBeGreaterThan(250)
      expect(await roost.stop()).toBe(0)
      roost = await Started.startWith(SMALL, '--data-dir', directory, '--memory-limit', String(10 * MIB))
      const { port } = roost
      const stranger = await Client.connected(port, { clientId: 'stranger' })
      expect(stranger.connack?.reasonCode).toBe(QUOTA_EXCEEDED)
      let got = 0
      const lasting = { cleanStart: false, properties: { sessionExpiryInterval: 3600 }, username: 'greedy' }
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

test('a process grows by whatever it can for some seconds, and serves its victim', async () => {
  roost = await Started.startWith(['--max-old-space-size=100'], '--memory')
  const victim = await attacks.Victim.start(roost.port)
  const { steps } = await fuzz(roost, 6, 1)
  expect(roost.ended).toBe(undefined)
  expect(steps).toBeGreaterThan(100)
  expect(await victim.stop()).toBe(0)
  expect(victim.refused).toBe(0)
  expect(roost.peak).toBeLessThan(300 * MIB)
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

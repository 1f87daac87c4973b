import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { Random } from '../../fuzz/sim/random.ts'
import { AccessFiles } from '../../src/access/io/access-files.ts'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import { DEFAULT_CONFIG } from '../../src/config/config.ts'
import type { ConnectionId } from '../../src/mqtt/connection.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { SqliteStore, startHere } from '../../src/store/io/sqlite-store.ts'
import { PERSISTENT, TestBroker } from '../broker/harness.ts'
import { Wire } from '../mqtt/wire.ts'
import { MIB, reachableBytes } from './heap.ts'

const dir = mkdtempSync(join(tmpdir(), 'roost-security-'))
afterAll(() => rmSync(dir, { recursive: true }))

describe('a flood of QoS 2', () => {
  test('lesson 20: the same id again and again is one message, and takes the memory of one', () => {
    const wire = new Wire()
    const reader = wire.connect({ clientId: 'reader' })
    wire.send(reader, { ...SUBSCRIBE })
    wire.out(reader)
    const writer = wire.connect({ clientId: 'writer' })
    const again = '340a000161 0007 00 7878 7878'.replaceAll(' ', '').repeat(1000)
    wire.sendHex(writer, again)
    const before = reachableBytes()
    for (let i = 0; i < 100; i++) {
      wire.sendHex(writer, again)
      wire.out(writer)
    }
    expect(wire.broker.sessions.get('mqtt', 'writer')?.receipts?.size).toBe(1)
    expect(wire.packets(reader)).toHaveLength(1)
    expect(reachableBytes() - before).toBeLessThan(MIB)
  })

  test('lesson 20: ids that are never released: 5.0 is told 0x93 at our Receive Maximum, 3.1.1 has 65,535 of them and no more', () => {
    const wire = new Wire({}, { limits: { receiveMaximum: 100 } })
    const five = wire.connect({ clientId: 'five' })
    expect(wire.packets(five)).toMatchObject([{ type: 2, properties: { receiveMaximum: 100 } }])
    for (let id = 1; id <= 101; id++) wire.send(five, publish(2, id))
    expect(wire.packets(five).slice(-2)).toMatchObject([{ type: 14, reasonCode: 0x93 }, 'close'])
    const four = wire.connect({ clientId: 'four', protocolVersion: 4 })
    for (let round = 0; round < 2; round++) {
      for (let id = 1; id <= 0xffff; id++) wire.send(four, publish(2, id), 4)
      wire.out(four)
    }
    const session = wire.broker.sessions.get('mqtt', 'four')!
    expect(session.receipts?.size).toBe(0xffff)
    expect(session.queueLength).toBe(0)
    wire.close(four)
    expect(wire.broker.sessions.size).toBe(0)
  }, 30_000)
})

const SUBSCRIBE = {
  type: 8 as const,
  packetId: 1,
  subscriptions: [{ filter: 'a', qos: 2 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 as const }],
  properties: {},
}
const publish = (qos: 0 | 1 | 2, id: number): Publish => Publish.of('a', Buffer.from('x'), qos, false, id, {})

describe('takeover', () => {
  test('lesson 21: 50 clients flap one id, with sessions and without, in a flood of messages', () => {
    const random = new Random(21)
    const wire = new Wire({ connectTimeoutMs: 1e9 })
    const open = new Set<ConnectionId>()
    const own = { clientId: 'own', ...PERSISTENT }
    const bystander = wire.connect(own)
    wire.send(bystander, { ...SUBSCRIBE })
    const writer = wire.connect({ clientId: 'writer' })
    let ids = 0
    for (let step = 0; step < 20_000; step++) {
      const one = random.pick([...open, undefined])
      if (one === undefined || open.size < 50) {
        const lasting = random.chance(0.5) ? PERSISTENT : {}
        const dying = {
          topic: 'a',
          payload: Buffer.from('will'),
          qos: 0 as const,
          retain: false,
          properties: { willDelayInterval: 1 },
        }
        open.add(wire.connect({ clientId: 'flapping', ...lasting, will: random.chance(0.3) ? dying : undefined }))
      } else if (random.chance(0.4)) wire.send(one, { ...SUBSCRIBE })
      else if (random.chance(0.3)) wire.close(one)
      else wire.send(one, random.chance(0.5) ? publish(1, (++ids % 60_000) + 1) : { type: 14, reasonCode: 0, properties: {} })
      if (random.chance(0.3)) wire.send(writer, publish(0, 0))
      if (random.chance(0.1)) wire.advance(random.between(1, 2000))
      for (const connection of open) if (wire.out(connection).includes('close')) open.delete(connection)
      const live = [...wire.broker.sessions].filter(({ link }) => link !== undefined)
      expect(live.length).toBeLessThanOrEqual(3)
      wire.out(bystander)
      wire.out(writer)
    }
    const last = wire.connect({ clientId: 'flapping' })
    expect(wire.packets(last)).toMatchObject([{ type: 2, reasonCode: 0 }])
    wire.advance(2000)
    for (const connection of open) wire.out(connection)
    // One live connection of that id, its own and the writer's; nothing of those that went is left.
    expect(wire.connections.size).toBe(3)
    expect(wire.broker.linkCount).toBe(3)
    expect(wire.broker.sessions.size).toBe(3)
    wire.send(last, { type: 12 })
    expect(wire.packets(last)).toMatchObject([{ type: 13 }])
    wire.out(bystander)
    wire.send(writer, publish(0, 0))
    expect(wire.packets(bystander)).toMatchObject([{ type: 3 }])
  }, 30_000)

  test('lesson 21: an answer that comes after its connection has gone falls flat', () => {
    const wire = new Wire({}, { access: { ...OPEN_ACCESS, connect: () => 'ask' } })
    const first = wire.connect({ clientId: 'c' })
    const asked = wire.broker.nextAuthRequest()!
    wire.close(first)
    const second = wire.connect({ clientId: 'c' })
    const askedAgain = wire.broker.nextAuthRequest()!
    const accepted = { kind: 'accepted', username: 'u', grant: undefined } as const
    for (const { link, step } of [asked, askedAgain, asked, askedAgain]) wire.broker.authenticated(0, link, step, accepted)
    wire.run()
    expect(wire.packets(second).filter((one) => typeof one === 'object')).toMatchObject([{ type: 2, reasonCode: 0 }])
    expect(wire.broker.sessions.size).toBe(1)
    expect(wire.connections.size).toBe(1)
    expect(wire.broker.stats.connected).toBe(1)
  })

  test('lesson 21: a session that is taken over loses nothing', () => {
    const world = new TestBroker()
    const writer = world.connect('writer')
    let holder = world.connect('same', PERSISTENT)
    holder.subscribe('a', 1)
    const got: string[] = []
    for (let i = 1; i <= 500; i++) {
      writer.publish('a', String(i), 1, i)
      writer.poll()
      if (i % 3 === 0) {
        for (const line of holder.poll()) {
          const match = /^a=(\d+) q1 #(\d+)/.exec(line)
          if (match === null) continue
          if (match[1] !== got.at(-1)) got.push(match[1]!)
          holder.ack(4, Number(match[2]))
        }
      }
      if (i % 7 === 0) {
        holder = world.connect('same', PERSISTENT)
      }
    }
    for (let more = holder.poll(); more.length > 0; more = holder.poll()) {
      for (const line of more) {
        const match = /^a=(\d+) q1 #(\d+)/.exec(line)
        if (match === null) continue
        got.push(match[1]!)
        holder.ack(4, Number(match[2]))
      }
    }
    expect(got).toEqual(Array.from({ length: 500 }, (_, i) => String(i + 1)))
  })
})

describe('files', () => {
  const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8)
  const expectPrivate = (path: string): void => {
    expect(mode(path)).toBe('700')
    const files = readdirSync(path)
    expect(files).toContain('roost.db')
    for (const name of files) expect([name, Number.parseInt(mode(join(path, name)), 8) & 0o077]).toEqual([name, 0])
  }

  test('lesson 23: what is kept can be read by nobody else, whatever the umask is, and a password file that others can read is told', async () => {
    const path = join(dir, 'data')
    const umask = process.umask(0)
    try {
      const listener = { onDurable: () => {}, onFailed: () => {}, onRecovered: () => {} }
      const store = await SqliteStore.open(path, listener, startHere)
      store.append({ type: 'session-end', key: 'mqtt:c' })
      expectPrivate(path)
      await store.close()
      expectPrivate(path)
    } finally {
      process.umask(umask)
    }
    const passwordFile = join(dir, 'passwords')
    writeFileSync(passwordFile, `alice:$7$1$${'A'.repeat(16)}$${'A'.repeat(86)}==\n`, { mode: 0o644 })
    const listeners = [{ ...DEFAULT_CONFIG.listeners[0]!, passwordFile }]
    expect(new AccessFiles({ ...DEFAULT_CONFIG, listeners }).warnings).toEqual([
      `password_file ${passwordFile} is open to other users of this machine: chmod 600`,
    ])
  })
})

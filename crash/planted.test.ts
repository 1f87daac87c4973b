import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { Server } from '../src/server.ts'
import type { StoreRecord } from '../src/store/store.ts'
import { play } from './script.ts'
import type { ServerClass, StageOptions } from './stage.ts'

/** What `npm run build` writes. */
const DIST = fileURLToPath(new URL('../dist', import.meta.url))

/** The first kill that shows a bug, from the end: most of what is lost shows late. */
function shown(options: StageOptions): string | undefined {
  const { violations, points } = play(options)
  if (violations.length > 0) return violations[0]
  for (let killAt = points; killAt > 0; killAt--) {
    const [violation] = play({ ...options, killAt }).violations
    if (violation !== undefined) return `killed at point ${killAt}: ${violation}`
  }
  return undefined
}

const RECORDS: readonly StoreRecord['type'][] = [
  'session',
  'will',
  'detached',
  'session-end',
  'subscribe',
  'unsubscribe',
  'message',
  'sent',
  'received',
  'done',
  'released',
  'sn-client',
  'sn-topic',
  'sn-end',
]

describe('a record that is never written shows', () => {
  test.each(RECORDS)('%s', { timeout: 120_000 }, (skipped) => {
    expect(shown({ server: Server, skipped })).toBeDefined()
  })
})

/** Where the code of broker and gateway says the one, it says the other. */
interface Bug {
  readonly what: string
  readonly says: string
  readonly but: string
}

const BUGS: readonly Bug[] = [
  {
    what: 'CONNACK',
    says: 'ReasonCode.SUCCESS, properties }, lsn)',
    but: 'ReasonCode.SUCCESS, properties }, 0)',
  },
  {
    what: 'PUBACK',
    says: 'PacketType.PUBACK, packetId, reasonCode), lsn)',
    but: 'PacketType.PUBACK, packetId, reasonCode), 0)',
  },
  {
    what: 'PUBREC',
    says: 'PacketType.PUBREC, packetId, reasonCode), lsn)',
    but: 'PacketType.PUBREC, packetId, reasonCode), 0)',
  },
  {
    what: 'PUBREL',
    says: 'PacketType.PUBREL, packetId, 0), inflight.lsn)',
    but: 'PacketType.PUBREL, packetId, 0), 0)',
  },
  {
    what: 'PUBCOMP',
    says: 'ReasonCode.PACKET_IDENTIFIER_NOT_FOUND : 0), lsn)',
    but: 'ReasonCode.PACKET_IDENTIFIER_NOT_FOUND : 0), 0)',
  },
  { what: 'SUBACK', says: 'reasonCodes, properties }, lsn)', but: 'reasonCodes, properties }, isSubscribe ? 0 : lsn)' },
  { what: 'UNSUBACK', says: 'reasonCodes, properties }, lsn)', but: 'reasonCodes, properties }, isSubscribe ? lsn : 0)' },
  {
    what: 'the outgoing QoS 2 PUBLISH',
    says: 'Math.max(inflight.lsn, inflight.queued.message.receiptLsn)',
    but: 'inflight.queued.message.receiptLsn',
  },
  {
    what: 'the onward delivery of QoS 2',
    says: 'message.receiptLsn = lsn',
    but: 'message.receiptLsn = 0',
  },
  {
    what: 'CONNACK (MQTT-SN)',
    says: 'returnCode: ReturnCode.ACCEPTED }, lsn)',
    but: 'returnCode: ReturnCode.ACCEPTED }, 0)',
  },
  { what: 'REGACK', says: 'ReturnCode.ACCEPTED, assigned.lsn)', but: 'ReturnCode.ACCEPTED, 0)' },
  {
    what: 'the DISCONNECT that grants sleep',
    says: 'answer(client, lsn);',
    but: 'answer(client, 0);',
  },
  {
    what: 'WILLTOPICRESP',
    says: 'client.send({ type: MsgType.WILLTOPICRESP, returnCode }, lsn)',
    but: 'client.send({ type: MsgType.WILLTOPICRESP, returnCode }, 0)',
  },
  { what: 'WILLMSGRESP', says: 'client.send({ type, returnCode }, lsn)', but: 'client.send({ type, returnCode }, 0)' },
]

describe('an acknowledgement that leaves before its record is durable shows', () => {
  test.each(BUGS)('$what', { timeout: 120_000 }, async ({ says, but }) => {
    const copy = mkdtempSync(join(tmpdir(), 'roost-planted-'))
    cpSync(DIST, copy, { recursive: true, filter: (path) => !path.endsWith('.d.ts') })
    writeFileSync(join(copy, 'package.json'), '{"type":"module"}')
    let count = 0
    for (const path of readdirSync(copy, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.js'))) {
      const text = readFileSync(join(copy, path), 'utf8')
      const isPlace = /^(broker|gateway)/.test(path) && text.includes(says)
      if (isPlace) count++
      writeFileSync(join(copy, path), isPlace ? text.replaceAll(says, but) : text)
    }
    expect(count).toBe(1)
    const patched = (await import(pathToFileURL(join(copy, 'server.js')).href)) as { Server: ServerClass }
    expect(shown({ server: patched.Server })).toBeDefined()
    rmSync(copy, { recursive: true })
  })
})

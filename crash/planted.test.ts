import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { StoreRecord } from '../src/base/store.ts'
import { Server } from '../src/server.ts'
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

/** A change of one file of dist: where it says the one, it says the other. */
interface Bug {
  readonly what: string
  readonly file: string
  readonly says: string
  readonly but: string
}

const BUGS: readonly Bug[] = [
  {
    what: 'CONNACK',
    file: 'broker/connector.js',
    says: 'ReasonCode.SUCCESS, properties }, lsn)',
    but: 'ReasonCode.SUCCESS, properties }, 0)',
  },
  {
    what: 'PUBACK',
    file: 'broker/broker.js',
    says: 'PacketType.PUBACK, packetId, reasonCode), lsn)',
    but: 'PacketType.PUBACK, packetId, reasonCode), 0)',
  },
  {
    what: 'PUBREC',
    file: 'broker/broker.js',
    says: 'PacketType.PUBREC, packetId, reasonCode), lsn)',
    but: 'PacketType.PUBREC, packetId, reasonCode), 0)',
  },
  {
    what: 'PUBREL',
    file: 'broker/exchanges.js',
    says: 'PacketType.PUBREL, packetId, 0), inflight.lsn)',
    but: 'PacketType.PUBREL, packetId, 0), 0)',
  },
  {
    what: 'PUBCOMP',
    file: 'broker/exchanges.js',
    says: 'ReasonCode.PACKET_IDENTIFIER_NOT_FOUND), lsn)',
    but: 'ReasonCode.PACKET_IDENTIFIER_NOT_FOUND), 0)',
  },
  { what: 'SUBACK', file: 'broker/broker.js', says: 'reasonCodes, properties }, lsn)', but: 'reasonCodes, properties }, 0)' },
  {
    what: 'UNSUBACK',
    file: 'broker/broker.js',
    says: 'reasonCodes, properties: NO_PROPERTIES }, lsn)',
    but: 'reasonCodes, properties: NO_PROPERTIES }, 0)',
  },
  {
    what: 'the outgoing QoS 2 PUBLISH',
    file: 'broker/client-link.js',
    says: 'Math.max(inflight.lsn, inflight.queued.message.receiptLsn)',
    but: 'inflight.queued.message.receiptLsn',
  },
  {
    what: 'the onward delivery of QoS 2',
    file: 'broker/publisher.js',
    says: 'message.receiptLsn = lsn',
    but: 'message.receiptLsn = 0',
  },
  {
    what: 'CONNACK (MQTT-SN)',
    file: 'gateway/sn-client.js',
    says: 'returnCode: ReturnCode.ACCEPTED }, lsn)',
    but: 'returnCode: ReturnCode.ACCEPTED }, 0)',
  },
  { what: 'REGACK', file: 'gateway/inbound.js', says: 'ReturnCode.ACCEPTED, assigned.lsn)', but: 'ReturnCode.ACCEPTED, 0)' },
  {
    what: 'SUBACK (MQTT-SN)',
    file: 'gateway/inbound.js',
    says: 'topicId, msgId, returnCode }, lsn)',
    but: 'topicId, msgId, returnCode }, 0)',
  },
  {
    what: 'the DISCONNECT that grants sleep',
    file: 'gateway/sn-client.js',
    says: 'this.send(goodbye, lsn);',
    but: 'this.send(goodbye, 0);',
  },
  {
    what: 'WILLTOPICRESP, WILLMSGRESP',
    file: 'gateway/will-update.js',
    says: 'returnCode: ReturnCode.ACCEPTED }, recorded)',
    but: 'returnCode: ReturnCode.ACCEPTED }, 0)',
  },
]

describe('an acknowledgement that leaves before its record is durable shows', () => {
  let base: string
  beforeAll(() => {
    base = mkdtempSync(join(tmpdir(), 'roost-planted-'))
    writeFileSync(join(base, 'package.json'), '{"type":"module"}')
  })
  afterAll(() => rmSync(base, { recursive: true }))

  test.each(BUGS)('$what', { timeout: 120_000 }, async ({ file, says, but }) => {
    const copy = mkdtempSync(join(base, 'dist-'))
    cpSync(DIST, copy, { recursive: true })
    const path = join(copy, file)
    const text = readFileSync(path, 'utf8')
    expect(text).toContain(says)
    writeFileSync(path, text.replaceAll(says, but))
    const patched = (await import(pathToFileURL(join(copy, 'server.js')).href)) as { Server: ServerClass }
    expect(shown({ server: patched.Server })).toBeDefined()
  })
})

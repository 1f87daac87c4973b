import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { StoredSessions } from '../../src/process/stored-sessions.ts'
import { checkStore } from '../../src/store/io/check.ts'
import { openDatabase } from '../../src/store/io/sqlite.ts'
import { MqttJs } from '../interop/mqttjs.ts'
import { roost } from '../interop/roost-command.ts'
import { StartedProcess } from '../interop/started-process.ts'

vi.setConfig({ testTimeout: 60_000 })

/** A folder for each version, with its store, which `released/write.mjs` has written when it was the current one. */
const RELEASED = fileURLToPath(new URL('released', import.meta.url))
const versions = readdirSync(RELEASED, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? entry.name : []))

const root = mkdtempSync(join(tmpdir(), 'roost-released-'))
afterAll(() => rmSync(root, { recursive: true }))

function unpacked(version: string): string {
  const dir = mkdtempSync(join(root, 'data-'))
  writeFileSync(join(dir, 'roost.db'), gunzipSync(readFileSync(join(RELEASED, version, 'roost.db.gz'))))
  return dir
}

describe.each(versions)('the store of version %s', (version) => {
  test('is sound and lists what it should', async () => {
    const dir = unpacked(version)
    const problems: string[] = []
    checkStore(dir, (problem) => problems.push(problem))
    expect(problems).toEqual([])
    const stored = await StoredSessions.open(dir, 'test')
    const list = [...stored.list()]
    await stored.close()
    const never = { expires: null, state: 'disconnected' }
    expect(list).toMatchObject([
      { id: 'mqtt:away', username: 'ann', subscriptions: 2, messages: 5, will_topic: null, ...never },
      { id: 'mqtt:willing', subscriptions: 0, messages: 0, will_topic: 'site/will', ...never },
      { id: 'sn:sensor', topic_ids: 1 },
    ])
  })

  test('its clients go on, and what they store is there after another restart', async () => {
    const dir = unpacked(version)
    const started = await StartedProcess.start('--data-dir', dir)
    let again: StartedProcess | undefined
    try {
      const session = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 0xffff_ffff } } as const
      const away = await MqttJs.connect(started.mqttPort, { clientId: 'away', username: 'ann', ...session })
      const texts: string[] = []
      for (let i = 0; i < 5; i++) texts.push((await away.next()).text)
      // QoS 2 is told when PUBREL has come.
      expect(texts.filter((text) => text !== 'two')).toEqual(['one', 'kept', 'job', '21.5'])
      expect(texts).toContain('two')
      await away.client.publishAsync('new', 'x', { qos: 2, retain: true })
      await away.client.endAsync()
      await started.stop()
      again = await StartedProcess.start('--data-dir', dir)
      const reader = await MqttJs.connect(again.mqttPort, { clientId: 'reader', protocolVersion: 5 })
      await reader.client.subscribeAsync(['site/c', 'new'], { qos: 1 })
      expect([(await reader.next()).text, (await reader.next()).text].sort()).toEqual(['kept', 'x'])
      await reader.client.endAsync(true)
    } finally {
      await started.stop()
      await again?.stop()
    }
  })
})

test('the current version has one', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  expect(versions).toContain(version)
})

describe('a store of a version to come', () => {
  test('is refused by every command in one line, and nothing is changed', async () => {
    const dir = unpacked(versions[0]!)
    const database = join(dir, 'roost.db')
    const connection = openDatabase(database)
    connection.exec('PRAGMA journal_mode = DELETE; PRAGMA user_version = 6; UPDATE meta SET format = 6, checksum = 1')
    connection.close()
    const before = readFileSync(database)
    const line = /^[^\n]*format version 6 is not known to this version of Roost, which knows 5[^\n]*\n$/
    const commands = [
      ['serve', '--data-dir', dir, '--port', '0', '--sn-port', '0', '--http', 'false', '--log-format', 'json'],
      ['sessions', 'list', '--data-dir', dir],
      ['backup', join(root, 'copy'), '--data-dir', dir],
      ['store', 'recover', dir, join(root, 'recovered')],
    ]
    for (const argv of commands) {
      const { code, err } = await roost(...argv)
      expect({ argv: argv[0], code, err }).toEqual({ argv: argv[0], code: 2, err: expect.stringMatching(line) })
    }
    expect(readFileSync(database).equals(before)).toBe(true)
  })

  test('of the time of lmdb, as well', async () => {
    const dir = join(root, 'lmdb')
    mkdirSync(dir)
    copyFileSync(join(RELEASED, 'write.mjs'), join(dir, 'data.mdb'))
    const { code, err } = await roost('serve', '--data-dir', dir, '--port', '0', '--sn-port', '0', '--http', 'false')
    expect(code).toBe(2)
    expect(err).toMatch(
      /^[^\n]*data\.mdb is a store of an older version \(lmdb\), which this version cannot read: move it away[^\n]*\n$/,
    )
  })
})

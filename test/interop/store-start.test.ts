import { createHash } from 'node:crypto'
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { SqliteShell, sqlite3 } from './sqlite-shell.ts'
import { expectMessages, NumberedPublisher, publishAll, StoreSite } from './store-site.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const MESSAGES = 300

let prepared: StoreSite
let site: StoreSite

/** A store that was closed cleanly, so that it can be read while it is inspected. */
beforeAll(async () => {
  prepared = new StoreSite()
  const roost = await prepared.start()
  await prepared.subscribeAway(roost, 'away')
  await publishAll(new NumberedPublisher(await prepared.connect(roost, 'publisher')), MESSAGES)
  expect(await roost.stop()).toBe(0)
})
afterAll(() => prepared.end())

beforeEach(() => {
  site = new StoreSite()
  cpSync(prepared.dir, site.dir, { recursive: true })
})
afterEach(() => site.end())

const database = (): string => join(site.dir, 'roost.db')

/** All files that hold something, but the index of the WAL, which a reader makes. */
function contents(): Record<string, string> {
  const files: Record<string, string> = {}
  for (const name of readdirSync(site.dir)) {
    const bytes = readFileSync(join(site.dir, name))
    if (bytes.length > 0 && !name.endsWith('-shm')) files[name] = createHash('sha256').update(bytes).digest('hex')
  }
  return files
}

describe('a start', () => {
  test('reads everything that is there', async () => {
    const numbers = Array.from({ length: MESSAGES }, (_, i) => i + 1)
    await expectMessages(site, await site.start(), numbers)
  })

  test.each([
    [
      "UPDATE messages SET records = x'00' WHERE id = (SELECT min(id) FROM messages)",
      /row messages \d+: checksum does not match/,
    ],
    ["UPDATE retained SET records = x'00' WHERE topic = 't/1'", /row retained t\/1: checksum does not match/],
    ['DELETE FROM queue WHERE message = (SELECT max(message) FROM queue)', /\d+ rows are there, and \d+ should be/],
    ['DELETE FROM sessions', /\d+ rows are there, and \d+ should be/],
  ])('of a damaged store ends in one line, opens no listener and changes nothing: %s', async (sql, reason) => {
    await sqlite3(database(), sql)
    const earlier = contents()
    const advice = `Nothing was changed; see roost store check ${site.dir}, and roost store recover ${site.dir} NEW (--data-dir)`
    for (let i = 0; i < 2; i++) {
      const line = await site.refused()
      expect(line.replace(reason, 'REASON')).toBe(`store ${site.dir}: REASON. ${advice}`)
    }
    expect(contents()).toEqual(earlier)
  })

  test('of a store with damaged pages as well', async () => {
    const bytes = readFileSync(database())
    for (let page = 10; page < bytes.length / 4096; page += 7) bytes.fill(0xa5, page * 4096, page * 4096 + 200)
    writeFileSync(database(), bytes)
    const earlier = contents()
    expect(await site.refused()).toMatch(
      new RegExp(`^store ${site.dir}: [^\\n]+\\. Nothing was changed; see roost store check .* NEW \\(--data-dir\\)$`),
    )
    expect(contents()).toEqual(earlier)
  })

  test('of a sound store that another process has locked ends in one line, and opens no listener', async () => {
    const shell = new SqliteShell(database())
    site.onEnd(() => shell.end())
    await shell.run('BEGIN IMMEDIATE;')
    const earlier = contents()
    expect(await site.refused()).toBe(`store ${site.dir}: another process has locked it (SQLITE_BUSY) (--data-dir)`)
    expect(contents()).toEqual(earlier)
    await shell.run('ROLLBACK;')
    await site.start()
  })
})

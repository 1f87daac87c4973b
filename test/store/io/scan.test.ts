import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Database } from '../../../src/store/io/database.ts'
import { thisProcess } from '../../../src/store/io/owner.ts'
import { packed, type ScannedRow, scan, unpacked } from '../../../src/store/io/scan.ts'
import { openDatabase } from '../../../src/store/io/sqlite.ts'
import { messageKey, queueKey, ROW_TABLES, type RowKey, retainedKey, sensorKey, sessionKey } from '../../../src/store/rows.ts'
import { Stores } from './stores.ts'

/** More than three pages of rows. */
const COUNT = 800
// No client and no topic has U+0000 in its name (MQTT-1.5.4-2); node:sqlite of Node.js 22 would end the text there.
const ODD = ['', "it's", 'ä/€/😀', 'a b', '%_', 'x'.repeat(65_535)]
const KEYS: Readonly<Record<RowKey['table'], (i: number, name: string) => RowKey>> = {
  messages: (i) => messageKey(i * 3),
  // A page may end within the queue of a session.
  queue: (i, name) => queueKey(ODD.includes(name) ? name : 'mqtt:s', i),
  sessions: (_, name) => sessionKey(name),
  retained: (_, name) => retainedKey(name),
  sensors: (_, name) => sensorKey(name),
}

describe('scan', () => {
  let stores: Stores

  beforeEach(() => {
    stores = new Stores()
    stores.leave([])
  })
  afterEach(() => stores.end())

  function write(rows: ReadonlyMap<RowKey, Uint8Array>): void {
    const database = new Database(stores.path, false)
    database.own(thisProcess(), 'test')
    database.transaction(() => {
      for (const [key, value] of rows) database.putRow(key, value)
    }, true)
    database.close()
  }

  const found = <T>(table: RowKey['table'], what: (row: ScannedRow) => T): T[] => {
    const connection = openDatabase(stores.path, true)
    try {
      return [...scan(connection, table)].flatMap((rows) => rows.map(what))
    } finally {
      connection.close()
    }
  }
  const nameOf = ({ table, name, id }: RowKey): string => `${table} ${name.slice(0, 20)} ${name.length} ${id}`

  for (const table of ROW_TABLES) {
    it(`finds each row of ${table} once, of any name and length`, () => {
      const rows = new Map<RowKey, Uint8Array>()
      for (let i = 0; i < COUNT; i++) {
        const name = ODD[i] ?? `device-${i}`
        // Of the third page all are short.
        const length = i === 300 || i === COUNT - 1 ? 100_000 : i % 7
        rows.set(KEYS[table](i, name), new Uint8Array(length).fill(i))
      }
      write(rows)
      const all = Array.from(rows, ([key, value]) => `${nameOf(key)}: ${value.length} of ${value[0]}`).sort()
      const one = ({ key, bytes, start, end, isSound }: ScannedRow): string =>
        `${nameOf(key)}: ${end - start} of ${end > start ? bytes[start] : undefined}${isSound ? '' : ' damaged'}`
      expect(found(table, one).sort()).toEqual(all)
    })
  }

  for (const [what, lengths, expected] of [
    ['a page with a long row', [100_000, ...Array<number>(199).fill(5)], [200]],
    ['rows of a few bytes and one that is just too long', [4097, 0, 1], [3]],
    ['long rows, up to about 1 MiB', Array<number>(40).fill(100_000), [11, 11, 11, 7]],
  ] as const) {
    it(`yields ${what} as few parts, each of which can be passed to another thread`, () => {
      write(new Map(lengths.map((length, i) => [messageKey(i), new Uint8Array(length).fill(i)])))
      const connection = openDatabase(stores.path, true)
      const parts = [...scan(connection, 'messages')]
      connection.close()
      expect(parts.map((rows) => rows.length)).toEqual(expected)
      const passed = parts.flatMap((rows) => {
        const whole = packed(rows)
        // Nothing else may be in there: it goes to the other thread as well, or, in a pool of Node.js, must not.
        expect(whole.buffer.byteLength).toBe(whole.length)
        return unpacked('messages', structuredClone(whole, { transfer: [whole.buffer] }))
      })
      expect(passed.map(({ key, start, end, isSound }) => [key.id, end - start, isSound])).toEqual(
        lengths.map((length, i) => [i, length, true]),
      )
    })
  }

  for (const [what, change] of [
    ['a value that is a text', 'records = CAST(records AS TEXT)'],
    ['a value that is another', "records = x'00'"],
    ['a checksum that is a text', "checksum = checksum || 'x'"],
    ['a checksum that is no integer', 'checksum = checksum + 0.5'],
    ['a checksum of more than 32 bits', 'checksum = checksum + 0x100000000'],
    ['a negative checksum', 'checksum = checksum - 0x100000000'],
    ['another name', "name = 'device-2x'"],
  ] as const) {
    it(`finds a row with ${what} damaged, and the others on its page sound`, () => {
      const names = ['device-1', 'device-2', 'device-3']
      write(new Map(names.map((name) => [sessionKey(name), Buffer.from('value')])))
      stores.query(`UPDATE sessions SET ${change} WHERE name = 'device-2'`)
      expect(found('sessions', ({ isSound }) => isSound)).toEqual([true, false, true])
    })
  }
})

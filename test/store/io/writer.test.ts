import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Database } from '../../../src/store/io/database.ts'
import { openStore } from '../../../src/store/io/open.ts'
import { StoreWriter } from '../../../src/store/io/writer.ts'
import { rowOf } from '../../../src/store/rows.ts'
import { message, Stores } from './stores.ts'

const OPTIONS = { durability: 'fsync', maxBytes: 2 ** 24, foldBytes: 2 ** 20, writtenBy: 'test' } as const

describe('a checkpoint that was asked for', () => {
  let stores: Stores
  let end = (): void => {}

  beforeEach(() => {
    stores = new Stores()
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    end()
    await stores.end()
  })

  function start(): StoreWriter {
    const options = { dir: stores.dir, ...OPTIONS }
    const { database, owner, lock } = openStore(options, () => {})
    const writer = new StoreWriter(database, owner, options, (news) => stores.news.push(news))
    end = () => {
      writer.close()
      lock.release()
    }
    expect(writer.start()).toBeUndefined()
    return writer
  }
  const commitAt = (writer: StoreWriter, lsn: number, now: number): void =>
    expect(writer.commit([{ lsn, bytes: rowOf([message(lsn)]) }], now)).toBeUndefined()

  /** Works as long as there is something to do at this time. Returns when there is more. */
  function workAt(writer: StoreWriter, now: number): number {
    for (let steps = 0; steps < 100; steps++) {
      const due = writer.work(now)
      if (due > now) return due
    }
    return expect.unreachable('it goes on and on')
  }

  it('is done when no reader keeps the WAL from being copied, which is tried once a second', () => {
    const writer = start()
    commitAt(writer, 1, 1000)
    const reader = stores.connect()
    reader.exec('BEGIN')
    reader.prepare('SELECT count(*) FROM log').get()
    commitAt(writer, 2, 1000)
    const tries = vi.spyOn(Database.prototype, 'checkpoint')
    writer.checkpointAll()
    for (const now of [1000, 2000, 3000]) {
      expect(workAt(writer, now)).toBe(now + 1000)
      expect([writer.isCheckpointing, stores.counts.log]).toEqual([true, 0])
    }
    expect(workAt(writer, 3500)).toBe(4000)
    // What comes meanwhile has to wait for nothing.
    commitAt(writer, 3, 3600)
    expect(workAt(writer, 3600)).toBe(4000)
    expect(tries).toHaveBeenCalledTimes(3)
    reader.exec('COMMIT')
    workAt(writer, 4000)
    expect([writer.isCheckpointing, tries.mock.calls.length]).toEqual([false, 4])
  })

  it('is tried again at once where another is asked for', () => {
    const writer = start()
    const reader = stores.connect()
    reader.exec('BEGIN')
    reader.prepare('SELECT count(*) FROM log').get()
    commitAt(writer, 1, 1000)
    writer.checkpointAll()
    workAt(writer, 1000)
    expect(writer.isCheckpointing).toBe(true)
    reader.exec('COMMIT')
    commitAt(writer, 2, 1001)
    writer.checkpointAll()
    workAt(writer, 1001)
    expect([writer.isCheckpointing, stores.counts.log]).toEqual([false, 0])
  })

  it('is not done while another process copies the WAL', () => {
    const writer = start()
    commitAt(writer, 1, 1000)
    vi.spyOn(Database.prototype, 'checkpoint').mockReturnValueOnce({ pages: -1, copied: -1 })
    writer.checkpointAll()
    expect(workAt(writer, 1000)).toBe(2000)
    expect(writer.isCheckpointing).toBe(true)
    workAt(writer, 2000)
    expect(writer.isCheckpointing).toBe(false)
  })
})

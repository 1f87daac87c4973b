import { describe, expect, it, vi } from 'vitest'
import { GroupCommit, type GroupCommitOptions, readCommit as readEach } from '../../../src/base/io/group-commit.ts'
import type { Lsn, StoreRecord } from '../../../src/base/store.ts'

const record = (id: number): StoreRecord => ({ type: 'done', key: 'mqtt:c', id })

/** The records of a commit, or what is wrong with it. */
function readCommit(value: Uint8Array): StoreRecord[] | string {
  const records: StoreRecord[] = []
  return readEach(value, (each) => records.push(each)) ?? records
}

/** A disk whose commits end when the test says so. */
class Disk {
  readonly puts: { lsn: Lsn; records: unknown; end: (error?: unknown) => void }[] = []
  readonly stored = new Map<Lsn, unknown>()
  readonly events: string[] = []
  #begun: () => void = () => {}

  readonly put = (lsn: Lsn, value: Uint8Array): Promise<void> =>
    new Promise((resolve, reject) => {
      const end = (error?: unknown): void => {
        if (error === undefined) this.stored.set(lsn, readCommit(value))
        if (error === undefined) resolve()
        else reject(error)
      }
      this.puts.push({ lsn, records: readCommit(value), end })
      this.#begun()
    })

  /** The `count`th put since the start, as soon as it is there. */
  async nth(count: number): Promise<Disk['puts'][number]> {
    while (this.puts.length < count) {
      await new Promise<void>((resolve) => {
        this.#begun = resolve
      })
    }
    return this.puts[count - 1]!
  }

  commits(options: Partial<GroupCommitOptions> = {}): GroupCommit {
    return new GroupCommit(this.put, 0, {
      onDurable: (upTo) => void this.events.push(`durable ${upTo}`),
      onFailed: (error) => void this.events.push(`failed ${error}`),
      onRecovered: () => void this.events.push('recovered'),
      retryMs: 1,
      ...options,
    })
  }
}

describe('GroupCommit', () => {
  it('makes all appends of one turn one commit', async () => {
    const disk = new Disk()
    const commits = disk.commits()
    const records = Array.from({ length: 100 }, (_, i) => record(i))
    expect(new Set(records.map((each) => commits.append(each)))).toEqual(new Set([1]))
    expect(disk.puts).toEqual([])
    const first = await disk.nth(1)
    expect(first.records).toEqual(records)
    expect(commits.durable).toBe(0)
    first.end()
    await commits.close()
    expect(commits.durable).toBe(1)
    expect(disk.puts.length).toBe(1)
    expect(disk.events).toEqual(['durable 1'])
  })

  it('gathers what comes while a commit is in flight into the next, and has one in flight at most', async () => {
    const disk = new Disk()
    const commits = disk.commits()
    expect(commits.append(record(1))).toBe(1)
    const first = await disk.nth(1)
    expect(commits.append(record(2))).toBe(2)
    await new Promise(setImmediate)
    expect(commits.append(record(3))).toBe(2)
    await new Promise(setImmediate)
    expect(disk.puts.length).toBe(1)
    first.end()
    const second = await disk.nth(2)
    expect([second.lsn, second.records]).toEqual([2, [record(2), record(3)]])
    second.end()
    await commits.close()
    expect(disk.events).toEqual(['durable 1', 'durable 2'])
  })

  it('starts again after it was idle', async () => {
    const disk = new Disk()
    const commits = disk.commits()
    commits.append(record(1))
    ;(await disk.nth(1)).end()
    await vi.waitUntil(() => commits.durable === 1)
    expect(commits.append(record(2))).toBe(2)
    ;(await disk.nth(2)).end()
    await commits.close()
    expect([...disk.stored]).toEqual([
      [1, [record(1)]],
      [2, [record(2)]],
    ])
  })

  it('serialises at once: a record that changes after the append is stored as it was', async () => {
    const disk = new Disk()
    const commits = disk.commits()
    const changing = { type: 'done' as const, key: 'mqtt:c', id: 1 }
    commits.append(changing)
    changing.id = 2
    expect((await disk.nth(1)).records).toEqual([record(1)])
  })

  it('keeps a commit that fails and tries it again, with one report of the failure and one of its end', async () => {
    const disk = new Disk()
    const commits = disk.commits()
    commits.append(record(1))
    ;(await disk.nth(1)).end(new Error('no space left'))
    const second = await disk.nth(2)
    commits.append(record(2))
    second.end(new Error('no space left'))
    const third = await disk.nth(3)
    expect([commits.durable, disk.events]).toEqual([0, ['failed no space left']])
    expect([third.lsn, third.records]).toEqual([1, [record(1)]])
    third.end()
    ;(await disk.nth(4)).end(new Error('again'))
    ;(await disk.nth(5)).end()
    await commits.close()
    expect(disk.events).toEqual(['failed no space left', 'recovered', 'durable 1', 'failed again', 'recovered', 'durable 2'])
    expect([...disk.stored]).toEqual([
      [1, [record(1)]],
      [2, [record(2)]],
    ])
  })

  it("gives 'full' at the bound, in flight included, keeps what it has, and takes more when there is room", async () => {
    const disk = new Disk()
    const size = 9 // tag, length and six bytes of key, id
    const commits = disk.commits({ maxBufferedBytes: 4 + 4 + 3 * size })
    expect([commits.append(record(1)), commits.append(record(2))]).toEqual([1, 1])
    const first = await disk.nth(1)
    expect([commits.append(record(3)), commits.append(record(4)), commits.append(record(5))]).toEqual([2, 'full', 'full'])
    first.end(new Error('no space left'))
    const again = await disk.nth(2)
    expect(commits.append(record(6))).toBe('full')
    again.end()
    const next = await disk.nth(3)
    expect(next.records).toEqual([record(3)])
    expect(commits.append(record(7))).toBe(3)
    next.end()
    ;(await disk.nth(4)).end()
    await commits.close()
    expect([...disk.stored.values()]).toEqual([[record(1), record(2)], [record(3)], [record(7)]])
  })

  it('names the reason that lmdb gives apart from its error, and leaves no rejection unhandled', async () => {
    const disk = new Disk()
    const commits = disk.commits()
    const rejections: unknown[] = []
    const listener = (reason: unknown): void => void rejections.push(reason)
    process.on('unhandledRejection', listener)
    commits.append(record(1))
    const first = await disk.nth(1)
    first.end(Object.assign(new Error('Commit failed'), { commitError: Promise.reject(new Error('MDB_MAP_FULL')) }))
    ;(await disk.nth(2)).end(Object.assign(new Error('Commit failed'), { commitError: new Promise(() => {}) }))
    ;(await disk.nth(3)).end()
    await commits.close()
    await new Promise(setImmediate)
    process.off('unhandledRejection', listener)
    expect(disk.events).toEqual(['failed MDB_MAP_FULL', 'recovered', 'durable 1'])
    expect(rejections).toEqual([])
  })

  it('reports a commit that does not end', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const disk = new Disk()
      const commits = disk.commits()
      vi.advanceTimersByTime(60_000)
      commits.append(record(1))
      const first = await disk.nth(1)
      vi.advanceTimersByTime(9_999)
      expect(disk.events).toEqual([])
      vi.advanceTimersByTime(1)
      expect(disk.events).toEqual(['failed commit 1 takes longer than 10 s'])
      first.end()
      await commits.close()
      expect(disk.events.slice(1)).toEqual(['recovered', 'durable 1'])
    } finally {
      vi.useRealTimers()
    }
  })

  it('waits longer from try to try', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const disk = new Disk()
      const commits = disk.commits({ retryMs: 1000 })
      commits.append(record(1))
      for (const [i, waited] of [1000, 2000, 4000, 5000, 5000].entries()) {
        ;(await disk.nth(i + 1)).end(new Error('no'))
        await vi.waitUntil(() => vi.getTimerCount() === 2, { interval: 0 })
        vi.advanceTimersByTime(waited - 1)
        expect(disk.puts.length).toBe(i + 1)
        vi.advanceTimersByTime(1)
      }
      ;(await disk.nth(6)).end()
      await commits.close()
    } finally {
      vi.useRealTimers()
    }
  })

  describe('close', () => {
    it('commits what is left', async () => {
      const disk = new Disk()
      const commits = disk.commits()
      commits.append(record(1))
      const first = await disk.nth(1)
      commits.append(record(2))
      const closed = commits.close()
      expect(commits.append(record(3))).toBe('full')
      first.end()
      ;(await disk.nth(2)).end()
      await closed
      expect([...disk.stored.values()]).toEqual([[record(1)], [record(2)]])
    })

    it('does not wait for a retry, and rejects if that fails too', async () => {
      const disk = new Disk()
      const commits = disk.commits({ retryMs: 3_600_000 })
      commits.append(record(1))
      ;(await disk.nth(1)).end(new Error('no space left'))
      await vi.waitUntil(() => disk.events.length === 1)
      const closed = commits.close()
      ;(await disk.nth(2)).end(new Error('no space left'))
      await expect(closed).rejects.toThrow('closed with commit 1 not stored: no space left')
      expect(disk.puts.length).toBe(2)
    })

    it('has nothing to do when nothing was appended', async () => {
      const disk = new Disk()
      await disk.commits().close()
      expect(disk.puts).toEqual([])
    })
  })
})

describe('a commit that becomes large', () => {
  const large: StoreRecord = {
    type: 'subscribe',
    key: 'mqtt:c',
    filter: 'f'.repeat(60_000),
    options: { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 },
  }

  it('is divided into several that share a transaction, and become durable together', async () => {
    const disk = new Disk()
    const commits = disk.commits()
    const lsns = Array.from({ length: 40 }, () => commits.append(large))
    expect(lsns).toEqual([...Array(18).fill(1), ...Array(18).fill(2), ...Array(4).fill(3)])
    const third = await disk.nth(3)
    expect(disk.puts.map(({ lsn, records }) => [lsn, (records as []).length])).toEqual([
      [1, 18],
      [2, 18],
      [3, 4],
    ])
    for (const put of disk.puts.slice(0, 2)) put.end()
    third.end(new Error('no room'))
    const again = await disk.nth(6)
    expect(again.lsn).toBe(3)
    for (const put of disk.puts.slice(3)) put.end()
    await commits.close()
    expect(disk.events).toEqual(['failed no room', 'recovered', 'durable 3'])
  })
})

describe('readCommit', () => {
  it('finds every changed byte', async () => {
    const values: Uint8Array[] = []
    const ignore = (): void => {}
    const put = async (_lsn: Lsn, value: Uint8Array): Promise<void> => void values.push(value.slice())
    const commits = new GroupCommit(put, 0, { onDurable: ignore, onFailed: ignore, onRecovered: ignore })
    commits.append(record(1))
    commits.append(record(2))
    await commits.close()
    const value = values[0]!
    expect(readCommit(value)).toEqual([record(1), record(2)])
    for (let at = 0; at < value.length; at++) {
      value[at]! ^= 0x10
      expect(readCommit(value)).toBe('checksum does not match')
      value[at]! ^= 0x10
    }
    expect(readCommit(value.subarray(0, 3))).toBe('checksum runs beyond the end')
  })
})

import { describe, expect, it, vi } from 'vitest'
import { type Answer, GroupCommit, type GroupCommitOptions } from '../../../src/store/io/group-commit.ts'
import type { Commit } from '../../../src/store/io/protocol.ts'
import { readRow } from '../../../src/store/rows.ts'
import type { Lsn, StoreRecord } from '../../../src/store/store.ts'

const record = (id: number): StoreRecord => ({ type: 'done', key: 'mqtt:c', id })

/** A disk whose commits end when the test says so. */
class Disk {
  /** Transactions: the number of the last commit, and the records of all. */
  readonly puts: { lsn: Lsn; commits: readonly Commit[]; records: unknown; end: (error?: string) => void }[] = []
  readonly stored = new Map<Lsn, unknown>()
  readonly events: string[] = []
  #begun: () => void = () => {}

  /** As a thread does: what it is given is gone at the sender, and comes back with the answer. */
  readonly put = (sent: readonly Commit[]): Promise<Answer> =>
    new Promise((resolve) => {
      const commits = structuredClone(sent, { transfer: sent.map(({ bytes }) => bytes.buffer as ArrayBuffer) })
      const end = (error?: string): void => {
        if (error === undefined) for (const { lsn, bytes } of commits) this.stored.set(lsn, readRow(bytes))
        resolve({ commits: structuredClone(commits), error })
      }
      const records = commits.flatMap(({ bytes }) => readRow(bytes) as StoreRecord[])
      this.puts.push({ lsn: commits.at(-1)!.lsn, commits, records, end })
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
    ;(await disk.nth(1)).end('no space left')
    const second = await disk.nth(2)
    commits.append(record(2))
    second.end('no space left')
    const third = await disk.nth(3)
    expect([commits.durable, disk.events]).toEqual([0, ['failed no space left']])
    expect([third.lsn, third.records]).toEqual([1, [record(1)]])
    third.end()
    ;(await disk.nth(4)).end('again')
    ;(await disk.nth(5)).end()
    await commits.close()
    expect(disk.events).toEqual(['failed no space left', 'recovered', 'durable 1', 'failed again', 'recovered', 'durable 2'])
    expect([...disk.stored]).toEqual([
      [1, [record(1)]],
      [2, [record(2)]],
    ])
  })

  it('has room below a quarter of the bound, and takes in what ends something up to a quarter above it', async () => {
    const disk = new Disk()
    const size = 9
    const commits = disk.commits({ maxBufferedBytes: 4 * size })
    commits.append(record(1))
    expect(commits.hasRoom).toBe(true)
    commits.append(record(2))
    expect(commits.hasRoom).toBe(false)
    commits.append(record(3))
    commits.append(record(4))
    expect(commits.append(record(5))).toBe('full')
    expect([commits.append(record(6), true), commits.append(record(7), true)]).toEqual([1, 'full'])
    ;(await disk.nth(1)).end()
    await commits.close()
    expect(commits.hasRoom).toBe(true)
  })

  it("gives 'full' at the bound, in flight included, keeps what it has, and takes more when there is room", async () => {
    const disk = new Disk()
    const size = 9 // tag, length and six bytes of key, id
    const commits = disk.commits({ maxBufferedBytes: 3 * size })
    expect([commits.append(record(1)), commits.append(record(2))]).toEqual([1, 1])
    const first = await disk.nth(1)
    expect([commits.append(record(3)), commits.append(record(4)), commits.append(record(5))]).toEqual([2, 'full', 'full'])
    first.end('no space left')
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
        ;(await disk.nth(i + 1)).end('no')
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
      ;(await disk.nth(1)).end('no space left')
      await vi.waitUntil(() => disk.events.length === 1)
      const closed = commits.close()
      ;(await disk.nth(2)).end('no space left')
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
    const first = await disk.nth(1)
    expect(first.commits.map(({ lsn, bytes }) => [lsn, readRow(bytes).length])).toEqual([
      [1, 18],
      [2, 18],
      [3, 4],
    ])
    first.end()
    await commits.close()
    expect(disk.events).toEqual(['durable 3'])
  })

  it('is tried piece by piece once it has failed: there may be room for one, and not for all', async () => {
    const disk = new Disk()
    const commits = disk.commits()
    for (let i = 0; i < 40; i++) commits.append(large)
    const lsns: Lsn[][] = []
    for (const [i, error] of ['no room', undefined, undefined, 'no room', undefined, undefined].entries()) {
      const put = await disk.nth(i + 1)
      lsns.push(put.commits.map(({ lsn }) => lsn))
      if (i === 3) expect(commits.append(record(7))).toBe(4)
      put.end(error)
    }
    await commits.close()
    expect(lsns).toEqual([[1, 2, 3], [1], [2], [3], [3], [4]])
    expect([...disk.stored.keys()]).toEqual([1, 2, 3, 4])
    expect(disk.events).toEqual(['failed no room', 'durable 1', 'durable 2', 'recovered', 'durable 3', 'durable 4'])
  })
})

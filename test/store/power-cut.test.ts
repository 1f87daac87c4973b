import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { Random } from '../../fuzz/sim/random.ts'
import type { Fault } from './faults/faults.ts'
import { appendMark } from './faults/journal.ts'
import { type Journal, rebuild } from './faults/power-cut.ts'
import { joinJournals } from './joined-journal.ts'
import type { Ledger } from './ledger.ts'
import type { ProcessOptions } from './store-process.ts'
import { replayed, StoreRun } from './store-run.ts'

// What is left is opened after another boot; the processes that are recorded are not this one.
vi.mock('../../src/store/io/owner.ts', async (original) => {
  const owner = await original<typeof import('../../src/store/io/owner.ts')>()
  return { ...owner, thisProcess: () => ({ ...owner.thisProcess(), bootId: 'the next boot' }) }
})

const FULL = Boolean(process.env.FULL)
/** In each of the tests. */
const CUTS = FULL ? 500 : 35
/** How much longer each process lives. */
const SCALE = FULL ? 3 : 1

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
})

interface Recording {
  readonly options: ProcessOptions
  readonly journal: Journal
  /** The first entry of each process, and what the ledger said at its end. */
  readonly processes: readonly { readonly start: number; readonly ledger: Ledger }[]
}

/** What happens in a process once the store is open. With a fault, the store cannot be opened. */
type Life = ((run: StoreRun) => Promise<void>) | Fault

/** Records a store, which each of the processes has open for a while. */
async function record(durability: 'fsync' | 'process', lives: readonly Life[]): Promise<Recording> {
  const options = { durability, maxBytes: 2 * 1024 * 1024, foldBytes: 20_000 }
  const run = new StoreRun(options)
  cleanUp.push(() => run.end())
  const journals: string[] = []
  const ledgers: Ledger[] = []
  for (const life of lives) {
    const { env, journal } = run.control.record()
    journals.push(journal)
    if (typeof life === 'function') {
      await run.start(env)
      // What a new process has found and builds on has to stay.
      appendMark(journal, `${run.ledger.length}`)
      await life(run)
    } else {
      run.control.fail(life)
      await expect(run.start(env)).rejects.toThrow()
      await run.kill()
    }
    run.control.clear()
    ledgers.push(run.ledger.copy())
  }
  const { journal, starts } = joinJournals(journals)
  return { options, journal, processes: ledgers.map((ledger, i) => ({ start: starts[i]!, ledger })) }
}

interface Findings {
  /** Times that the power was cut. */
  readonly cuts: number
  /** Most acknowledged records that were lost at a time. */
  readonly lost: number
  /** Stores that could not be opened, or held what was never appended; with `fsync` also those that have lost something. */
  readonly problems: readonly string[]
}

/** Cuts the power in the middle of a recording, and opens what is left. */
async function cutPower({ options, journal, processes }: Recording): Promise<Findings> {
  const random = new Random(11)
  const scratch = mkdtempSync(join(tmpdir(), 'roost-power-cut-'))
  cleanUp.push(() => rmSync(scratch, { recursive: true }))
  const problems: string[] = []
  let lost = 0
  // A short recording has fewer places than that: a second cut at the same place leaves something else of what was not synced.
  const cuts: number[] = []
  while (cuts.length < CUTS) cuts.push(...journal.cuts(CUTS - cuts.length, random.next))
  cuts.splice(CUTS)
  cuts.sort((a, b) => a - b)
  for (const at of cuts) {
    const dir = join(scratch, 'data')
    const { acknowledged, outcome } = rebuild(journal, at, random.next, dir)
    const { ledger } = processes.findLast(({ start }) => start <= at)!
    const [expected, found] = [Number(acknowledged.at(-1) ?? 0), await replayed(dir, options, ledger)]
    if (typeof found === 'number') lost = Math.max(lost, expected - found)
    if (typeof found === 'number' && (found >= expected || options.durability === 'process')) continue
    problems.push([`cut ${at}: ${found} instead of ${expected}`, ...outcome, ...journal.describe(at)].join('\n'))
  }
  return { cuts: cuts.length, lost, problems: problems.slice(0, 3) }
}

const work = async (run: StoreRun, steps: number, perTurn: number): Promise<void> => {
  const half = (steps * SCALE) / 2
  await run.steps(half, undefined, perTurn)
  await run.whenDurable()
  await run.steps(half, undefined, perTurn)
}

test('a power cut loses nothing that was acknowledged', async () => {
  const recording = await record('fsync', [
    async (run) => {
      await work(run, 600, 1)
      expect(await run.close()).toBeUndefined()
    },
    async (run) => {
      await work(run, 600, 4)
      await run.kill()
    },
    async (run) => {
      for (let i = 0; i < 10 * SCALE; i++) {
        run.control.fail({ operations: 'sync', files: i % 3 === 0 ? '.db' : '-wal', error: 'EIO', mode: 'once', skip: i % 10 })
        await run.steps(40, undefined, 2)
        await run.whenDurable()
      }
      run.control.fail({ operations: 'sync', error: 'EIO', mode: 'once' })
      await run.steps(10)
      await run.process.event('failed')
      await run.kill()
    },
    async (run) => {
      await work(run, 300, 8)
      expect(await run.close()).toBeUndefined()
    },
  ])
  expect(await cutPower(recording)).toEqual({ cuts: CUTS, lost: 0, problems: [] })
}, 200_000)

test('a commit whose sync failed is durable when it is acknowledged after all', async () => {
  const recording = await record('fsync', [
    async (run) => {
      await run.steps(50)
      for (let i = 0; i < 30 * SCALE; i++) {
        run.control.fail({ operations: 'sync', files: '-wal', error: 'EIO', mode: 'once' })
        await run.steps(3, undefined, 1)
        await run.whenDurable()
      }
    },
  ])
  expect(await cutPower(recording)).toEqual({ cuts: CUTS, lost: 0, problems: [] })
}, 200_000)

test('after a failed sync and SIGKILL, the next process does not build on what only seems to be on the disk', async () => {
  const life = async (run: StoreRun): Promise<void> => {
    // So little that the WAL is not copied into the database soon.
    await run.steps(4, undefined, 1)
    await run.whenDurable()
    run.control.fail({ operations: 'sync', files: '-wal', error: 'EIO', mode: 'until-changed' })
    await run.steps(2)
    await run.process.event('failed')
    await run.kill()
  }
  const fault = { operations: 'sync', files: '-wal', error: 'EIO', mode: 'once' } as const
  const recording = await record('fsync', [life, life, fault, life, fault, life, life, fault, life, life])
  expect(await cutPower(recording)).toEqual({ cuts: CUTS, lost: 0, problems: [] })
}, 200_000)

test('with durability process, a power cut loses the newest records at most', async () => {
  const recording = await record('process', [
    async (run) => {
      await work(run, 400, 2)
      expect(await run.close()).toBeUndefined()
    },
    async (run) => {
      await work(run, 400, 2)
      await run.kill()
    },
    (run) => work(run, 100, 4),
  ])
  expect(await cutPower(recording)).toMatchObject({ cuts: CUTS, problems: [] })
}, 200_000)

test('a directory whose first sync failed is synced by the next process', async () => {
  const fault = { operations: 'sync', files: '/', error: 'EIO', mode: 'until-changed' } as const
  const recording = await record('fsync', [fault, (run) => work(run, 20, 1)])
  expect(await cutPower(recording)).toEqual({ cuts: CUTS, lost: 0, problems: [] })
}, 200_000)

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { Random } from '../../fuzz/sim/random.ts'
import { appendMark } from './faults/journal.ts'
import { type Journal, rebuild } from './faults/power-cut.ts'
import { joinJournals } from './joined-journal.ts'
import type { Ledger } from './ledger.ts'
import type { ProcessOptions } from './store-process.ts'
import { replayed, StoreRun } from './store-run.ts'

/** In each of the tests. */
const CUTS = process.env.FULL ? 500 : 35

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

type Life = (run: StoreRun) => Promise<void>

/** Records a store, which each of the processes has open for a while. */
async function record(durability: 'fsync' | 'process', lives: readonly Life[]): Promise<Recording> {
  const options = { durability, maxBytes: 4 * 1024 * 1024, foldBytes: 20_000 }
  const run = new StoreRun(options)
  cleanUp.push(() => run.end())
  const journals: string[] = []
  const ledgers: Ledger[] = []
  for (const live of lives) {
    const { env, journal } = run.control.record()
    journals.push(journal)
    await run.start(env)
    // What a new process has found and builds on has to stay.
    appendMark(journal, `${run.ledger.length}`)
    await live(run)
    run.control.clear()
    ledgers.push(run.ledger.copy())
  }
  const { journal, starts } = joinJournals(journals)
  return { options, journal, processes: ledgers.map((ledger, i) => ({ start: starts[i]!, ledger })) }
}

interface Findings {
  readonly cuts: number
  /** Most records that a cut has lost of those that were not acknowledged, and what is wrong. */
  readonly problems: readonly string[]
}

/** Cuts the power, and opens what is left. */
async function cut({ options, journal, processes }: Recording, count: number): Promise<Findings> {
  const random = new Random(11)
  const scratch = mkdtempSync(join(tmpdir(), 'roost-power-cut-'))
  cleanUp.push(() => rmSync(scratch, { recursive: true }))
  const problems: string[] = []
  const chosen = new Set<number>()
  while (chosen.size < Math.min(count, journal.length)) for (const at of journal.cuts(count, random.next)) chosen.add(at)
  const cuts = [...chosen].slice(0, count).sort((a, b) => a - b)
  for (const at of cuts) {
    const dir = join(scratch, 'data')
    const { acknowledged, outcome } = rebuild(journal, at, random.next, dir)
    const { ledger } = processes.findLast(({ start }) => start <= at)!
    const kept = options.durability === 'fsync' ? Number(acknowledged.at(-1) ?? 0) : 0
    const found = await replayed(dir, options, ledger, kept)
    if (typeof found === 'string') problems.push(`cut ${at}: ${found}\n${outcome.join('; ')}\n${journal.describe(at).join('\n')}`)
  }
  return { cuts: cuts.length, problems }
}

const work = async (run: StoreRun, steps: number, perTurn: number): Promise<void> => {
  await run.steps(steps / 2, undefined, perTurn)
  await run.whenDurable()
  await run.steps(steps / 2, undefined, perTurn)
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
      for (let i = 0; i < 10; i++) {
        run.control.fail({ operations: 'sync', files: i % 3 === 0 ? '.db' : '-wal', error: 'EIO', mode: 'once', skip: i })
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
  const { cuts, problems } = await cut(recording, CUTS)
  expect(problems.slice(0, 3)).toEqual([])
  expect(cuts).toBe(CUTS)
}, 200_000)

test('after a failed sync and SIGKILL, the next process does not build on what only seems to be on the disk', async () => {
  const life: Life = async (run) => {
    await work(run, 60, 2)
    run.control.fail({ operations: 'sync', files: '-wal', error: 'EIO', mode: 'until-changed' })
    await run.steps(10)
    await run.process.event('failed')
    await run.kill()
  }
  const recording = await record('fsync', [life, life, life, life, life, life])
  const { cuts, problems } = await cut(recording, CUTS)
  expect(problems.slice(0, 3)).toEqual([])
  expect(cuts).toBe(CUTS)
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
  const { cuts, problems } = await cut(recording, CUTS)
  expect(problems.slice(0, 3)).toEqual([])
  expect(cuts).toBe(CUTS)
}, 200_000)

import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import type { DiskError, Fault, Operation } from './faults/faults.ts'
import { StoreRun } from './store-run.ts'

const FULL = Boolean(process.env.FULL)
/** Small, so that folds and checkpoints are frequent. */
const OPTIONS = { maxBytes: 4 * 1024 * 1024, foldBytes: 10_000 }

const ERRORS: readonly DiskError[] = ['ENOSPC', 'EDQUOT', 'EIO']
const OPERATIONS: readonly Operation[] = ['write', 'sync', 'truncate', 'create', 'remove']
const FILES = ['roost.db', '-wal', '-shm', '.reserve', '/', ''] as const

interface Case {
  readonly error: DiskError
  readonly operation: Operation
  readonly files: (typeof FILES)[number]
}
const CASES: readonly Case[] = ERRORS.flatMap((error) =>
  OPERATIONS.flatMap((operation) => FILES.map((files) => ({ error, operation, files }))),
)
/** In CI every second case or so of the whole matrix: each error with each operation and each file. */
const some = (cases: readonly Case[], every: number): readonly Case[] => (FULL ? cases : cases.filter((_, i) => i % every === 0))
const titleOf = ({ error, operation, files }: Case): string => `${error} in ${operation} of ${files === '' ? 'any file' : files}`

const fault = ({ error, operation, files }: Case, mode: Fault['mode']): Fault => ({ operations: operation, error, mode, files })

/** Failures and other news, and what ends them. */
const ENDS: Readonly<Record<string, string>> = {
  failed: 'recovered: commits',
  full: 'recovered: there is room on the disk again',
  'fold-failed': 'recovered: the log is folded again',
}

/** Kinds of failures that have not ended. Throws if one begins or ends twice. */
function openFailures(events: readonly string[]): string[] {
  const open = new Set<string>()
  for (const event of events) {
    const [kind = ''] = event.split(':')
    const ended = Object.keys(ENDS).find((each) => ENDS[each] === event)
    if (ended !== undefined && open.delete(ended)) continue
    if (ENDS[kind] === undefined || open.has(kind)) throw new Error(`not in pairs: ${events.join('\n')}`)
    open.add(kind)
  }
  return [...open]
}

const REASONS: Readonly<Record<DiskError, RegExp>> = {
  ENOSPC: /no space left on device|input\/output error|database file cannot be opened/,
  EDQUOT: /disk quota exceeded|input\/output error|database file cannot be opened/,
  EIO: /i\/o error|input\/output error|database file cannot be opened/,
}

const runs: StoreRun[] = []
afterAll(async () => {
  for (const run of runs) await run.end()
})

function newRun(): StoreRun {
  const run = new StoreRun(OPTIONS)
  runs.push(run)
  return run
}

describe('while it runs', () => {
  let run: StoreRun
  let isSound = false
  beforeEach(async () => {
    if (!isSound) {
      run = newRun()
      await run.start()
      await run.steps(50)
      await run.whenDurable()
    }
    isSound = false
  })

  async function recovers(each: Case): Promise<void> {
    run.control.clear()
    await run.steps(20)
    await run.whenDurable()
    await run.process.until(() => openFailures(run.process.events).length === 0)
    for (const event of run.process.events) if (!event.startsWith('recovered')) expect(event).toMatch(REASONS[each.error])
    run.process.events = []
    isSound = true
  }

  /** Appends until the fault has an effect, if it has any. */
  async function meets(each: Case, mode: Fault['mode']): Promise<boolean> {
    const { injected } = run.control
    run.control.fail(fault(each, mode))
    for (let i = 0; i < 4 && run.control.injected === injected; i++) await run.steps(10)
    return run.control.injected > injected
  }

  test.each(some(CASES, 4).map((each) => [titleOf(each), each] as const))('%s, once', async (_, each) => {
    await meets(each, 'once')
    await recovers(each)
  })

  test.each(some(CASES, 5).map((each) => [titleOf(each), each] as const))('%s, for a while', async (_, each) => {
    const { injected } = run.control
    if (await meets(each, 'until-changed')) await run.control.whenInjected(injected + 3)
    await recovers(each)
  })

  test.each(some(CASES, 7).map((each) => [titleOf(each), each] as const))('%s, until SIGKILL', async (_, each) => {
    const { injected } = run.control
    if (await meets(each, 'until-changed')) await run.control.whenInjected(injected + 2)
    await run.kill()
    run.control.clear()
    await run.check()
    await run.start()
    isSound = true
  })
})

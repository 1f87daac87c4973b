import { afterAll, beforeAll, expect, test } from 'vitest'
import { openFailures, REASONS } from './failures.ts'
import type { DiskError, Fault } from './faults/faults.ts'
import { StoreRun } from './store-run.ts'

/** Without FULL, only some of the calls fail. */
const STEP = process.env.FULL ? 1 : 29
const TIMEOUT = process.env.FULL ? 3_600_000 : 60_000

/** Calls that the store makes while it commits, folds and copies its WAL, all of them several times. */
const CALLS = 150

let run: StoreRun
beforeAll(async () => {
  run = new StoreRun({ maxBytes: 4 * 1024 * 1024, foldBytes: 10_000 })
  await run.start()
  await run.close()
})
afterAll(() => run.end())

/**
 * Does something again and again, and lets a later call to the system fail each time, until it ends without a failure. `first` comes before, without
 * faults. What `act` returns is why it failed, if it did. Then the store has to open, and to work.
 */
async function failEachCall(
  error: DiskError,
  first: () => Promise<unknown>,
  act: () => Promise<string | undefined>,
  calls: Pick<Fault, 'operations' | 'files'> = { operations: 'any' },
  step = STEP,
): Promise<void> {
  for (let skip = 0; ; skip += step) {
    run.renew()
    await first()
    const { injected } = run.control
    run.control.fail({ ...calls, error, mode: 'once', skip })
    const reason = await act()
    run.control.clear()
    if (reason !== undefined) expect(reason).toMatch(REASONS[error])
    expect(await run.open()).toBeUndefined()
    await run.steps(3)
    expect(await run.close()).toBeUndefined()
    if (run.control.injected === injected) return
  }
}

async function openAndClose(): Promise<string | undefined> {
  const refused = await run.open()
  if (refused !== undefined) return refused
  await run.steps(3)
  return run.close()
}

const ERRORS: readonly DiskError[] = ['EIO', 'ENOSPC']

const nothing = async (): Promise<void> => {}

test.each(ERRORS)('%s in a first start', (error) => failEachCall(error, nothing, openAndClose), TIMEOUT)

test(
  'EIO in each write of a new database',
  () => failEachCall('EIO', nothing, openAndClose, { operations: 'write', files: '.db.new' }, 1),
  TIMEOUT,
)

test.each(ERRORS)(
  '%s in a start after an end that failed',
  (error) => {
    const endBadly = async (): Promise<void> => {
      await run.open()
      await run.steps(20)
      await run.whenDurable()
      await run.steps(3)
      run.control.fail({ operations: 'any', error: 'EIO', mode: 'until-changed' })
      await run.close()
      run.control.clear()
    }
    return failEachCall(error, endBadly, openAndClose)
  },
  TIMEOUT,
)

test.each(ERRORS)(
  '%s in an end',
  (error) => {
    const work = async (): Promise<void> => {
      await run.open()
      await run.steps(20)
    }
    return failEachCall(error, work, () => run.close())
  },
  TIMEOUT,
)

test.each(ERRORS)(
  '%s while it runs',
  async (error) => {
    run.renew()
    await run.open()
    await run.steps(20)
    for (let skip = 0; skip < CALLS; skip += STEP) {
      await run.whenDurable()
      run.control.fail({ operations: 'any', error, mode: 'once', skip })
      for (let i = 0; i < 10 && run.control.isFailing; i++) await run.steps(10)
      await run.whenDurable()
      await run.process.until(() => openFailures(run.process.events).length === 0)
      // A slow machine may not have made so many calls: what is still to fail must not fail the next start.
      run.control.clear()
    }
    await run.close()
    expect(await run.open()).toBeUndefined()
    expect(await run.close()).toBeUndefined()
  },
  TIMEOUT,
)

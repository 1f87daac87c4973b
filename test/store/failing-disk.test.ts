import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { openFailures, REASONS } from './failures.ts'
import type { DiskError, Fault, FaultControl, Operation } from './faults/faults.ts'
import { StoreRun } from './store-run.ts'

const FULL = Boolean(process.env.FULL)
/** Small, so that folds and checkpoints are frequent. */
const OPTIONS = { maxBytes: 4 * 1024 * 1024, foldBytes: 10_000 }
/** With a reserve of 1 MiB. */
const LARGER = { maxBytes: 16 * 1024 * 1024, foldBytes: 10_000 }

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
/** Without FULL, those that matter most and some of the others: numbers that share no divisor with 5 and 6 choose all operations and files. */
function some(every: number): readonly Case[] {
  const isMain = ({ error, operation, files }: Case): boolean =>
    error === 'EIO' && (operation === 'write' || operation === 'sync') && (files === 'roost.db' || files === '-wal')
  return FULL ? CASES : CASES.filter((each, i) => i % every === 3 || isMain(each))
}
const titleOf = ({ error, operation, files }: Case): string => `${error} in ${operation} of ${files === '' ? 'any file' : files}`

const fault = ({ error, operation, files }: Case, mode: Fault['mode']): Fault => ({ operations: operation, error, mode, files })

const runs: StoreRun[] = []
afterAll(async () => {
  for (const run of runs) await run.end()
})

function newRun(options = OPTIONS): StoreRun {
  const run = new StoreRun(options)
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

  test.each(some(11).map((each) => [titleOf(each), each] as const))('%s, once', async (_, each) => {
    await meets(each, 'once')
    await recovers(each)
  })

  test.each(some(17).map((each) => [titleOf(each), each] as const))('%s, for a while', async (_, each) => {
    const { injected } = run.control
    if (await meets(each, 'until-changed')) await run.control.whenInjected(injected + 3)
    await recovers(each)
  })

  test('a database that cannot be written is reported once, until it can', async () => {
    const { injected } = run.control
    run.control.fail({ operations: 'write', files: 'roost.db', error: 'EIO', mode: 'until-changed' })
    for (let i = 0; i < 4; i++) {
      while (run.control.injected <= injected + i) await run.steps(1)
      await run.whenDurable()
    }
    expect(run.process.events).toEqual(['fold-failed: input/output error (SQLITE_IOERR_WRITE)'])
    run.control.clear()
    await run.process.event('recovered: the log is folded again')
    run.process.events = []
    isSound = true
  })

  test.each(some(23).map((each) => [titleOf(each), each] as const))('%s, until SIGKILL', async (_, each) => {
    const { injected } = run.control
    if (await meets(each, 'until-changed')) await run.control.whenInjected(injected + 2)
    await run.kill()
    run.control.clear()
    await run.check()
    await run.start()
    isSound = true
  })
})

describe('when it opens and closes', () => {
  let run: StoreRun
  let isSound = false
  beforeEach(async () => {
    if (!isSound) {
      run = newRun()
      await run.start()
      await run.close()
    }
    isSound = false
    run.renew()
  })

  const matches = (reason: string | undefined, { error }: Case): void => {
    if (reason === undefined) return
    expect(reason).toMatch(REASONS[error])
    expect(reason).not.toContain('\n')
  }

  /** Opens the store on a failing disk, and then on one that works. */
  async function opens(each: Case, mode: Fault['mode']): Promise<void> {
    run.control.fail(fault(each, mode))
    const refused = await run.open()
    matches(refused, each)
    if (refused === undefined) {
      await run.steps(5)
      matches(await run.close(), each)
    }
    run.control.clear()
    expect(await run.open()).toBeUndefined()
    await run.steps(5)
    expect(await run.close()).toBeUndefined()
    expect(await run.open()).toBeUndefined()
    expect(await run.close()).toBeUndefined()
    isSound = true
  }

  /** Without FULL, each case with one of the modes. */
  const cases = (every: number): readonly (readonly [string, Fault['mode'], Case])[] =>
    some(every).flatMap((each, i) =>
      (['once', 'until-changed'] as const)
        .filter((_, mode) => FULL || mode === i % 2)
        .map((mode) => [titleOf(each), mode, each] as const),
    )

  test.each(cases(17))('%s, %s, at the first start', async (_, mode, each) => {
    await opens(each, mode)
  })

  test.each(cases(19))('%s, %s, after a clean end', async (_, mode, each) => {
    await run.open()
    await run.steps(20)
    await run.close()
    await opens(each, mode)
  })

  test.each(cases(23))('%s, %s, at the end, and then at the start', async (_, mode, each) => {
    await run.open()
    await run.steps(20)
    run.control.fail(fault(each, mode))
    matches(await run.close(), each)
    await opens(each, mode)
  })
})

const TEXTS = { ENOSPC: 'no space left on device', EDQUOT: 'disk quota exceeded' } as const

describe('a full disk', () => {
  const FULL_DISKS = (['ENOSPC', 'EDQUOT'] as const)
    .flatMap((error) => [0, 6000, 100_000].flatMap((room) => [false, true].map((partial) => ({ error, room, partial }))))
    .filter((_, i) => FULL || [0, 5, 8].includes(i))

  /** Appends until something is refused; not much at a time, because what is on its way then has to fit into the reserve. */
  async function fill(run: StoreRun): Promise<void> {
    let refused = 0
    for (let i = 0; i < 200 && refused === 0; i++) {
      refused += await run.steps(10, 'grows')
      await run.whenDurable()
    }
    expect(refused).toBeGreaterThan(0)
  }

  /** Resolves when the store holds room in reserve again. */
  async function whenReserved(run: StoreRun): Promise<void> {
    const path = join(run.dir, 'roost.reserve')
    while (statSync(path, { throwIfNoEntry: false })?.size !== LARGER.maxBytes / 16) await sleep(5)
  }

  test.each(FULL_DISKS)('$error, $room bytes left, partial writes: $partial', async (disk) => {
    const run = newRun(LARGER)
    await run.start()
    await run.steps(200)
    await run.whenDurable()
    run.control.fillDisk(disk)
    await fill(run)
    expect(await run.process.event('full: ')).toContain(TEXTS[disk.error])
    // What ends something is taken in, and becomes durable.
    for (let i = 0; i < 20; i++) {
      expect(await run.steps(20, 'shrinks')).toBe(0)
      await run.whenDurable()
    }
    run.control.clear()
    await whenReserved(run)
    await run.process.until(() => openFailures(run.process.events).length === 0)
    // Commits and folds had the room that they needed.
    expect(run.process.events.filter((event) => !event.startsWith('full: ') && !event.startsWith('recovered: '))).toEqual([])
    // The news may come before the store has taken notice of it.
    while ((await run.steps(1, 'grows')) > 0) await sleep(5)
    expect(await run.steps(20, 'grows')).toBe(0)
    await run.whenDurable()
    await run.kill()
    await run.check()
  })

  test.each(FULL_DISKS)(
    '$error, $room bytes left, partial writes: $partial: ends, and starts when there is room',
    async (disk) => {
      const run = newRun(LARGER)
      await run.start()
      await run.steps(200)
      await run.whenDurable()
      run.control.fillDisk(disk)
      await fill(run)
      await run.whenDurable()
      expect(await run.steps(20, 'shrinks')).toBe(0)
      expect(await run.close()).toBeUndefined()
      const refused = await run.open()
      if (refused === undefined) {
        expect(await run.steps(20, 'shrinks')).toBe(0)
        await run.whenDurable()
        expect(await run.close()).toBeUndefined()
      } else expect(refused).toContain(TEXTS[disk.error])
      run.control.clear()
      expect(await run.open()).toBeUndefined()
      expect(await run.steps(20, 'grows')).toBe(0)
      await run.whenDurable()
    },
  )
})

describe('a sync that failed', () => {
  test('and then SIGKILL: the commit is found once, and not taken back', async () => {
    const run = newRun()
    await run.start()
    await run.steps(50)
    await run.whenDurable()
    run.control.fail({ operations: 'sync', files: '-wal', error: 'EIO', mode: 'until-changed' })
    await run.steps(1)
    await run.process.event('failed: ')
    await run.kill()
    run.control.clear()
    const { acknowledged, length } = run.ledger
    expect(acknowledged).toBeLessThan(length)
    await run.start()
    expect(run.ledger.length).toBe(length)
    expect(await run.close()).toBeUndefined()
    await run.check()
    expect(run.ledger.length).toBe(length)
  })

  test('a commit that was found after that is folded once, although it is still to be committed', async () => {
    const run = newRun()
    await run.start()
    await run.steps(50)
    await run.whenDurable()
    for (let i = 0; i < 5; i++) {
      run.control.fail({ operations: 'sync', files: '-wal', error: 'EIO', mode: 'until-changed' })
      await run.steps(20)
      await run.control.whenInjected(run.control.injected + 2)
      run.control.clear()
      await run.whenDurable()
    }
    expect(await run.close()).toBeUndefined()
    await run.check()
  })
})

describe('roost serve', () => {
  const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

  const REFUSALS: readonly [string, (control: FaultControl) => void, string][] = [
    ['EIO', (control) => control.fail({ operations: 'any', error: 'EIO', mode: 'until-changed' }), 'i/o error (EIO)'],
    ['ENOSPC', (control) => control.fillDisk({ room: 0 }), 'no space left on device (SQLITE_FULL)'],
    ['EDQUOT', (control) => control.fillDisk({ room: 0, error: 'EDQUOT' }), 'disk quota exceeded (EDQUOT)'],
  ]

  test.each(REFUSALS)('says in one line why it cannot start, and ends with 2: %s', (_, prepare, reason) => {
    const run = newRun()
    prepare(run.control)
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      [MAIN, 'serve', '--data-dir', run.dir, '--port', '0', '--sn-port', '0'],
      { env: { ...process.env, ...run.control.env }, encoding: 'utf8' },
    )
    expect({ stdout, stderr, status }).toEqual({
      stdout: '',
      stderr: `store ${run.dir}: ${reason} (--data-dir)\n`,
      status: 2,
    })
  })
})

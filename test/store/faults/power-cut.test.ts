import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { Random } from '../../../fuzz/sim/random.ts'
import { DiskFile, SECTOR } from './disk-file.ts'
import { FaultControl } from './faults.ts'
import { appendMark } from './journal.ts'
import { type Journal, readJournal, rebuild } from './power-cut.ts'

const LEDGER = fileURLToPath(new URL('./ledger.mjs', import.meta.url))
const CUTS = 40

const cleanUp: (() => void)[] = []
afterEach(() => {
  for (const step of cleanUp.splice(0).reverse()) step()
})

function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), 'roost-power-cut-'))
  cleanUp.push(() => rmSync(dir, { recursive: true }))
  return dir
}

interface Run {
  readonly dir: string
  /** Path of the journal. */
  readonly path: string
  readonly journal: Journal
}

function run(program: string, prepare?: (control: FaultControl) => void): Run {
  const dir = scratch()
  const control = new FaultControl(dir)
  cleanUp.push(() => control.close())
  prepare?.(control)
  const { env, journal } = control.record()
  execFileSync(process.execPath, [LEDGER, dir, program], { env: { ...process.env, ...env } })
  return { dir, path: journal, journal: readJournal(journal) }
}

function entriesIn(dir: string): string[] {
  const path = join(dir, 'log')
  if (!existsSync(path)) return []
  return Array.from(readFileSync(path, 'latin1').matchAll(/<(\d+) x{700} \1>/g), ([, id]) => id!)
}

/** Acknowledged entries that a power cut loses, with what happened. */
function losses(journal: Journal): string[] {
  const random = new Random(7)
  const target = join(scratch(), 'target')
  return journal.cuts(CUTS, random.next).flatMap((cut) => {
    const { acknowledged, outcome } = rebuild(journal, cut, random.next, target)
    const survived = new Set(entriesIn(target))
    const lost = acknowledged.filter((id) => !survived.has(id))
    return lost.length === 0 ? [] : [`cut ${cut} loses ${lost}: ${outcome.join('; ')}\n${journal.describe(cut).join('\n')}`]
  })
}

describe('programs that acknowledge', () => {
  test.each(['log', 'replace'])('%s: loses nothing', (program) => {
    const { journal } = run(program)
    expect(journal.acknowledgedBefore(journal.length)).toHaveLength(12)
    expect(losses(journal)).toEqual([])
  })

  test.each(['log-acknowledged-early', 'log-never-synced', 'replace-file-not-synced', 'replace-directory-not-synced'])(
    '%s: loses',
    (program) => {
      expect(losses(run(program).journal)).not.toEqual([])
    },
  )

  test('log-failed-sync-repeated: loses what the failed sync was to write', () => {
    expect(losses(run('log-failed-sync-repeated').journal)).toEqual([])
    const failing = run('log-failed-sync-repeated', (control) =>
      control.fail({ operations: 'sync', error: 'EIO', mode: 'once', skip: 6 }),
    )
    expect(losses(failing.journal)).not.toEqual([])
  })

  test('the last state of the journal is the directory', () => {
    const { journal, dir } = run('replace')
    const names = readdirSync(dir).filter((name) => name !== 'acks')
    const files = new Map(names.map((name) => [name, readFileSync(join(dir, name))]))
    expect(journal.diskAt(journal.length).current).toEqual(files)
  })

  test('the same random numbers give the same state, whatever was rebuilt before', () => {
    const { journal } = run('log-never-synced')
    const target = join(scratch(), 'target')
    const at = (cut: number): [unknown, Buffer | undefined] => {
      const rebuilt = rebuild(journal, cut, new Random(cut).next, target)
      return [rebuilt, existsSync(join(target, 'log')) ? readFileSync(join(target, 'log')) : undefined]
    }
    const half = Math.floor(journal.length / 2)
    const first = at(half)
    at(journal.length)
    expect(at(half)).toEqual(first)
  })

  test('marks can come from outside', () => {
    const { path } = run('log')
    appendMark(path, 'PUBACK 1')
    const journal = readJournal(path)
    expect(journal.acknowledgedBefore(journal.length).at(-1)).toBe('PUBACK 1')
  })
})

describe('a file', () => {
  const sectors = (letters: string): Buffer => Buffer.concat(Array.from(letters, (letter) => Buffer.alloc(SECTOR, letter)))
  const lettersOf = (content: Buffer): string =>
    Array.from({ length: content.length / SECTOR }, (_, i) => String.fromCharCode(content[i * SECTOR]! || 46)).join('')

  /** All states in which power cuts leave a file of whole sectors; zeros are dots. */
  function statesOf(file: DiskFile): Set<string> {
    const random = new Random(1)
    return new Set(Array.from({ length: 1000 }, () => lettersOf(file.afterPowerCut(random.next).content)))
  }

  test('synced data stays', () => {
    const file = new DiskFile()
    file.write(0, 0, sectors('ab'))
    file.truncate(1, SECTOR)
    file.synced(2)
    expect(statesOf(file)).toEqual(new Set(['a']))
  })

  test('each sector of an unsynced write is kept or lost', () => {
    const file = new DiskFile(sectors('ab'))
    file.write(0, 0, sectors('AB'))
    expect(statesOf(file)).toEqual(new Set(['ab', 'Ab', 'aB', 'AB']))
  })

  test('a later write can reach the disk before an earlier one', () => {
    const file = new DiskFile(sectors('ab'))
    file.write(0, 0, sectors('A'))
    file.write(1, SECTOR, sectors('B'))
    file.write(2, SECTOR, sectors('C'))
    expect(statesOf(file)).toEqual(new Set(['ab', 'Ab', 'aB', 'AB', 'aC', 'AC']))
  })

  test('a sector has all earlier writes to it', () => {
    const file = new DiskFile(Buffer.alloc(SECTOR))
    file.write(0, 0, Buffer.from('first'))
    file.write(1, 100, Buffer.from('second'))
    const random = new Random(1)
    for (let i = 0; i < 200; i++) {
      const text = file.afterPowerCut(random.next).content.toString('latin1')
      if (text.includes('second')) expect(text).toContain('first')
    }
  })

  test('a file that grows has zeros where data is missing, and data is lost where it has not grown', () => {
    const file = new DiskFile(sectors('a'))
    file.write(0, SECTOR, sectors('BC'))
    expect(statesOf(file)).toEqual(new Set(['a', 'a.', 'aB', 'a..', 'aB.', 'a.C', 'aBC']))
  })

  test('after a truncation, old data does not come back with the new size', () => {
    const file = new DiskFile(sectors('abc'))
    file.truncate(0, SECTOR)
    file.write(1, SECTOR, sectors('B'))
    // Without the truncation, the write is not in the file either: its blocks were new ones.
    expect(statesOf(file)).toEqual(new Set(['abc', 'a', 'a.', 'aB']))
  })

  test('a write is not covered by a sync that began before it', () => {
    const file = new DiskFile(sectors('a'))
    file.write(5, 0, sectors('A'))
    file.synced(4)
    expect(statesOf(file)).toEqual(new Set(['a', 'A']))
  })

  test('after a failed sync, only what is written again becomes durable', () => {
    const file = new DiskFile(sectors('ab'))
    file.write(0, 0, sectors('AB'))
    file.syncFailed(1)
    file.synced(2)
    expect(statesOf(file)).toEqual(new Set(['ab', 'Ab', 'aB', 'AB']))
    file.write(3, 0, sectors('X'))
    file.synced(4)
    expect(statesOf(file)).toEqual(new Set(['Xb', 'XB']))
    expect(lettersOf(file.current)).toBe('XB')
  })
})

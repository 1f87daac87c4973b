import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { run } from '../../src/cli/cli.ts'
import { Database } from '../../src/store/io/database.ts'
import { DATABASE_FILE } from '../../src/store/io/schema.ts'
import { StubHost } from './stub-host.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'roost-backup-'))
  Database.create(join(root, DATABASE_FILE), 'roost 0.9.0')
})
afterEach(() => rmSync(root, { recursive: true }))

const ran = async (...argv: string[]) => {
  const host = new StubHost()
  const code = await run(argv, host)
  return { code, out: host.out, err: host.err }
}

test('roost backup and roost restore say how much they have copied', async () => {
  const [first, second] = [`${root}-1`, `${root}-2`]
  try {
    const { code, out, err } = await ran('backup', first, '--data-dir', root)
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(new RegExp(`^backed up ${root} to ${first}: 0 rows and 0 commits, \\d+ KiB\\n$`))
    const restored = await ran('restore', first, '--data-dir', second)
    expect(restored).toMatchObject({ code: 0, err: '' })
    expect(restored.out).toMatch(new RegExp(`^restored ${first} to ${second}: `))
    const line = `${second}: roost.db is in it already; choose an empty directory\n`
    expect(await ran('restore', first, '--data-dir', second)).toEqual({ code: 2, out: '', err: line })
  } finally {
    for (const dir of [first, second]) rmSync(dir, { recursive: true, force: true })
  }
})

test.each(['backup', 'restore'])('roost %s without a store, or without an argument', async (command) => {
  const missing = join(root, 'none')
  const argv = command === 'backup' ? [`${root}-new`, '--data-dir', missing] : [missing, '--data-dir', `${root}-new`]
  expect(await ran(command, ...argv)).toEqual({ code: 2, out: '', err: `${missing}: no such directory\n` })
  const { code, err } = await ran(command)
  expect({ code, lines: err.split('\n').length }).toEqual({ code: 2, lines: 2 })
})

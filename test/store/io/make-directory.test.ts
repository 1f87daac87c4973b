import { existsSync } from 'node:fs'
import { mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeDirectory } from '../../../src/store/io/make-directory.ts'

let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'roost-make-'))
})
afterEach(() => rm(dir, { recursive: true }))

describe('makeDirectory', () => {
  it('makes what is missing, for its owner only, and returns the topmost', async () => {
    expect(makeDirectory(join(dir, 'a', 'b', 'c'))).toBe(join(dir, 'a'))
    expect((await stat(join(dir, 'a', 'b', 'c'))).mode & 0o777).toBe(0o700)
    expect(makeDirectory(join(dir, 'a', 'b'))).toBeUndefined()
  })

  it('throws at a file, and at a link that leads nowhere', async () => {
    await writeFile(join(dir, 'file'), '')
    await symlink(join(dir, 'nowhere', 'x'), join(dir, 'link'))
    expect(() => makeDirectory(join(dir, 'file'))).toThrow(/ENOTDIR.*file/)
    expect(() => makeDirectory(join(dir, 'file', 'x'))).toThrow(/ENOTDIR.*file/)
    expect(() => makeDirectory(join(dir, 'link'))).toThrow(/EEXIST.*link/)
  })

  it.runIf(existsSync('/proc/self'))('throws where the system lets nobody make one, instead of trying for ever', () => {
    expect(() => makeDirectory('/proc/roost/data')).toThrow(/ENOENT.*\/proc\/roost/)
  })
})

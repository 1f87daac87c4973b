import { existsSync } from 'node:fs'
import { mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeDirectory } from '../../../src/base/io/make-directory.ts'

let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'roost-make-'))
})
afterEach(() => rm(dir, { recursive: true }))

describe('makeDirectory', () => {
  it('makes what is missing, for its owner only, and tells the topmost', async () => {
    expect(await makeDirectory(join(dir, 'a', 'b', 'c'))).toBe(join(dir, 'a'))
    expect((await stat(join(dir, 'a', 'b', 'c'))).mode & 0o777).toBe(0o700)
    expect(await makeDirectory(join(dir, 'a', 'b'))).toBeUndefined()
  })

  it('two that make the same at once both have it', async () => {
    await Promise.all([makeDirectory(join(dir, 'a', 'b')), makeDirectory(join(dir, 'a', 'b'))])
    expect(existsSync(join(dir, 'a', 'b'))).toBe(true)
  })

  it('rejects at a file, and at a link that leads nowhere', async () => {
    await writeFile(join(dir, 'file'), '')
    await symlink(join(dir, 'nowhere', 'x'), join(dir, 'link'))
    await expect(makeDirectory(join(dir, 'file'))).rejects.toThrow(/ENOTDIR.*file/)
    await expect(makeDirectory(join(dir, 'file', 'x'))).rejects.toThrow(/ENOTDIR.*file/)
    await expect(makeDirectory(join(dir, 'link'))).rejects.toThrow(/EEXIST.*link/)
  })

  it.runIf(existsSync('/proc/self'))('rejects where the system lets nobody make one, instead of trying for ever', async () => {
    await expect(makeDirectory('/proc/roost/data')).rejects.toThrow(/ENOENT.*\/proc\/roost/)
  })
})

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DirectoryLock } from '../../../src/base/io/directory-lock.ts'

let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'roost-lock-'))
})

afterEach(() => rm(dir, { recursive: true }))

const held = (): string => `cannot lock ${dir}: another process uses it`

describe('DirectoryLock', () => {
  it('is for one at a time, and free again after release', async () => {
    const first = await DirectoryLock.acquire(dir)
    await expect(DirectoryLock.acquire(dir)).rejects.toThrow(held())
    await first.release()
    expect(await readdir(dir)).toEqual([])
    await (await DirectoryLock.acquire(dir)).release()
  })

  it('is never held by two that try at once', async () => {
    for (let round = 0; round < 20; round++) {
      const results = await Promise.allSettled([1, 2, 3].map(() => DirectoryLock.acquire(dir)))
      const holders = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
      expect(holders.length).toBeLessThanOrEqual(1)
      for (const lock of holders) await lock.release()
    }
    expect(await readdir(dir)).toEqual([])
  })

  it('is released by kill -9 of its holder, and not by SIGSTOP', async () => {
    const script = `require('net').createServer().listen('lock-0123456789abcdef.sock', () => console.log('ready'))`
    const child = spawn(process.execPath, ['-e', script], { cwd: dir, stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    await expect(DirectoryLock.acquire(dir)).rejects.toThrow(held())
    child.kill('SIGSTOP')
    await expect(DirectoryLock.acquire(dir)).rejects.toThrow(held())
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(await readdir(dir)).toEqual(['lock-0123456789abcdef.sock'])
    const lock = await DirectoryLock.acquire(dir)
    expect((await readdir(dir)).length).toBe(1)
    await lock.release()
    expect(await readdir(dir)).toEqual([])
  })

  it('leaves files alone that are not its own', async () => {
    await writeFile(join(dir, 'data.mdb'), '')
    const server = createServer().listen(join(dir, 'other.sock'))
    await once(server, 'listening')
    await (await DirectoryLock.acquire(dir)).release()
    expect((await readdir(dir)).sort()).toEqual(['data.mdb', 'other.sock'])
    await new Promise((resolve) => server.close(resolve))
  })

  it.runIf(process.platform === 'linux')('works in a directory whose path is longer than a socket may have', async () => {
    const outer = dir
    dir = join(dir, 'd'.repeat(120))
    await mkdir(dir)
    const first = await DirectoryLock.acquire(dir)
    await expect(DirectoryLock.acquire(dir)).rejects.toThrow(held())
    await first.release()
    expect(await readdir(dir)).toEqual([])
    dir = outer
  })

  it('names a directory that is not there', async () => {
    await expect(DirectoryLock.acquire(join(dir, 'none'))).rejects.toThrow(join(dir, 'none'))
  })
})

import { closeSync, openSync, readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { openFilesCount } from '../../src/process/open-files.ts'

test.runIf(process.platform === 'linux')('open files are counted as the system lists them', () => {
  expect(openFilesCount()).toBe(readdirSync('/proc/self/fd').length - 1)
  const before = openFilesCount()
  const file = openSync('/dev/null', 'r')
  expect(openFilesCount()).toBe(before + 1)
  closeSync(file)
})

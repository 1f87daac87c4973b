import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { given } from '../../src/config/config.ts'
import { loadConfig } from '../../src/config/io/config-file.ts'
import { options } from '../../src/config/options.ts'
import { PAGES, textBlocks } from './blocks.ts'

const dir = mkdtempSync(join(tmpdir(), 'roost-docs-'))
afterAll(() => rmSync(dir, { recursive: true }))

const blocks = PAGES.flatMap(textBlocks)
const named = (name: string) => blocks.filter(({ text }) => text.startsWith(`# ${name}\n`))

// Files that the configurations name and that are read with them.
beforeAll(() => {
  writeFileSync(join(dir, 'topics.yaml'), blocks.find(({ text }) => text.startsWith('clients:\n'))!.text)
  mkdirSync(join(dir, 'tls'))
  for (const name of ['passwords', 'console-passwords', 'head-office.password', 'acl', 'tls/chain.pem', 'tls/key.pem'])
    writeFileSync(join(dir, name), 'alice')
  writeFileSync(join(dir, 'temperature.json'), '{}')
  writeFileSync(join(dir, 'sensors.yaml'), named('sensors.yaml')[0]!.text)
})

test.each([...named('roost.yaml'), ...named('/etc/roost/roost.yaml')])('$place is a configuration', ({ text }) => {
  const path = join(dir, 'roost.yaml')
  // Commands may follow behind a blank line.
  writeFileSync(path, text.split(/\n\n(?=\w+ )/)[0]!.replaceAll('/etc/roost/', ''))
  const config = options.find(({ key }) => key === 'config')!
  const warnings: string[] = []
  loadConfig(new Map([['config', given(config, path, '--config')]]), dir, (line) => warnings.push(line))
  expect(warnings).toEqual([])
})

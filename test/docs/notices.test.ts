import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { noticesPage } from '../../docs/notices.ts'
import { NOTICES, type NoticeCode } from '../../src/base/notice.ts'

test('docs/notices.md is what the table of notices says; `npm run docs` writes it', async () => {
  await expect(noticesPage()).toMatchFileSnapshot('../../docs/notices.md')
})

test.each(Object.keys(NOTICES) as NoticeCode[])('%s says what happened and what to do, in sentences', (code) => {
  const { levels, fields, about, action } = NOTICES[code]
  expect(levels.length * fields.length).toBeGreaterThan(0)
  for (const text of [about, action]) expect(text).toMatch(/^[A-Z][^\n|]*\.$/)
})

test('a notice in the source has a level and fields that its table row names, and no row is without one', () => {
  const root = new URL('../../src/', import.meta.url)
  const sources = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && name !== 'base/notice.ts')
    .map((name) => readFileSync(new URL(name, root), 'utf8'))
  const used = new Set<string>()
  const missing = new Set<string>()
  for (const text of sources) {
    for (const [, code] of text.matchAll(/'([a-z-]+)'/g)) if (code! in NOTICES) used.add(code!)
    for (const [, code, level, rest] of text.matchAll(/code: '([a-z-]+)',\s+level: '([a-z]+)',?([^{}]*)\}/g)) {
      const { levels, fields } = NOTICES[code as NoticeCode]
      const fieldsHere = Array.from(rest!.matchAll(/(?:^|,)\s*(client|user|peer|reason|count|limit)\b/g), ([, field]) => field!)
      for (const name of [level!, ...fieldsHere])
        if (![...levels, ...fields].some((known) => known === name)) missing.add(`${code}: ${name}`)
    }
  }
  expect([...missing]).toEqual([])
  expect(Object.keys(NOTICES).filter((code) => !used.has(code))).toEqual([])
})

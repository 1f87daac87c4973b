import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const page = readFileSync(join(ROOT, 'docs/specification-interpretation.md'), 'utf8')
const RULINGS = Array.from({ length: 32 }, (_, i) => `A${i + 1}`)

/** Titles of all tests of the gateway, `describe` included. */
function titles(): string[] {
  const files = readdirSync(join(ROOT, 'test/gateway'), { recursive: true, encoding: 'utf8' })
  return files
    .filter((name) => name.endsWith('.test.ts'))
    .flatMap((name) => {
      const text = readFileSync(join(ROOT, 'test/gateway', name), 'utf8')
      return Array.from(text.matchAll(/\b(?:test|describe)(?:\.each\([\s\S]*?\))?\(\s*(['`])(.*?)\1/g), ([, , title]) => title!)
    })
}

/** Numbers behind a word: `rulings A1, A9` has two. */
const numbered = (word: string, letter: string): Set<string> => {
  const lists = titles().flatMap((title) =>
    Array.from(title.matchAll(new RegExp(`\\b${word}s? ((?:${letter}\\d+(?:, )?)+):`, 'g')), ([, list]) => list!),
  )
  return new Set(lists.flatMap((list) => list.split(', ')))
}

test('every ruling from A1 to A32 is in the title of a test', () => {
  const named = numbered('ruling', 'A')
  expect(RULINGS.filter((ruling) => !named.has(ruling))).toEqual([])
})

test('every complaint from 1 to 30 is in the title of a test', () => {
  const named = numbered('complaint', '')
  expect(Array.from({ length: 30 }, (_, i) => `${i + 1}`).filter((number) => !named.has(number))).toEqual([])
})

test('every ruling has a chapter in the document, which names a source and a test that exist', () => {
  const chapters = new Map(Array.from(page.matchAll(/^## (A\d+): ([\s\S]*?)(?=^## )/gm), ([, ruling, text]) => [ruling!, text!]))
  expect([...chapters.keys()]).toEqual(RULINGS)
  for (const [ruling, text] of chapters) {
    const paths = Array.from(text.matchAll(/`((?:src|test)\/[^`]+)`/g), ([, path]) => path!)
    expect([ruling, [...new Set(paths.map((path) => path.split('/')[0]))]]).toEqual([ruling, ['src', 'test']])
    expect([ruling, paths.filter((path) => !existsSync(join(ROOT, path)))]).toEqual([ruling, []])
  }
})

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const DOCUMENTS = [
  ...['ARCHITECTURE.md', 'CONTRIBUTING.md', 'README.md', 'SECURITY.md', 'fuzz/README.md'],
  ...readdirSync(`${ROOT}docs`)
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]
/** A file of the sources or the tests, as documents name it from the root. */
const PATH = /\b(?:src|test|fuzz|crash|bench)\/[\w./-]+\.(?:ts|mjs|yaml|json)\b/g

test.each(DOCUMENTS)('%s names files that exist', (document) => {
  const paths = readFileSync(`${ROOT}${document}`, 'utf8').match(PATH) ?? []
  expect(paths.filter((path) => !existsSync(`${ROOT}${path}`))).toEqual([])
})

test('paths are recognised', () => {
  expect('see `src/a/b.ts`, test/c.test.ts and docs/d.md'.match(PATH)).toEqual(['src/a/b.ts', 'test/c.test.ts'])
})

test('docs/README.md leads to every page', () => {
  const index = readFileSync(`${ROOT}docs/README.md`, 'utf8')
  const pages = DOCUMENTS.filter((name) => name.startsWith('docs/') && name !== 'docs/README.md').map((name) => name.slice(5))
  expect(pages.filter((page) => !index.includes(`](${page})`))).toEqual([])
})

test.each(DOCUMENTS)('%s links to files and headings that exist', (document) => {
  const folder = dirname(`${ROOT}${document}`)
  const links = Array.from(readFileSync(`${ROOT}${document}`, 'utf8').matchAll(/\]\(([^)\s]+)\)/g), ([, link]) => link!)
  const broken = links.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false
    const [file, anchor] = link.split('#') as [string, string?]
    const path = file === '' ? `${ROOT}${document}` : join(folder, file)
    return !existsSync(path) || (anchor !== undefined && !headings(path).includes(anchor))
  })
  expect(broken).toEqual([])
})

/** Anchors of the headings of a page, as GitHub makes them. */
const headings = (path: string): string[] =>
  Array.from(readFileSync(path, 'utf8').matchAll(/^#+ (.+)$/gm), ([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{Letter}\p{Number} _-]/gu, '')
      .replaceAll(' ', '-'),
  )

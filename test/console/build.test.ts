import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const BUILT = fileURLToPath(new URL('../../dist/console/', import.meta.url))
const SOURCES = fileURLToPath(new URL('../../console/', import.meta.url))

const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(join(folder, name)).isFile())
const sources = filesIn(SOURCES).filter((name) => /\.(tsx?|mjs|html|css)$/.test(name))
const read = (name: string): string => readFileSync(join(SOURCES, name), 'utf8')

test('the page weighs at most 150 kB, compressed', () => {
  const weight = filesIn(BUILT)
    .filter((name) => /\.(html|js|css|svg)\.gz$/.test(name))
    .reduce((sum, name) => sum + statSync(join(BUILT, name)).size, 0)
  expect(weight).toBeGreaterThan(10_000)
  expect(weight).toBeLessThan(150_000)
})

test('the page has no inline script or style, and names no other machine', () => {
  const page = readFileSync(join(BUILT, 'index.html'), 'utf8')
  expect(page).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?:\/\//)
  for (const name of filesIn(BUILT).filter((each) => /\.css$/.test(each)))
    expect(readFileSync(join(BUILT, name), 'utf8')).not.toMatch(/url\(['"]?(https?:)?\/\//)
})

test('what is shown is text: the sources have no way to make it anything else', () => {
  const found = sources.filter((name) =>
    /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/.test(read(name)),
  )
  expect(found).toEqual([])
})

/** What each folder may import, besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  parts: ['lib'],
  pages: ['lib', 'parts'],
  shell: ['lib', 'parts', 'pages'],
}
/** Other than the table of pages, nothing is imported by pages from the shell, and no page imports another. */
const pageOf = (path: string): string => path.split('/')[1]!.replace(/\.tsx?$/, '')

test('folders import in one direction, and pages do not import each other', () => {
  const wrong = sources
    .filter((name) => /^src\/\w+\/.*\.tsx?$/.test(name))
    .flatMap((name) =>
      Array.from(read(name).matchAll(/from '(\.[^']+)'/g), ([, to]) => {
        const from = name.replace(/^src\//, '')
        const target = new URL(to!, `file:///${from}`).pathname.slice(1)
        const [room, other] = [from.split('/')[0]!, target.split('/')[0]!]
        const isRight = room === other ? room !== 'pages' || pageOf(from) === pageOf(target) : MAY_IMPORT[room]!.includes(other)
        return isRight ? '' : `${from} imports ${target}`
      }),
    )
  expect(wrong.filter((each) => each !== '')).toEqual([])
})

test('no file is too long', () => {
  const long = sources.filter((name) => name !== 'src/lib/api-types.ts' && read(name).split('\n').length > 501)
  expect(long.filter((name) => !name.endsWith('.css'))).toEqual([])
})

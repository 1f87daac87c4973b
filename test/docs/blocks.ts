import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Pages for users. */
export const PAGES: readonly string[] = [
  'README.md',
  'examples/README.md',
  ...readdirSync(`${ROOT}docs`)
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]

export const read = (page: string): string => readFileSync(`${ROOT}${page}`, 'utf8')

/** An indented block of a page. */
export interface TextBlock {
  /** `docs/radio.md:31` */
  readonly place: string
  readonly text: string
}

/** Indented blocks, also those of list items, without their indentation. */
export function textBlocks(page: string): TextBlock[] {
  return Array.from(read(page).matchAll(/(?<=\n\n)(?<indent> {4,})\S.*\n(?:(?:\k<indent>.*|[ ]*)\n)*/g), (found) => {
    const line = read(page).slice(0, found.index).split('\n').length
    const indent = found.groups!.indent!.length
    return { place: `${page}:${line}`, text: found[0].replaceAll(new RegExp(`^ {${indent}}`, 'gm'), '').trimEnd() }
  })
}

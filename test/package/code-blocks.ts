import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** A block of JavaScript in a document, made into a module that can be run. */
export interface Block {
  /** `docs/library.md:31`, the line of its fence. */
  readonly place: string
  readonly code: string
  /** What it says that it prints, in the comments behind `console.log`. */
  readonly printed: readonly string[]
}

const FENCED = /^```js\n(.*?)^```$/gms
const PRINTS = /console\.log\(.*\) \/\/ (.+)$/gm

/** A block of a page that has no import from the package goes on where `roost` has been started. */
const BEFORE = "import { start } from 'roost-mqtt'\nconst roost = await start({ port: 0, snPort: 0 })\n"
const AFTER = '\nawait roost.stop()\n'

/** The blocks marked `js` of a document of this repository. */
export function blocksOf(document: string): Block[] {
  const text = readFileSync(fileURLToPath(new URL(`../../${document}`, import.meta.url)), 'utf8')
  return Array.from(text.matchAll(FENCED), ({ 1: code = '', index }) => ({
    place: `${document}:${text.slice(0, index).split('\n').length}`,
    code: /from 'roost-mqtt'/.test(code) ? code : BEFORE + code + AFTER,
    printed: Array.from(code.matchAll(PRINTS), ([, line]) => line!),
  }))
}

/** Syntax that Node.js knows from 24 on. */
export const isForThisNode = ({ code }: Block): boolean =>
  !/^\s*await using /m.test(code) || Number.parseInt(process.versions.node, 10) >= 24

/** A block that takes longer than this hangs. */
const BLOCK_MS = 10_000

/**
 * A program that runs modules one after the other in one process, and prints a line of JSON for each: what it printed, and how it
 * failed. The program ends when nothing is left running, so a block that leaves a handle behind keeps it from ending.
 */
export const runnerOf = (modules: readonly string[]): string => `
import { format } from 'node:util'
const { log } = console
for (const module of ${JSON.stringify(modules)}) {
  const printed = []
  console.log = (...parts) => printed.push(format(...parts))
  let error
  const told = () => log(JSON.stringify({ module, printed, error }))
  const timer = setTimeout(() => {
    error = 'has not ended after ${BLOCK_MS} ms'
    told()
    process.exit(1)
  }, ${BLOCK_MS})
  try {
    await import(module)
  } catch (thrown) {
    error = String(thrown?.stack ?? thrown)
  }
  clearTimeout(timer)
  told()
}
`

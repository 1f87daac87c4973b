import { appendFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'

/** A folder in which the whole course of a run stays, to find out whose fault it was: hundreds of megabytes in 200 kills. */
const FOLDER = process.env.BRIDGE_TRACE

/** Where a file of that course belongs; undefined if nobody wants it. */
export function traceFile(name: string): string | undefined {
  if (FOLDER === undefined) return undefined
  mkdirSync(FOLDER, { recursive: true })
  return join(FOLDER, `${name.replaceAll(' ', '-')}.log`)
}

/** Writes lines to such a file. */
export function traceTo(name: string): ((line: string) => void) | undefined {
  const file = traceFile(name)
  return file === undefined ? undefined : (line) => appendFileSync(file, `${line}\n`)
}

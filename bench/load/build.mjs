// Builds the load generators beside this file with cc (or CC), on first use and when a source has changed.
import { spawnSync } from 'node:child_process'
import { mkdirSync, statSync } from 'node:fs'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

const pathOf = (name) => fileURLToPath(new URL(name, import.meta.url))
const changed = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0

/** Returns the path of the program built from `NAME.c`. */
export function built(name) {
  const source = pathOf(`${name}.c`)
  const program = pathOf(`build/${name}`)
  if (changed(program) > Math.max(changed(source), changed(pathOf('load.h')))) return program
  mkdirSync(pathOf('build'), { recursive: true })
  const cc = process.env.CC ?? 'cc'
  const { error, status } = spawnSync(cc, ['-O2', '-Wall', '-o', program, source], { stdio: 'inherit' })
  if (error !== undefined || status !== 0)
    throw new Error(`${cc} cannot build ${name}.c: ${error?.message ?? `exit code ${status}`}`)
  return program
}

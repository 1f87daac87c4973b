import { readFileSync } from 'node:fs'
import { parse } from 'yaml'

/** All planted bugs, each with its name. */
export const bugs = () =>
  Object.entries(parse(readFileSync(new URL('bugs.yaml', import.meta.url), 'utf8'))).map(([name, bug]) => ({ name, ...bug }))

import { readFileSync } from 'node:fs'
import { parse } from 'yaml'

/** All planted bugs, each with its name and the suite that has to find it. */
export const bugs = () =>
  Object.entries(parse(readFileSync(new URL('bugs.yaml', import.meta.url), 'utf8'))).map(([name, bug]) => ({
    name,
    suite: 'model',
    ...bug,
  }))

import { readFileSync } from 'node:fs'
import { parse } from 'yaml'

/** All planted bugs, each with its name and the suite that has to find it; for a bug of the past also the one test of it. */
export const bugs = () =>
  Object.entries(parse(readFileSync(new URL('bugs.yaml', import.meta.url), 'utf8'))).map(([name, bug]) => ({
    name,
    suite: 'model',
    ...(bug.regression !== undefined && { test: `what once went wrong does not again: ${bug.regression}.json` }),
    ...bug,
  }))

/** Where the lives of a suite are, below `fuzz/regressions/`. */
export const livesOf = (suite) => FOLDERS[suite] ?? ''
const FOLDERS = { 'roaming.test.ts': 'roaming/', 'bridge-pair.test.ts': 'pair/' }

/** The test file of a suite. The soak over real sockets has none. */
export const fileOf = (suite) => (suite.startsWith('test/') ? suite : `fuzz/${suite === 'model' ? 'model.test.ts' : suite}`)

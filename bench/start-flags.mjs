import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Flags that `npm start` of a checkout passes to Node.js, so that what is measured is what users run. */
export function startFlags(checkout) {
  const { scripts } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8'))
  const [, ...words] = scripts.start.split(' ')
  return words.slice(0, words.indexOf('dist/main.js'))
}

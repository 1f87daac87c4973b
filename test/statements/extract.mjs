// Writes ids.json: the ids of the normative statements, taken from the texts of the two specifications.
// node test/statements/extract.mjs <mqtt-3.1.1.txt> <mqtt-5.0.txt>
import { readFileSync, writeFileSync } from 'node:fs'

const [, , text311, text50] = process.argv
if (text50 === undefined) throw new Error('usage: node test/statements/extract.mjs <mqtt-3.1.1.txt> <mqtt-5.0.txt>')

const idsOf = (path) => {
  const found = readFileSync(path, 'utf8').matchAll(/\[(MQTT-\d+(?:\.\d+)+-\d+)\]/g)
  const order = (id) =>
    id
      .match(/\d+/g)
      .map((part) => part.padStart(4, '0'))
      .join('.')
  return [...new Set([...found].map(([, id]) => id))].sort((a, b) => (order(a) < order(b) ? -1 : 1))
}

const ids = { '3.1.1': idsOf(text311), '5.0': idsOf(text50) }
writeFileSync(new URL('ids.json', import.meta.url), `${JSON.stringify(ids, undefined, 1)}\n`)

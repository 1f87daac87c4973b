import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { idsOf, type Row, tableOf, VERSIONS } from './table.mjs'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

const TABLES = new Map<string, ReadonlyMap<string, Row>>(VERSIONS.map((version) => [version, tableOf(version)]))

/** What is missing in a row; '' if nothing is. */
function missing(row: Row): string {
  if (row.binds === 'client') return ''
  if (row.by !== undefined) return row.by.length < 20 ? 'a reason' : ''
  if (row.same !== undefined) {
    const [version, id] = row.same.split(' ')
    const other = TABLES.get(version!)?.get(id!)
    return other?.line === undefined && other?.by === undefined ? `a row ${row.same}` : ''
  }
  const { file, line, disabled, test: testFile, title } = row
  if (file === undefined || line === undefined || disabled === undefined) return 'a line'
  if (testFile === undefined || title === undefined) return 'a test'
  const found = read(file).split(line).length - 1
  if (found !== 1) return `its line in ${file}, which is there ${found} times`
  return read(testFile).includes(title) ? '' : `its test in ${testFile}`
}

describe.each(VERSIONS)('normative statements of MQTT %s', (version) => {
  const table = TABLES.get(version)!

  test('the table has a row for every id of the text, and no other', () => {
    expect([...table.keys()].toSorted()).toEqual([...idsOf(version)].toSorted())
  })

  test('every statement that binds a server names a line that satisfies it, and a test that fails without', () => {
    const incomplete = [...table].filter(([, row]) => missing(row) !== '').map(([id, row]) => `${id} lacks ${missing(row)}`)
    expect(incomplete).toEqual([])
  })
})

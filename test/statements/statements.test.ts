import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { disabled, pins } from './pins.mjs'
import { idsOf, mutations, type Row, tableOf, VERSIONS } from './table.mjs'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

const TABLES = new Map<string, ReadonlyMap<string, Row>>(VERSIONS.map((version) => [version, tableOf(version)]))

/** What is missing in a row; '' if nothing is. */
function missing(row: Row): string {
  if (row.binds === 'client') return ''
  if (row.by !== undefined) return row.by.length < 20 ? 'a reason' : ''
  if (row.same !== undefined) {
    const [version, id] = row.same.split(' ')
    const other = TABLES.get(version!)?.get(id!)
    return other?.test === undefined && other?.by === undefined ? `a row ${row.same}` : ''
  }
  const { test: testFile, title } = row
  if (testFile === undefined || title === undefined) return 'a test'
  return read(testFile).includes(title) ? '' : `its test in ${testFile}`
}

describe.each(VERSIONS)('normative statements of MQTT %s', (version) => {
  const table = TABLES.get(version)!

  test('the table has a row for every id of the text, and no other', () => {
    expect([...table.keys()].toSorted()).toEqual([...idsOf(version)].toSorted())
  })

  test('every statement that binds a server names a test', () => {
    const incomplete = [...table].filter(([, row]) => missing(row) !== '').map(([id, row]) => `${id} lacks ${missing(row)}`)
    expect(incomplete).toEqual([])
  })
})

describe('the ids in src/', () => {
  test('each statement with a test stands once, and no other id does', () => {
    expect(
      pins()
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual(
      mutations()
        .map(({ id }) => id)
        .toSorted(),
    )
  })

  test('the statement after each can be disabled as its row says', () => {
    const rows = new Map(mutations().map((row) => [row.id, row]))
    const wrong = pins().flatMap(({ id, file, at }) => {
      try {
        disabled(read(file), at, rows.get(id)!)
        return []
      } catch (error) {
        return `${id} ${file}: ${(error as Error).message}`
      }
    })
    expect(wrong).toEqual([])
  })
})

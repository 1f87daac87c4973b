import { describe, expect, test } from 'vitest'
import { EventParser } from '../../console/src/lib/event-parser.ts'
import { bytes, percent } from '../../console/src/lib/numbers.ts'
import { hexOf, jsonOf, textOf } from '../../console/src/lib/payload.ts'
import { sorted } from '../../console/src/lib/sorted.ts'
import { duration, relative } from '../../console/src/lib/time.ts'

describe('event streams', () => {
  const parsed = (...parts: string[]): string[] => {
    const events: string[] = []
    const parser = new EventParser(({ name, data }, id) => events.push(`${id} ${name} ${data}`))
    for (const part of parts) parser.add(part)
    return events
  }

  test('events that come in pieces, with comments between them', () => {
    expect(parsed('event: notice\nid: 3-', 'a\nda', 'ta: {"x":1}\n', '\n: still here\n\nid: 4-a\ndata: y\n\n')).toEqual([
      '3-a notice {"x":1}',
      '4-a message y',
    ])
  })
  test('what is not complete yet is no event', () => expect(parsed('event: notice\ndata: x\n')).toEqual([]))
  test('data of several lines, and values with colons', () =>
    expect(parsed('data: a: b\ndata:c\n\n')).toEqual([' message a: b\nc']))
})

describe('tables', () => {
  const columns = [{ id: 'name', sort: ({ name }: { name: string | undefined }) => name }]
  const names = (down: boolean): (string | undefined)[] =>
    sorted([{ name: 'sensor-10' }, { name: undefined }, { name: 'Sensor-2' }, { name: 'a' }], columns, { by: 'name', down }).map(
      ({ name }) => name,
    )

  test('sensor-2 comes before sensor-10, and what has no value last', () => {
    expect(names(false)).toEqual(['a', 'Sensor-2', 'sensor-10', undefined])
    expect(names(true)).toEqual(['sensor-10', 'Sensor-2', 'a', undefined])
  })
  test('ten thousand rows are sorted within a frame or two', () => {
    const rows = Array.from({ length: 10_000 }, (_, i) => ({ name: `sensor-${(i * 7919) % 10_000}` }))
    const found = sorted(rows, columns, { by: 'name', down: false })
    expect(found.slice(0, 3).map(({ name }) => name)).toEqual(['sensor-0', 'sensor-1', 'sensor-2'])
    expect(found[9999]!.name).toBe('sensor-9999')
  })
})

describe('payloads', () => {
  test('text is UTF-8 without control characters', () => {
    expect(textOf(Buffer.from('21.5 °C\n'))).toBe('21.5 °C\n')
    expect(textOf(Uint8Array.of(0xc3, 0x28))).toBeUndefined()
    expect(textOf(Uint8Array.of(0x41, 0))).toBeUndefined()
  })
  test('JSON is an object or a list', () => {
    expect(jsonOf('{"a":1}')).toBe('{\n  "a": 1\n}')
    expect(jsonOf('{"a":')).toBeUndefined()
    expect(jsonOf('21.5')).toBeUndefined()
    expect(jsonOf(undefined)).toBeUndefined()
  })
  test('hexadecimal digits, sixteen bytes in a line', () => {
    expect(hexOf(Buffer.from('Hello, sensors!!X')).split('\n')).toEqual([
      '0000  48 65 6c 6c 6f 2c 20 73 65 6e 73 6f 72 73 21 21  Hello, sensors!!',
      `0010  58${' '.repeat(45)}  X`,
    ])
  })
})

describe('times and numbers', () => {
  test.each([
    [0.25, '250 ms'],
    [0, '0 s'],
    [59.4, '59 s'],
    [60, '1 min'],
    [125, '2 min 5 s'],
    [3600, '1 h'],
    [5 * 3600 + 300, '5 h 5 min'],
    [12 * 3600 + 300, '12 h'],
    [90_000, '1 d 1 h'],
  ])('%d seconds: %s', (seconds, text) => expect(duration(seconds)).toBe(text))
  test.each([
    [-1000, 'just now'],
    [-45_000, '45 s ago'],
    [-125_000, '2 min ago'],
    [7_500_000, 'in 2 h 5 min'],
  ])('%d ms away: %s', (ms, text) => expect(relative(1e12 + ms, 1e12)).toBe(text))
  test('bytes', () => expect([0, 1023, 1024, 1_500_000].map(bytes)).toEqual(['0 B', '1,023 B', '1 KiB', '1.43 MiB']))
  test('parts of nothing', () => expect([percent(0, 0), percent(1, 3)]).toEqual(['–', '33 %']))
})

import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { NoticeCounts } from '../../src/base/notice.ts'
import { SysTopics } from '../../src/broker/sys-topics.ts'
import { connackReturnCode, hasReturnCode, ReasonCode } from '../../src/mqtt/reason-codes.ts'
import { ReturnCode } from '../../src/mqttsn/messages.ts'
import { read } from './blocks.ts'

const SOURCES = new URL('../../src/', import.meta.url)
const sources = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => ({ name, text: readFileSync(new URL(name, SOURCES), 'utf8') }))

/** Cells of the rows of a part of a page, from the heading to the next one. */
function rows(page: string, heading: string): string[][] {
  const part = read(page).split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  return Array.from(part.matchAll(/^\| (.+) \|$/gm), ([, row]) => row!.split(' | ')).slice(1)
}

describe('docs/codes.md', () => {
  test('has the reason codes that Roost sends, with their names and return codes', () => {
    const told = rows('docs/codes.md', 'MQTT').map(([code, name, returnCode]) => `${code} ${name} ${returnCode}`)
    // upstream/ judges those of other brokers; a hook chooses its own.
    const used = new Set(
      sources
        .filter(({ name }) => !/^(upstream|library|http)\/|hook-results|\/reason-codes\.ts/.test(name))
        .flatMap(({ text }) =>
          Array.from(text.matchAll(/ReasonCode\.([A-Z_0-9]+)/g), ([, name]) => name as keyof typeof ReasonCode),
        ),
    )
    // The codec has it as a number; the API sends it to clients.
    for (const name of ['MALFORMED_PACKET', 'ADMINISTRATIVE_ACTION'] as const) used.add(name)
    used.delete('RE_AUTHENTICATE')
    const CONNACK_3: ReadonlySet<number> = new Set([0, 0x80, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x97])
    const expected = Array.from(used, (name) => {
      const code = ReasonCode[name]
      const inConnack = CONNACK_3.has(code) && hasReturnCode(code)
      return `0x${code.toString(16).padStart(2, '0')} ${name} ${inConnack ? connackReturnCode(code) : '-'}`
    })
    expect(told.toSorted()).toEqual(expected.toSorted())
  })

  test('has the return codes of MQTT-SN', () => {
    const told = rows('docs/codes.md', 'MQTT-SN').map(([code, name]) => `${code} ${name}`)
    const expected = Object.entries(ReturnCode).map(([name, code]) => `${code} ${name.toLowerCase().replaceAll('_', ' ')}`)
    expect(told).toEqual(expected)
  })
})

test('docs/sys-topics.md has every topic, and no other', () => {
  const notices = new NoticeCounts()
  notices.add({ code: 'queue-full', level: 'warn', limit: 'max_queued_messages' })
  const zero = { received: 0, sent: 0, dropped: 0 }
  const values = new SysTopics('roost version 1').update(0, {
    clients: { connected: 0, disconnected: 0, maximum: 0, expired: 0 },
    ...{ sockets: 0, connects: 0, messages: zero, publishes: zero, publishBytes: zero, bytes: zero, retained: 0 },
    stored: { messages: 0, bytes: 0 },
    subscriptions: { plain: 0, shared: 0 },
    notices,
    memory: { limit: 1, used: new Map([['sessions', 1]]) },
    sensors: { asleep: 0 },
    process: { heapBytes: 1, eventLoopLagMs: 1 },
  })
  const published = values.map(({ topic }) =>
    topic
      .replace('$SYS/broker/', '')
      .replace(/\d+min$/, '<n>min')
      .replace(/^(roost\/sensor_states)\/.*/, '$1/<state>')
      .replace(/^(roost\/limits)\/.*/, '$1/<limit>')
      .replace(/^(roost\/notices)\/.*/, '$1/<code>')
      .replace('roost/memory/sessions', 'roost/memory/<kind>'),
  )
  const told = ['As in Mosquitto', "Roost's own"]
    .flatMap((heading) => rows('docs/sys-topics.md', heading))
    .flatMap(([topics]) => Array.from(topics!.matchAll(/`([^`]+)`/g), ([, topic]) => topic!))
  expect(told.toSorted()).toEqual([...new Set(published)].sort())
})

test('docs/log.md has every field of JSON lines, and no other', () => {
  const fields = new Set(['level', 'time', 'msg'])
  for (const { text } of sources) {
    for (const [, object] of text.matchAll(/\blog(?:\.\w+|\[\w+\])\(\s*\{([^}]*)\}/g))
      for (const [, field] of object!.matchAll(/(?:^|,)\s*(\w+)(?=\s*[:,]|\s*$)/g)) fields.add(field!)
  }
  const told = Array.from(read('docs/log.md').matchAll(/^\| `(\w+)` \|/gm), ([, field]) => field)
  expect(told.toSorted()).toEqual([...fields].sort())
})

test('the README compares with the figures of docs/performance.md', () => {
  const cells = (line: string): string[] => line.split('|').map((cell) => cell.trim())
  const measured = read('docs/performance.md')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
  const shown = read('README.md')
    .split('\n')
    .filter((line) => /^\| `[\w-]+`( \w+)? \|/.test(line))
  expect(shown.length).toBeGreaterThan(5)
  for (const line of shown) {
    const [, scenario, , ...ratios] = cells(line)
    const [, name, figure = ''] = /^(`[\w-]+`) ?(\w*)$/.exec(scenario!)!
    const row = measured.map(cells).find(([, first, second]) => first === name && second!.startsWith(figure))!
    const peers = row.slice(4).map((cell) => cell.split(' ')[0])
    for (const ratio of ratios.filter((cell) => cell !== '')) expect(peers, line).toContain(ratio)
  }
})

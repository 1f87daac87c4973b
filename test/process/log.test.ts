import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Notice } from '../../src/base/notice.ts'
import { createLog, noticeLogger } from '../../src/process/log.ts'

const written = (logFormat: 'json' | 'pretty', logLevel: 'debug' | 'info' | 'silent' = 'info', color = false) => {
  const lines: string[] = []
  return { lines, log: createLog({ logFormat, logLevel }, { write: (line) => lines.push(line) }, color) }
}

beforeEach(() => {
  vi.useFakeTimers({ now: Date.UTC(2026, 10, 24, 11, 0, 0, 5) })
})
afterEach(() => {
  vi.useRealTimers()
})

test('json: one object a line, with the level by name', () => {
  const { lines, log } = written('json')
  log.warn({ code: 'queue-full', count: 2 }, 'two\nlines')
  expect(lines).toEqual([
    '{"level":"warn","time":"2026-11-24T11:00:00.005Z","code":"queue-full","count":2,"msg":"two\\nlines"}\n',
  ])
})

test('pretty: time, level, text, and no fields twice', () => {
  const { lines, log } = written('pretty')
  log.info({ code: 'queue-full', client: 'sn:a' }, 'queue-full sn:a')
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatch(/^\[\d{4}-\d\d-\d\dT\d\d:\d\d:00\.005[+-]\d\d:\d\d\] INFO: queue-full sn:a\n$/)
})

test('colours only where they were asked for', () => {
  const plain = written('pretty')
  const coloured = written('pretty', 'info', true)
  plain.log.info('text')
  coloured.log.info('text')
  expect(plain.lines.join('')).not.toContain('\u001b[')
  expect(coloured.lines.join('')).toContain('\u001b[')
})

test('less important levels are left out; silent leaves out all', () => {
  const { lines, log } = written('json')
  log.debug('no')
  expect(lines).toEqual([])
  const silent = written('json', 'silent')
  silent.log.fatal('no')
  expect(silent.lines).toEqual([])
})

test('a log that cannot be written ends nothing', () => {
  const full = () => {
    throw new Error('ENOSPC: no space left on device')
  }
  const log = createLog({ logFormat: 'json', logLevel: 'info' }, { write: full }, false)
  expect(() => log.info('text')).not.toThrow()
})

test('for the journal each line begins with its priority', () => {
  const lines: string[] = []
  const output = { write: (line: string) => lines.push(line) }
  const pretty = createLog({ logFormat: 'pretty', logLevel: 'trace' }, output, false, true)
  for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const) pretty[level]('text')
  expect(lines.map((line) => line.replace(/\[.*\] /, ''))).toEqual([
    ...['<7>TRACE: text\n', '<7>DEBUG: text\n', '<6>INFO: text\n', '<4>WARN: text\n', '<3>ERROR: text\n', '<2>FATAL: text\n'],
  ])
  lines.length = 0
  pretty.fatal({ err: new Error('of several lines') }, 'unexpected error')
  expect(
    lines
      .join('')
      .trimEnd()
      .split('\n')
      .every((line) => line.startsWith('<2>')),
  ).toBe(true)
  createLog({ logFormat: 'json', logLevel: 'info' }, output, false, true).warn('text')
  expect(lines.at(-1)).toMatch(/^<4>\{"level":"warn",.*\}\n$/)
})

test('lines that could not be written are counted, and the count is said', () => {
  const lines: string[] = []
  let lost = 0
  let full = true
  const output = {
    write: (line: string) => {
      if (full) {
        lost++
        throw new Error('full')
      }
      lines.push(line)
    },
    takeLost: () => {
      const warning = lost === 0 ? undefined : `${lost} lost`
      lost = 0
      return warning
    },
  }
  const log = createLog({ logFormat: 'json', logLevel: 'info' }, output, false)
  log.info('one')
  log.info('two')
  full = false
  log.info('three')
  log.info('four')
  expect(lines.map((line) => JSON.parse(line).msg)).toEqual(['three', '2 lost', 'four'])
})

describe('notices', () => {
  const notice: Notice = {
    code: 'malformed-datagram',
    level: 'warn',
    client: 'sn:a',
    peer: '10.0.0.1:5',
    reason: 'Length is wrong',
    count: 3,
  }
  const parsed = (lines: string[]) => lines.map((line) => JSON.parse(line) as Record<string, unknown>)

  test('every part is in the fields and in the text', () => {
    const { lines, log } = written('json')
    noticeLogger(log, 20)(notice)
    expect(parsed(lines)).toEqual([
      {
        ...notice,
        time: '2026-11-24T11:00:00.005Z',
        msg: 'malformed-datagram sn:a at 10.0.0.1:5: Length is wrong (3 times)',
      },
    ])
  })

  test('parts that are not there are left out', () => {
    const { lines, log } = written('json')
    noticeLogger(log, 20)({ code: 'store-full', level: 'error', count: 1 })
    expect(parsed(lines)).toEqual([
      { level: 'error', time: '2026-11-24T11:00:00.005Z', code: 'store-full', count: 1, msg: 'store-full' },
    ])
  })

  test('what a peer chose neither breaks a line nor fills one', () => {
    const { lines, log } = written('pretty')
    noticeLogger(
      log,
      20,
    )({
      code: 'client-connected',
      level: 'info',
      client: `mqtt:\n\u001b[2J\u202e\u2028${'x'.repeat(1000)}`,
      reason: '\u0007',
    })
    expect(lines.join('')).toMatch(
      /INFO: client-connected mqtt:\\u\{a\}\\u\{1b\}\[2J\\u\{202e\}\\u\{2028\}x{244}\.\.\.: \\u\{7\}\n$/,
    )
  })

  test('the path of a Unix socket that a proxy names cannot forge a line', () => {
    const { lines, log } = written('pretty')
    noticeLogger(log, 20)({ code: 'client-connected', level: 'info', peer: 'unix:/x\n[2026-01-01 00:00:00.000] INFO: forged' })
    expect(lines.join('')).toMatch(/INFO: client-connected at unix:\/x\\u\{a\}\[2026.* INFO: forged\n$/)
    expect(lines.join('').split('\n')).toHaveLength(2)
  })

  test('a limit stands in the text once', () => {
    const { lines, log } = written('pretty')
    const sink = noticeLogger(log, 20)
    sink({ code: 'limit-reached', level: 'warn', reason: 'listener a is full', limit: 'max_connections' })
    sink({ code: 'client-refused', level: 'info', reason: 'too many sessions (max_sessions)', limit: 'max_sessions' })
    expect(lines.map((line) => line.replace(/^\[[^\]]*\] /, ''))).toEqual([
      'WARN: limit-reached: listener a is full (max_connections)\n',
      'INFO: client-refused: too many sessions (max_sessions)\n',
    ])
  })

  test('the user of a refused login, and an IPv4 peer at a port for both', () => {
    const { lines, log } = written('json')
    noticeLogger(
      log,
      20,
    )({
      ...{ code: 'client-refused', level: 'info', client: 'mqtt:c', user: 'a\nb', reason: 'user name or password' },
      peer: '[::ffff:192.0.2.1]:1884',
    } as Notice)
    expect(parsed(lines)).toMatchObject([
      { user: 'a\\u{a}b', msg: 'client-refused mqtt:c (user a\\u{a}b) at 192.0.2.1:1884: user name or password' },
    ])
  })

  test('20 of one code in 10 s, then one line that counts the rest', () => {
    const { lines, log } = written('json')
    const sink = noticeLogger(log, 20)
    for (let i = 0; i < 1000; i++) sink(notice)
    sink({ code: 'queue-full', level: 'warn' })
    expect(lines).toHaveLength(21)
    vi.advanceTimersByTime(9_999)
    expect(lines).toHaveLength(21)
    vi.advanceTimersByTime(1)
    expect(parsed(lines).slice(21)).toEqual([
      {
        level: 'warn',
        time: '2026-11-24T11:00:10.005Z',
        code: 'malformed-datagram',
        count: 980 * 3,
        msg: 'malformed-datagram: 2940 more in the last 10 s (log_rate): sn:a 2940',
      },
    ])
  })

  test('what is left out is counted by client, for a few of them', () => {
    const { lines, log } = written('json')
    const sink = noticeLogger(log, 1)
    sink({ code: 'client-connected', level: 'info', client: 'sn:first' })
    for (let i = 0; i < 12; i++) sink({ code: 'client-connected', level: 'info', client: `sn:${i}\n` })
    for (let i = 0; i < 12; i++) sink({ code: 'client-connected', level: 'info', client: `sn:${i}\n` })
    sink({ code: 'client-connected', level: 'info' })
    sink.flush()
    const named = Array.from({ length: 8 }, (_, i) => `sn:${i}\\u{a} 2`).join(', ')
    expect(parsed(lines)[1]).toMatchObject({
      count: 25,
      msg: `client-connected: 25 more in the last 10 s (log_rate): ${named}, others 9`,
    })
  })

  test('the next window has 20 again, and a quiet one ends without a line', () => {
    const { lines, log } = written('json')
    const sink = noticeLogger(log, 20)
    for (let i = 0; i < 21; i++) sink(notice)
    vi.advanceTimersByTime(10_000)
    expect(lines).toHaveLength(21)
    for (let i = 0; i < 20; i++) sink(notice)
    vi.advanceTimersByTime(60_000)
    expect(lines).toHaveLength(41)
  })

  test('flush tells the count before the process ends, and starts anew', () => {
    const { lines, log } = written('json')
    const sink = noticeLogger(log, 20)
    for (let i = 0; i < 22; i++) sink(notice)
    sink.flush()
    expect(parsed(lines)[20]).toMatchObject({ count: 6, msg: 'malformed-datagram: 6 more in the last 10 s (log_rate): sn:a 6' })
    vi.advanceTimersByTime(9_000)
    for (let i = 0; i < 22; i++) sink(notice)
    vi.advanceTimersByTime(9_000)
    expect(lines).toHaveLength(41)
    vi.advanceTimersByTime(1_000)
    expect(lines).toHaveLength(42)
  })

  test('what the level hides is not counted', () => {
    const { lines, log } = written('json')
    const sink = noticeLogger(log, 20)
    for (let i = 0; i < 100; i++) sink({ code: 'message-dropped', level: 'debug' })
    vi.advanceTimersByTime(10_000)
    expect(lines).toEqual([])
  })
})

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { Logins } from '../../src/access/logins.ts'
import type { Notice } from '../../src/base/notice.ts'
import { createLog, noticeLogger } from '../../src/process/log.ts'

const page = readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8')
/** With what fail2ban puts in place of <HOST>, to lines without the time that it has found there. */
const failregex = new RegExp(
  /^ *failregex = (.+)$/m.exec(page)![1]!.replace('<HOST>', String.raw`(?<host>[\da-f:]*:[\da-f:]*|\d+\.\d+\.\d+\.\d+)`),
)

function lines(tell: (sink: (notice: Notice) => void) => void): string[] {
  let text = ''
  const sink = noticeLogger(createLog({ logLevel: 'info', logFormat: 'pretty' }, { write: (more) => (text += more) }, false), 100)
  tell(sink)
  sink.flush()
  return text
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d/, ''))
}

test.each(['192.0.2.7', '2001:db8::7'])('the filter in docs/security.md finds the ban of %s', (ip) => {
  const peer = ip.includes(':') ? `[${ip}]:51234` : `${ip}:51234`
  const [line] = lines((sink) => {
    const logins = new Logins({ banAfter: 1 }, sink)
    logins.failed(0, peer)
  })
  expect(failregex.exec(line!)?.groups?.host).toBe(ip)
})

test('a client cannot have somebody else banned by what it calls itself', () => {
  const forged = 'WARN: address-banned at 192.0.2.7:1: 192.0.2.7 is banned for 600 s after 20 failed logins (ban_after)'
  const told = lines((sink) => {
    for (const reason of [forged, `x\n${forged}`])
      sink({ code: 'client-refused', level: 'info', client: `mqtt:${forged}`, user: forged, reason })
  })
  expect(told).toHaveLength(2)
  expect(told.filter((line) => failregex.test(line))).toEqual([])
})

test('a thousand bans at a time have a line each', () => {
  const told = lines((sink) => {
    const logins = new Logins({ banAfter: 1 }, sink)
    for (let i = 0; i < 1000; i++) logins.failed(0, `192.0.${i >> 8}.${i & 255}:1`)
  })
  expect(told.filter((line) => failregex.test(line))).toHaveLength(1000)
})

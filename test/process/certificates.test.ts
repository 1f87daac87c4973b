import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { Notice } from '../../src/base/notice.ts'
import { DEFAULT_CONFIG } from '../../src/config/config.ts'
import { CertificateWatch, expiring } from '../../src/process/certificates.ts'

const DAY = 86_400_000
let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-certificates-'))
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', join(dir, 'key.pem')]
  for (const days of [10, 100])
    spawnSync('openssl', ['req', '-x509', ...key, '-subj', '/CN=x', '-days', `${days}`, '-out', join(dir, `${days}.pem`)])
  writeFileSync(join(dir, 'chain.pem'), [100, 10].map((days) => readFileSync(join(dir, `${days}.pem`), 'utf8')).join(''))
})
afterAll(() => rmSync(dir, { recursive: true }))

const watchOf = (certfile: string, httpCertfile?: string): CertificateWatch =>
  new CertificateWatch({
    ...DEFAULT_CONFIG,
    listeners: [{ ...DEFAULT_CONFIG.listeners[0]!, certfile: join(dir, certfile) }],
    httpCertfile: httpCertfile && join(dir, httpCertfile),
  })

test('of a chain, the certificate that expires first counts', () => {
  const now = Date.now()
  const [expiry] = watchOf('chain.pem').expiries
  expect(expiry).toMatchObject({ listener: 'mqtt-1883', option: 'certfile' })
  expect((expiry!.notAfter - now) / DAY).toBeCloseTo(10, 1)
})

test('of a directory, the file that expires first counts', () => {
  mkdirSync(join(dir, 'cas'))
  for (const [i, days] of [100, 10].entries()) copyFileSync(join(dir, `${days}.pem`), join(dir, 'cas', `0123abcd.${i}`))
  writeFileSync(join(dir, 'cas', 'README'), 'no certificate')
  const capath = join(dir, 'cas')
  const listeners = [{ ...DEFAULT_CONFIG.listeners[0]!, certfile: join(dir, '100.pem'), capath }]
  const [, expiry, ...more] = new CertificateWatch({ ...DEFAULT_CONFIG, listeners }).expiries
  expect(expiry).toMatchObject({ listener: 'mqtt-1883', option: 'capath', path: join(capath, '0123abcd.1') })
  expect(more).toEqual([])
})

test.each([
  [31, []],
  [29.5, ['expires in 29 days']],
  [0.5, ['expires within a day']],
  [-1, ['has expired']],
])('a certificate that ends in %d days', (days, words) => {
  const now = Date.parse('2026-12-01T00:00:00Z')
  const lines = expiring([{ listener: 'x', option: 'certfile', path: '/x.pem', notAfter: now + days * DAY }], now)
  expect(lines).toEqual(
    words.map((each) => expect.stringMatching(`^/x.pem of x ${each}, on 20\\d\\d-\\d\\d-\\d\\d \\(certfile\\)$`)),
  )
})

test('said at the start and once a day, until a reload finds another', () => {
  vi.useFakeTimers({ now: Date.now() })
  const notices: Notice[] = []
  const watch = watchOf('100.pem', '10.pem')
  watch.start((notice) => notices.push(notice))
  expect(notices).toEqual([
    { code: 'certificate-expires', level: 'warn', reason: expect.stringContaining('10.pem of http expires in 9 days') },
  ])
  vi.advanceTimersByTime(2 * DAY)
  expect(notices).toHaveLength(3)
  writeFileSync(join(dir, '10.pem'), readFileSync(join(dir, '100.pem')))
  watch.reload()
  vi.advanceTimersByTime(2 * DAY)
  expect(notices).toHaveLength(3)
  watch.stop()
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

test('what cannot be read is left to those who need it', () => {
  expect(watchOf('missing.pem', 'key.pem').expiries).toEqual([])
})

import { describe, expect, test } from 'vitest'
import { requestRefusal } from '../../src/http/guard.ts'

const names = ['roost', 'roost.local', 'gateway.example.org']
const refusal = (host: string | undefined, origin?: string, isOpen = true, fetchSite?: string): string =>
  requestRefusal({ host, origin, fetchSite }, { isOpen, names })

describe('where no login is needed', () => {
  test.each([
    'localhost:1885',
    '127.0.0.1:1885',
    '[::1]:1885',
    '192.168.1.7:1885',
    'roost:1885',
    'ROOST.local',
    'gateway.example.org',
  ])('%s is this service', (host) => {
    expect(refusal(host)).toBe('')
  })

  test.each(['evil.example:1885', 'roost.evil.example', '127.0.0.1.evil.example'])(
    '%s may be a name that was made to resolve to this machine',
    (host) => {
      expect(refusal(host)).toContain('(http_hosts)')
    },
  )

  test.each([undefined, '', 'a b', 'a:b:c'])('a Host header of %j is refused', (host) => {
    expect(refusal(host)).not.toBe('')
  })
})

test('where a login is needed, any name may be used, because a page of another site has no login', () => {
  expect(refusal('behind.a.proxy', undefined, false)).toBe('')
})

describe('a page', () => {
  test.each([true, false])('of this service may send requests (open: %s)', (isOpen) => {
    expect(refusal('roost:1885', 'http://roost:1885', isOpen)).toBe('')
    expect(refusal('roost', 'https://roost', isOpen)).toBe('')
  })

  test.each([true, false])('of another site may not (open: %s)', (isOpen) => {
    for (const origin of ['http://evil.example', 'http://roost:1886', 'null', 'http://roost.evil.example', 'x'])
      expect(refusal('roost:1885', origin, isOpen)).toContain('other sites')
  })

  test.each([true, false])(
    'of another site may not load images or follow links without an Origin either (open: %s)',
    (isOpen) => {
      for (const site of ['cross-site', 'same-site'])
        expect(refusal('roost:1885', undefined, isOpen, site)).toContain('other sites')
      for (const site of ['same-origin', 'none']) expect(refusal('roost:1885', undefined, isOpen, site)).toBe('')
      expect(refusal('roost:1885', 'http://roost:1885', isOpen, 'same-origin')).toBe('')
    },
  )

  test('of another site may have a link to the console', () => {
    const visit = { host: 'localhost:1885', origin: undefined, fetchSite: 'cross-site', isVisit: true }
    expect(requestRefusal(visit, { isOpen: true, names })).toBe('')
    expect(requestRefusal({ ...visit, host: 'evil.example' }, { isOpen: true, names })).toContain('(http_hosts)')
    expect(requestRefusal({ ...visit, origin: 'http://evil.example' }, { isOpen: true, names })).toContain('other sites')
  })
})

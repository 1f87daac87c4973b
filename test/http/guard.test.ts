import { describe, expect, test } from 'vitest'
import { requestRefusal, targetHost } from '../../src/http/guard.ts'

const names = ['roost', 'roost.local', 'gateway.example.org']
const refusal = (host: string, origin?: string, isOpen = true, fetchSite?: string): string => {
  const url = targetHost('/x', [host])
  return typeof url === 'string' ? url : requestRefusal({ host: url, origin, fetchSite }, { isOpen, names })
}

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

  test('a request to a proxy is for the host in its URL, whatever its Host header is [RFC 9112 section 3.2.2]', () => {
    const host = targetHost('http://evil.example/x', ['localhost']) as URL
    expect(requestRefusal({ host, origin: undefined, fetchSite: undefined }, { isOpen: true, names })).toContain('(http_hosts)')
  })
})

describe('the host of a request [RFC 9112 section 3.2]', () => {
  test.each([
    '',
    'a b',
    'a:b:c',
    'localhost/',
    'localhost/evil',
    'localhost?',
    'localhost#',
    'localhost\\evil',
    'user@localhost',
    'evil.example:80@localhost',
  ])('%j is no Host header', (host) => {
    expect(targetHost('/x', [host])).toContain('no host')
  })

  test('one Host header is needed', () => {
    expect(targetHost('/x', [])).toContain('missing')
    expect(targetHost('/x', ['localhost', 'localhost'])).toContain('more than one')
    expect(targetHost('*', ['localhost'])).toMatchObject({ hostname: 'localhost' })
    expect(targetHost('http://user@localhost/x', ['localhost'])).toContain('no host')
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
})

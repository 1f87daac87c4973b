import { describe, expect, test } from 'vitest'
import { parseNetwork } from '../../src/base/networks.ts'
import { forwardedPeer, type OriginPolicy, originRefusal, parseOrigin } from '../../src/base/origins.ts'

const policy = (allowed: string, anonymous = true): OriginPolicy => ({
  allowed: allowed === '' ? [] : allowed.split(',').map((text) => parseOrigin(text)!),
  anonymous,
  ownNames: ['pi', 'pi.local', 'broker.example.org'],
})
const isLetIn = (origin: string | undefined, host: string | undefined, of: OriginPolicy, localAddress = '192.0.2.1'): boolean =>
  originRefusal({ origin, host, localAddress }, of) === ''

describe('pages that may connect where nobody has to authenticate', () => {
  test.each([
    ['http://localhost:3000', 'localhost:9001'],
    ['https://app.localhost', '127.0.0.1:9001'],
    ['http://127.0.0.1', '127.0.0.1:9001'],
    ['http://127.1.2.3:80', '127.0.0.1'],
    ['http://[::1]:8080', '[::1]:9001'],
    ['http://192.0.2.1', '192.0.2.1:9001'],
    ['http://pi', 'pi:9001'],
    ['http://PI.local:8080', 'pi.local:9001'],
    ['https://broker.example.org', 'broker.example.org'],
  ])('%s of this machine, which it calls %s', (origin, host) => expect(isLetIn(origin, host, policy(''))).toBe(true))

  test.each([
    ['https://evil.example', '127.0.0.1:9001'],
    ['https://evil.example', 'localhost:9001'],
    ['http://evil.example', 'evil.example'],
    ['http://localhost.evil.example', '127.0.0.1'],
    ['http://127.0.0.1.evil.example', '127.0.0.1'],
    ['http://notlocalhost', '127.0.0.1'],
    ['http://192.0.2.2', '192.0.2.1:9001'],
    ['http://localhost@evil.example', '127.0.0.1'],
    // A page of a file, or in a frame without rights.
    ['null', '127.0.0.1'],
    ['file://', '127.0.0.1'],
    ['', '127.0.0.1'],
    ['http://', '127.0.0.1'],
    // Its name has been given the address of this machine.
    ['http://localhost', 'evil.example:9001'],
    ['http://localhost', 'localhost.evil.example'],
    ['http://localhost', ''],
    ['http://localhost', undefined],
  ])('%s, which calls it %s, may not', (origin, host) => expect(isLetIn(origin, host, policy(''))).toBe(false))

  test('who names no page is no browser, and is let in as before, whatever it calls the machine', () => {
    for (const allowed of ['', 'app.example.org']) expect(isLetIn(undefined, 'broker.lan:9001', policy(allowed))).toBe(true)
  })

  test('nor is one refused that is named', () => {
    const named = policy('app.example.org,https://shop.example.org:8443,http://plain.example.org:80')
    expect(isLetIn('https://app.example.org', '192.0.2.1:9001', named)).toBe(true)
    expect(isLetIn('http://app.example.org:3000', 'app.example.org:9001', named)).toBe(true)
    expect(isLetIn('https://shop.example.org:8443', '192.0.2.1', named)).toBe(true)
    expect(isLetIn('http://plain.example.org', '192.0.2.1', named)).toBe(true)
    expect(isLetIn('http://localhost', '127.0.0.1', named)).toBe(true)
    for (const other of ['http://shop.example.org:8443', 'https://shop.example.org', 'https://www.app.example.org'])
      expect(isLetIn(other, '192.0.2.1', named)).toBe(false)
    expect(isLetIn('https://app.example.org', 'evil.example', named)).toBe(false)
    expect(isLetIn('null', 'evil.example', policy('*'))).toBe(true)
  })

  test('why is said in one line, however long the name', () => {
    const told = originRefusal({ origin: 'http://localhost', host: 'x'.repeat(5000), localAddress: undefined }, policy(''))
    expect(told.length).toBeLessThan(200)
    expect(originRefusal({ origin: 'https://evil.example/', host: '127.0.0.1', localAddress: undefined }, policy(''))).toBe(
      'a page of https://evil.example (websockets_origin)',
    )
  })
})

describe('where clients authenticate', () => {
  test('any page may try, as long as none is named', () => {
    expect(isLetIn('https://evil.example', 'evil.example', policy('', false))).toBe(true)
    expect(isLetIn('null', undefined, policy('', false))).toBe(true)
  })

  test('and if some are, only those and this machine', () => {
    const named = policy('app.example.org', false)
    expect(isLetIn('https://app.example.org', 'any.name', named)).toBe(true)
    expect(isLetIn('http://localhost', '127.0.0.1', named)).toBe(true)
    expect(isLetIn('https://evil.example', '192.0.2.1', named)).toBe(false)
  })
})

test.each(['', 'http://', 'a b', 'app.example.org/path', 'https://app.example.org/path', 'http://user@host', '::1', 'a:x'])(
  '"%s" is no origin',
  (text) => expect(parseOrigin(text)).toBeUndefined(),
)

describe('X-Forwarded-For', () => {
  const proxies = ['10.0.0.0/8', '::1'].map((network) => parseNetwork(network)!)
  const peer = (header: string | undefined, from = '10.0.0.1:999') => forwardedPeer(header, from, proxies)

  test('is believed from a trusted proxy alone', () => {
    expect(peer('192.0.2.7')).toBe('192.0.2.7:999')
    expect(peer('192.0.2.7', '[::1]:999')).toBe('192.0.2.7:999')
    expect(peer('192.0.2.7', '203.0.113.1:999')).toBe('203.0.113.1:999')
    expect(forwardedPeer('192.0.2.7', '10.0.0.1:999', [])).toBe('10.0.0.1:999')
    expect(peer(undefined)).toBe('10.0.0.1:999')
  })

  test('from the right, as far as trusted proxies say it: what the client has made up does not count', () => {
    expect(peer('1.2.3.4, 192.0.2.7')).toBe('192.0.2.7:999')
    expect(peer('1.2.3.4, 192.0.2.7, 10.0.0.2')).toBe('192.0.2.7:999')
    expect(peer('10.0.0.3, 10.0.0.2')).toBe('10.0.0.3:999')
  })

  test('with a port, IPv6, and what is no address', () => {
    expect(peer('192.0.2.7:1234')).toBe('192.0.2.7:1234')
    expect(peer('2001:db8::7')).toBe('[2001:db8::7]:999')
    expect(peer('[2001:db8::7]:1234')).toBe('[2001:db8::7]:1234')
    for (const nonsense of ['unknown', '', ' ', '192.0.2.7, ', 'x'.repeat(8000), '192.0.2.7/24'])
      expect(peer(nonsense)).toBe('10.0.0.1:999')
    expect(peer('nonsense, 10.0.0.2')).toBe('10.0.0.2:999')
  })
})

import { describe, expect, test } from 'vitest'
import { isWithin, NetworkSet, networkOf, PeerNetworks, parseNetwork } from '../../src/base/networks.ts'

describe('what counts as one address', () => {
  test.each([
    ['192.0.2.1:5', '192.0.2.1'],
    ['[::ffff:192.0.2.1]:5', '192.0.2.1'],
    ['[64:ff9b::192.0.2.1]:5', '192.0.2.1'],
    ['[64:ff9b:1::192.0.2.1]:5', '64:ff9b:1:0::/64'],
    ['[2001:db8:1:2:3:4:5:6]:5', '2001:db8:1:2::/64'],
    ['[2001:DB8:1:2::]:5', '2001:db8:1:2::/64'],
    ['[::1]:5', '0:0:0:0::/64'],
    // All of a link's addresses have the same /64.
    ['[fe80::1%eth0]:5', 'fe80:0:0:0:0:0:0:1'],
    ['192.0.2.1:5@field/node:0a1b', '192.0.2.1'],
    ['0.0.0.0:5', '0.0.0.0'],
    ['192.0.02.1:5', '192.0.2.1'],
  ])('%s is %s', (peer, network) => expect(networkOf(peer)).toBe(network))

  test.each([
    'unix:/run/roost.sock',
    '/dev/ttyUSB0',
    '*',
    'unknown:0',
    'test',
    '',
    '1.2.3:4',
    '1.2.3.4',
    '1.2.3.4:',
    '1.2.3.4.5:6',
    '.1.2.3:4',
    '256.1.1.1:5',
    '[zz::1]:5',
  ])('%j has no address', (peer) => expect(networkOf(peer)).toBeUndefined())
})

test('what is longer than any address is none, and is not looked through', () => {
  const anywhere = [parseNetwork('::/0')!, parseNetwork('0.0.0.0/0')!]
  expect(isWithin('0000:0000:0000:0000:0000:ffff:255.255.255.255%interface-name', anywhere)).toBe(true)
  for (const text of [`${'0'.repeat(100)}1.2.3.4`, `::1%${'z'.repeat(100)}`]) {
    expect(isWithin(text, anywhere)).toBe(false)
    expect(parseNetwork(text)).toBeUndefined()
    expect(networkOf(`[${text}]:5`)).toBeUndefined()
  }
})

test('a set of networks finds the same as looking at each', () => {
  const networks = ['10.0.0.0/8', '192.0.2.128/25', '198.51.100.7', '2001:db8::/33', '::1', '::/0', 'fe80::/10', '0.0.0.0/0'].map(
    (text) => parseNetwork(text)!,
  )
  const ips =
    '10.1.1.1 11.0.0.1 192.0.2.127 192.0.2.128 198.51.100.7 198.51.100.6 2001:db8::5 2001:db8:8000:: ::1 ::2 fe80::9 nobody'
  for (let from = 0; from <= networks.length; from++) {
    for (let to = from; to <= networks.length; to++) {
      const some = networks.slice(from, to)
      const set = new NetworkSet(some)
      for (const ip of ips.split(' ')) expect([ip, set.has(ip)]).toEqual([ip, isWithin(ip, some)])
    }
  }
})

test('peers with IPv4 addresses are found in the same networks as their addresses', () => {
  const networks =
    '10.0.0.0/8 192.0.2.128/25 198.51.100.7 0.0.0.0/0 128.0.0.0/1 ::/0 ::/96 ::ffff:0:0/96 ::ffff:10.1.0.0/112 2001:db8::/33'
  const ips =
    '0.0.0.0 10.1.1.1 10.2.0.0 11.0.0.1 127.255.255.255 128.0.0.1 192.0.2.127 192.0.2.128 198.51.100.7 198.51.100.6 255.255.255.255'
  for (const text of networks.split(' ')) {
    const network = parseNetwork(text)!
    const peers = new PeerNetworks([parseNetwork('203.0.113.9')!, network])
    for (const ip of ips.split(' '))
      expect([text, ip, peers.hasPlain(`${ip}:5@field/node:0a`)]).toEqual([text, ip, isWithin(ip, [network])])
    for (const peer of ['[::1]:5', '/dev/ttyUSB0', '1.2.3.4', '1.2.3.4:', '192.0.02.1:5', '*'])
      expect(peers.hasPlain(peer)).toBeUndefined()
    expect(peers.has('2001:db8::5')).toBe(isWithin('2001:db8::5', [network]))
  }
})

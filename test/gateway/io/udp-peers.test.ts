import { expect, test } from 'vitest'
import { UdpPeers } from '../../../src/gateway/io/udp-peers.ts'

test('the route of a sender, and back', () => {
  const peers = new UdpPeers('sn')
  const others = new UdpPeers('field')
  expect(peers.routeOf({ address: '192.0.2.7', port: 51234, family: 'IPv4' })).toBe('192.0.2.7:51234')
  expect(others.routeOf({ address: 'fe80::1%eth0', port: 1884, family: 'IPv6' })).toBe('[fe80::1%eth0]:1884@field')
  expect(peers.at('192.0.2.7:51234')).toMatchObject({ host: '192.0.2.7', port: 51234 })
  expect(others.at('[fe80::1%eth0]:1884@field')).toMatchObject({ host: 'fe80::1%eth0', port: 1884 })
})

test('senders that share a place: the same UDP port of other hosts, and ports 1024 apart', () => {
  const peers = new UdpPeers('sn')
  for (let round = 0; round < 2; round++)
    for (const address of ['192.0.2.7', '192.0.2.8'])
      for (const port of [5000, 6024, 7048]) expect(peers.routeOf({ address, port, family: 'IPv4' })).toBe(`${address}:${port}`)
})

test('more receivers than are remembered', () => {
  const peers = new UdpPeers('sn')
  for (let round = 0; round < 2; round++)
    for (let port = 1; port <= 3000; port++) expect(peers.at(`192.0.2.7:${port}`)).toMatchObject({ host: '192.0.2.7', port })
})

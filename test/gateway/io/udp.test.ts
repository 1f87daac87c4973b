import type { RemoteInfo } from 'node:dgram'
import { DgramAsPromised } from 'dgram-as-promised'
import { afterEach, expect, test, vi } from 'vitest'
import type { Notice } from '../../../src/base/notice.ts'
import { UdpPort } from '../../../src/gateway/io/udp.ts'
import { routeAt } from '../../../src/gateway/ports/route.ts'

afterEach(() => vi.restoreAllMocks())

/** Source port 0 takes a raw socket, so the datagram is put in where Node hands it over. */
async function portWithDoor(): Promise<{ port: UdpPort; from: (info: RemoteInfo) => void; heard: string[]; notices: Notice[] }> {
  const created = vi.spyOn(DgramAsPromised, 'createSocket')
  const heard: string[] = []
  const notices: Notice[] = []
  const options = { name: 'udp', host: '127.0.0.1', port: 0, multicast: { group: 'none', interface: undefined, ttl: 1, port: 0 } }
  const port = await UdpPort.bind(
    options,
    (route) => heard.push(route),
    (notice) => notices.push(notice),
  )
  const receive = created.mock.calls[0]![1] as unknown as (bytes: Buffer, from: RemoteInfo) => void
  return { port, heard, notices, from: (info) => receive(Buffer.from('030100', 'hex'), info) }
}

const at = (port: number): RemoteInfo => ({ address: '127.0.0.1', family: 'IPv4', port, size: 3 })

test('a datagram from port 0, which cannot be answered, is reported and ignored', async () => {
  const { port, from, heard, notices } = await portWithDoor()
  from(at(0))
  from(at(1024))
  expect(heard).toEqual([routeAt('127.0.0.1:1024', 'udp')])
  expect(notices.map(({ code, peer }) => [code, peer])).toEqual([['malformed-datagram', routeAt('127.0.0.1:0', 'udp')]])
  await port.close()
})

test('an address that cannot be sent to is reported, and does not end the process', async () => {
  const { port, notices } = await portWithDoor()
  port.send(routeAt('127.0.0.1:0', 'udp'), Buffer.from('0217', 'hex'))
  expect(notices.map(({ code }) => code)).toEqual(['port-failed'])
  await port.close()
})

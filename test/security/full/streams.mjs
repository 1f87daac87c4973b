// What streams take: RSS of the started process, beside what the account says of it. Most of it is Node's, libuv's and OpenSSL's, which no heap shows.
import { once } from 'node:events'
import { connect as connectTls } from 'node:tls'
import { WebSocket } from 'ws'
import { halfHandshakes } from './memory-attacks.mjs'
import { Client, CONNECT, encoded } from './started.mjs'

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time))
const connect = (kind, i) => encoded({ ...CONNECT, clientId: `${kind} ${i} ${process.hrtime.bigint()}` })
const address = (i) => `127.0.1.${1 + (i % 16)}`

const OPEN = {
  TCP: async ({ port }, i) => Client.connected(port, { clientId: `tcp ${i}` }, { localAddress: address(i) }),
  TLS: async ({ ports }, i) => {
    const options = { port: ports.tls, host: '127.0.0.1', localAddress: address(i), rejectUnauthorized: false }
    const socket = connectTls(options).on('error', () => {})
    await once(socket, 'secureConnect')
    socket.write(connect('tls', i))
    await once(socket, 'data')
    return { end: () => socket.destroy() }
  },
  WebSocket: async ({ ports }, i) => {
    const socket = new WebSocket(`ws://127.0.0.1:${ports.ws}/mqtt`, 'mqtt', { localAddress: address(i) }).on('error', () => {})
    await once(socket, 'open')
    socket.send(connect('ws', i))
    await once(socket, 'message')
    return { end: () => socket.terminate() }
  },
}

async function openAll(roost, kind, count) {
  if (kind === 'half handshakes') return (await halfHandshakes(roost, count)).clients
  const clients = []
  for (let i = 0; i < count; i += 50) {
    const some = Array.from({ length: Math.min(50, count - i) }, (_, j) => OPEN[kind](roost, i + j))
    clients.push(...(await Promise.all(some)))
  }
  return clients
}

/** Bytes by the account, from `$SYS` with an interval of a second. */
async function accountOf(roost) {
  await sleep(1500)
  const client = await Client.connected(roost.port, { clientId: 'reader' })
  client.subscribe('$SYS/broker/roost/memory/used', 0)
  for (;;) {
    const packet = await client.next()
    if (packet.type !== 3) continue
    client.end()
    return Number(Buffer.from(packet.payload).toString())
  }
}

export const KINDS = [...Object.keys(OPEN), 'half handshakes']

/** In a process of its own, with `transports` of ./sites.mjs: pages that others have let go are taken again, and RSS would not show it. */
export async function streams(roost, wants, kind, count = 1500) {
  // What the first of them make the process keep for good is not theirs.
  for (const client of await openAll(roost, kind, 100)) client.end()
  await sleep(2500)
  await roost.heap()
  const before = [roost.rss, await accountOf(roost)]
  const clients = await openAll(roost, kind, count)
  await roost.heap()
  const [real, account] = [roost.rss - before[0], (await accountOf(roost)) - before[1]]
  const figures = `${kind} ${(real / count / 1000).toFixed(1)} kB, ${(account / count / 1000).toFixed(1)} by the account`
  for (const client of clients) client.end()
  // OpenSSL lets go of much once a handshake is done, and the next one takes it: TLS one after the other is less than what all at once would be.
  const least = kind === 'TLS' ? 0.5 : 0.75
  wants(real < 1.25 * account && real > least * account, `within 25 %: ${figures}`)
  return figures
}

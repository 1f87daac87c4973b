import { expect, test } from 'vitest'
import { Memory } from '../../src/base/memory.ts'
import type { TestClient } from './harness.ts'
import { connectPacket, PERSISTENT, TestBroker, will } from './harness.ts'

// What clients are told of a bound on memory: fixed words with its key, whoever asks. Figures are about others too, and for the log alone.

const LIMIT = 200_000
const LONG = 'x'.repeat(10_000)
const WORDS = 'no memory is left (memory_limit)'

/** The Reason Strings of what the broker has for this client. */
function told(client: TestClient): string[] {
  const strings: string[] = []
  for (let packet = client.link.poll(client.world.now); packet !== undefined; packet = client.link.poll(client.world.now)) {
    if ('properties' in packet && packet.properties.reasonString !== undefined) strings.push(packet.properties.reasonString)
    if ('reason' in packet && typeof packet.reason === 'string') strings.push(packet.reason)
  }
  return strings
}

/** A broker of which one client has taken all that there is. */
function full(): { readonly world: TestBroker; readonly filler: TestClient } {
  const world = new TestBroker({ memory: new Memory({ memoryLimit: LIMIT }) })
  const away = world.connect('away', PERSISTENT)
  away.subscribe('away', 1)
  away.lost()
  const filler = world.connect('filler')
  for (let i = 0; i < 200 && world.notices.every(({ limit }) => limit !== 'memory_limit'); i++) filler.subscribe(`${i}/${LONG}`)
  // The rest, in small pieces.
  for (let i = 0; i < 200; i++) filler.subscribe(`${i}`)
  told(filler)
  world.notices.length = 0
  return { world, filler }
}

test.each([
  ['CONNECT', (client: TestClient) => void client.send(connectPacket('new'))],
  ['CONNECT with a will', (client: TestClient) => void client.send(connectPacket('new', { will: will('w', LONG) }))],
])('%s: CONNACK', (_name, act) => {
  const { world } = full()
  const client = world.open()
  act(client)
  expect(told(client)).toContain(WORDS)
  expect(world.notices.at(-1)).toMatchObject({ code: 'client-refused', limit: 'memory_limit' })
  expect(world.notices.at(-1)!.reason).toContain('MiB')
})

test.each([
  ['SUBSCRIBE', (client: TestClient) => client.subscribe(`new/${LONG}`)],
  ['PUBLISH with QoS 1', (client: TestClient) => client.publish('away', LONG, 1, 7)],
  ['PUBLISH with QoS 2', (client: TestClient) => client.publish('away', LONG, 2, 7)],
  ['PUBLISH, retained', (client: TestClient) => client.publish('kept', LONG, 1, 7, { retain: true })],
])('%s', (_name, act) => {
  const { world, filler } = full()
  act(filler)
  const strings = told(filler)
  expect(strings).toHaveLength(1)
  expect([WORDS, 'beyond memory_limit']).toContain(strings[0])
  expect(world.notices.at(-1)).toMatchObject({ limit: 'memory_limit' })
  expect(world.notices.at(-1)!.reason).toContain('MiB')
})

test('shares of a client are told by their key', () => {
  const world = new TestBroker({ memory: new Memory({ maxMemoryPerClient: 5000 }) })
  const client = world.connect('c')
  client.subscribe(`new/${LONG}`)
  expect(told(client)).toEqual(['no memory is left (max_memory_per_client)'])
})

import { expect, test } from 'vitest'
import { bridgeLines } from '../../../src/cli/http/bridges.ts'
import { bridgeRoutes } from '../../../src/http/api/bridges.ts'
import { bridgeFamilies } from '../../../src/http/bridge-metrics.ts'
import { bridge, Pair } from '../../upstream/bridge-world.ts'
import { TestApi } from '../harness.ts'

const bodyOf = (pair: Pair) => {
  const [route] = bridgeRoutes(pair.near.server)
  const answer = route!.answer({ now: pair.now } as never) as { body: string }
  return JSON.parse(answer.body).bridges
}

test('without bridges the list is empty', () => {
  expect(new TestApi().ask('GET', '/api/v1/bridges').body).toEqual({ bridges: [] })
  expect([...bridgeFamilies(0, new TestApi().server)]).toEqual([])
})

test('what is connected, and what waits while it is not', () => {
  const pair = new Pair([bridge(['a/# out 1 x/ y/'])])
  const near = pair.near.client('n').publish('x/a/b', 'one', 1)
  expect(bodyOf(pair)).toMatchObject([
    {
      ...{
        name: 'head',
        state: 'connected',
        target: 'mqtt://far:1883',
        client: 'mqtt:bridge:head',
        remote_client_id: 'site.head',
      },
      topics: [{ pattern: 'a/#', direction: 'out', qos: 1, local_prefix: 'x/', remote_prefix: 'y/' }],
      ...{ waiting: { messages: 0, bytes: 0 }, in_flight: 0, sent: 1, received: 0, refused: 0, version: '5.0', connects: 1 },
    },
  ])
  pair.advance(60_000)
  pair.down()
  near.publish('x/a/b', 'two', 1).publish('x/a/b', 'three', 1)
  pair.advance(30_500)
  const [shown] = bodyOf(pair)
  expect(shown).toMatchObject({ state: 'connecting', waiting: { messages: 2 }, oldest_seconds: 30 })
  expect(shown.last_error).toContain('ECONNREFUSED')
  expect(shown.since).toBe('2027-01-15T08:01:00Z')
  const families = [...bridgeFamilies(pair.now, pair.near.server)]
  const samplesOf = (name: string) => families.find((family) => family.name === name)!.samples
  expect(samplesOf('roost_bridge_connected')).toEqual([[{ bridge: 'head' }, 0]])
  expect(samplesOf('roost_bridge_waiting_messages')).toEqual([[{ bridge: 'head' }, 2]])
  expect(samplesOf('roost_bridge_oldest_waiting_seconds')).toEqual([[{ bridge: 'head' }, 30]])
  expect(bridgeLines([shown], 1_800_000_000_000 + pair.now)).toEqual([
    expect.stringMatching(/^BRIDGE +STATE +SINCE +REMOTE BROKER/),
    expect.stringMatching(/^head +connecting .* mqtt:\/\/far:1883 .* 30 s /),
    'head: connect ECONNREFUSED\n',
  ])
})

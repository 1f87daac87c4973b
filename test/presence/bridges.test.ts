import { expect, test } from 'vitest'
import { bridge, type Client, Pair } from '../upstream/bridge-world.ts'

const TOPIC = '$SYS/broker/roost/bridges/head'
/** With topics under `$SYS`, but rarely. */
const SYS = { sysInterval: 100_000 }

/** The states that have come, without what does not change. */
const states = (client: Client): Record<string, unknown>[] =>
  client.heard().map((line) => {
    expect(line).toMatch(/^\$SYS\/broker\/roost\/bridges\/head=.* q0( retain)?$/)
    return JSON.parse(line.slice(TOPIC.length + 1, line.lastIndexOf('}') + 1))
  })

test('the state of a bridge is a retained message: as it is when somebody subscribes, and when it changes', () => {
  const pair = new Pair([bridge(['a out 1'])], SYS)
  // Long enough for a PINGREQ.
  pair.advance(100_000)
  const watcher = pair.near.client('watcher').subscribe('$SYS/broker/roost/bridges/+')
  const up = { name: 'head', state: 'connected', since: '2027-01-15T08:00:00Z', target: 'mqtt://far:1883', version: '5.0' }
  expect(states(watcher)).toEqual([{ ...up, waiting_messages: 0, waiting_bytes: 0, dials: 1, connects: 1, round_trip_ms: 0 }])
  pair.advance(600_000)
  expect(states(watcher)).toEqual([])

  pair.down()
  pair.near.client('n').publish('a', 'waits', 1)
  pair.advance(1000)
  const lost = states(watcher).at(-1)!
  expect(lost).toMatchObject({ state: 'connecting', since: '2027-01-15T08:11:40Z', waiting_messages: 1 })
  expect(lost).toMatchObject({ waiting_since: '2027-01-15T08:11:40Z', last_error: 'cut' })
  pair.advance(30_000)
  // It dials every second, so that each second says something else.
  expect(states(watcher).length).toBeLessThanOrEqual(31)
  pair.up()
  expect(states(watcher).at(-1)).toMatchObject({ state: 'connected', waiting_messages: 0, connects: 2 })
})

test('while nobody subscribes there is no timer, and nobody else publishes there', () => {
  const pair = new Pair([bridge(['a out 1'], { startType: 'lazy' })], SYS)
  pair.advance(600_000)
  expect(pair.near.server.nextTimeout() ?? Number.POSITIVE_INFINITY).toBeGreaterThan(pair.now + 1000)
  const watcher = pair.near.client('watcher').subscribe('$SYS/broker/roost/bridges/head')
  expect(states(watcher)).toMatchObject([{ state: 'idle', dials: 0 }])
  pair.near.client('n').publish(TOPIC, 'mine', 1, { retain: true })
  pair.advance(2000)
  expect(states(watcher)).toEqual([])
  pair.near.client('other').subscribe('$SYS/broker/roost/bridges/another')
  expect(states(watcher)).toEqual([])
})

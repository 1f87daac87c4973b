import { describe, expect, test } from 'vitest'
import { VERSIONS, WireClient, world } from '../mqtt/wire-client.ts'

/** Filter, topics that it matches, topics that it does not. */
const TABLE: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['a/#', ['a', 'a/', 'a/b', 'a/b/c', 'a//'], ['ab', 'A', '/a', '']],
  ['a/b/#', ['a/b', 'a/b/c'], ['a', 'a/bc']],
  ['+/#', ['a', 'a/', '/', '/a', 'a/b/c', '//'], []],
  ['a/+/#', ['a/b', 'a/', 'a/b/c', 'a//c'], ['a', 'b/c']],
  ['#', ['a', '/', '/a', 'a/b', '//'], []],
  ['/#', ['/', '/a', '//', ''], ['a', 'a/b']],
  ['+', ['a', 'bc'], ['/', 'a/', '/a', 'a/b']],
  ['+/', ['/', 'a/'], ['a', '/a', 'a/b', '//']],
  ['/+', ['/', '/a'], ['a', '/a/b', '//']],
  ['+/+', ['/', 'a/', '/a', 'a/b'], ['a', 'a/b/c', '//']],
  ['+/+/+', ['//', 'a/b/c', 'a//c'], ['/', 'a/b', '///']],
  ['a/+', ['a/', 'a/b'], ['a', 'a/b/c', 'b/c']],
  ['a/+/c', ['a/b/c', 'a//c'], ['a/c', 'a/b/d', 'a/b/c/d']],
  ['/', ['/'], ['', 'a', '//', 'a/']],
  ['//', ['//'], ['/', '///', 'a//']],
  ['a//b', ['a//b'], ['a/b', 'a/x/b']],
  ['a/', ['a/'], ['a', 'a//']],
  ['+/a/#', ['/a', 'b/a', 'b/a/c'], ['a', 'a/b']],
]

describe.each(VERSIONS)('behaviour 39: levels (version %i)', (protocolVersion) => {
  test.each(TABLE)('%s matches %j, and not %j', (filter, matching, others) => {
    const wire = world()
    const other = WireClient.connect(wire)
    const client = WireClient.connect(wire, { protocolVersion }).subscribed([filter, `$share/g/${filter}`])
    const topics = [...matching, ...others].filter((topic) => topic !== '')
    for (const topic of topics) other.publish(topic, 'x', 0, { retain: true })
    const wanted = topics.filter((topic) => matching.includes(topic)).map((topic) => `${topic}=x q0`)
    // Once as itself, and once as the only member of its group.
    expect(client.hears().toSorted()).toEqual([...wanted, ...wanted].toSorted())
    client.unsubscribe([filter, `$share/g/${filter}`])
    for (const topic of topics) other.publish(topic)
    expect(client.hears()).toHaveLength(1)
    client.subscribe(filter)
    expect(client.hears().slice(1).toSorted()).toEqual(wanted.map((heard) => `${heard} retain`).toSorted())
  })
})

describe.each(VERSIONS)('behaviour 40: topics that start with $ (version %i)', (protocolVersion) => {
  const TOPICS = ['$SYS/broker/x', '$own/x', '$own', '$']
  const heardBy = (filter: string): { live: string[]; retained: string[] } => {
    const wire = world()
    const other = WireClient.connect(wire)
    const client = WireClient.connect(wire, { protocolVersion }).subscribed(filter)
    const publish = (): void => {
      for (const topic of TOPICS.slice(1)) other.publish(topic, 'x', 0, { retain: true })
      wire.broker.publishSys(0, '$SYS/broker/x', 'x')
      wire.run()
    }
    publish()
    const topicsOf = (heard: string[]): string[] => heard.filter((one) => one.includes('=')).map((one) => one.split('=')[0]!)
    const live = topicsOf(client.hears()).toSorted()
    const late = WireClient.connect(wire, { protocolVersion })
    late.subscribe(filter)
    return { live, retained: topicsOf(late.hears()).toSorted() }
  }

  test.each(['#', '+', '+/#', '+/x', '+/broker/x', '+/+'])('%s does not see them, shared or not', (filter) => {
    expect(heardBy(filter)).toEqual({ live: [], retained: [] })
    expect(heardBy(`$share/g/${filter}`)).toEqual({ live: [], retained: [] })
  })

  test.each([
    ['$SYS/#', ['$SYS/broker/x']],
    ['$SYS/+/x', ['$SYS/broker/x']],
    ['$own/#', ['$own', '$own/x']],
    ['$own/+', ['$own/x']],
    ['$', ['$']],
  ])('%s sees %j; shared, only those that come live', (filter, topics) => {
    expect(heardBy(filter)).toEqual({ live: topics, retained: topics })
    expect(heardBy(`$share/g/${filter}`)).toEqual({ live: topics, retained: [] })
  })

  test('wildcards further on see levels that start with $', () => {
    const wire = world()
    const client = WireClient.connect(wire, { protocolVersion }).subscribed(['#', 'a/+', '+/+'])
    WireClient.connect(wire).publish('a/$b')
    expect(client.hears()).toEqual(['a/$b=x q0'])
  })
})

import { expect, test, vi } from 'vitest'
import { NameMap } from '../../src/base/name-map.ts'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import { PERSISTENT, TestBroker } from './harness.ts'

/** A broker that counts how often it asks who may read: once for each receiver of each route that is made. */
function counting(): { world: TestBroker; asked: () => string[] } {
  let asked: string[] = []
  const read = (_who: object, topic: string): boolean => {
    asked.push(topic)
    return true
  }
  const world = new TestBroker({ access: { ...OPEN_ACCESS, read } })
  const take = (): string[] => {
    const taken = asked
    asked = []
    return taken
  }
  return { world, asked: take }
}

test('a change of subscriptions makes the routes anew that it touches, and no others', () => {
  const { world, asked } = counting()
  const reader = world.connect('reader')
  reader.subscribe('#')
  const publisher = world.connect('publisher')
  const publishAll = (): string[] => {
    for (const topic of ['a', 'b/c', 'd']) publisher.publish(topic, 'x')
    return asked()
  }
  // Only what comes again is worth keeping.
  for (let time = 0; time < 2; time++) expect(publishAll()).toEqual(['a', 'b/c', 'd'])
  expect(publishAll()).toEqual([])
  const other = world.connect('other')
  other.subscribe('a')
  expect(publishAll()).toEqual(['a', 'a'])
  other.subscribe('b/+')
  expect(publishAll()).toEqual(['b/c', 'b/c'])
  other.unsubscribe('b/+')
  expect(publishAll()).toEqual(['b/c'])
  other.subscribe('$share/g/b/#')
  expect(publishAll()).toEqual(['b/c', 'b/c'])
  other.disconnect()
  expect(publishAll()).toEqual(['a', 'b/c'])
})

test('a client that comes back and subscribes to the same again changes no route', () => {
  const { world, asked } = counting()
  const connect = () => {
    const client = world.connect('reader', PERSISTENT)
    client.subscribe('#', 1)
    return client
  }
  const first = connect()
  const publisher = world.connect('publisher')
  for (const topic of ['a', 'b', 'a', 'b']) publisher.publish(topic, 'x')
  expect(asked()).toEqual(['a', 'b', 'a', 'b'])
  first.disconnect()
  const again = connect()
  for (const topic of ['a', 'b']) publisher.publish(topic, 'y')
  expect(asked()).toEqual([])
  expect(again.poll()).toEqual(['SUBACK #100 1', 'a=y q0', 'b=y q0'])
})

test('another user of the same session is asked about again', () => {
  const world = new TestBroker({ access: { ...OPEN_ACCESS, read: ({ username }) => username === 'owner' } })
  const connect = (username: string) => world.connect('reader', { ...PERSISTENT, username })
  const owner = connect('owner')
  owner.subscribe('a')
  const publisher = world.connect('publisher')
  publisher.publish('a', '1')
  expect(owner.poll()).toEqual(['SUBACK #100', 'a=1 q0'])
  const other = connect('other')
  publisher.publish('a', '2')
  expect(other.poll()).toEqual([])
  const again = connect('owner')
  publisher.publish('a', '3')
  expect(again.poll()).toEqual(['a=3 q0'])
})

test('counting shared subscriptions does not visit them, however they come and go', () => {
  const { world } = counting()
  const [a, b] = [world.connect('a'), world.connect('b', PERSISTENT)]
  const { broker } = world
  const counts = (): number[] => [broker.subscriptionCount, broker.sharedSubscriptionCount]
  for (const client of [a, b]) client.subscribe('$share/g/x/#')
  a.subscribe('$share/h/x', 1)
  a.subscribe('$share/h/x', 2)
  a.subscribe('x')
  const visits = vi.spyOn(NameMap.prototype, 'values')
  expect(counts()).toEqual([4, 3])
  expect(visits).not.toHaveBeenCalled()
  visits.mockRestore()
  a.unsubscribe('$share/g/x/#')
  a.unsubscribe('$share/g/x/#')
  expect(counts()).toEqual([3, 2])
  b.lost()
  expect(counts()).toEqual([3, 2])
  world.advance(3600_000)
  expect(counts()).toEqual([2, 1])
  a.disconnect()
  expect(counts()).toEqual([0, 0])
})

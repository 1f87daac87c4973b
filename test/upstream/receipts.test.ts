import { describe, expect, test } from 'vitest'
import { PacketType } from '../../src/mqtt/packets.ts'
import { bridge, Pair } from './bridge-world.ts'

const LASTING = { cleanStart: false, properties: { sessionExpiryInterval: 1000 } }

/** The next packet of this type that the near or the far side writes is lost, and the connection with it. */
function lose(pair: Pair, side: 'near' | 'far', type: number): void {
  const write = pair.write.bind(pair)
  pair.write = (site, connection, bytes) => {
    if (site !== pair[side] || bytes[0]! >> 4 !== type) {
      write(site, connection, bytes)
      return
    }
    pair.write = write
    pair.cut()
  }
}

test('the local store is full when PUBREC comes, and the window is full of other messages: it goes on when there is room', () => {
  const pair = new Pair([bridge(['# out 2'], { window: 2, notificationTopic: undefined })], {}, { broker: { receiveMaximum: 1 } })
  const far = pair.far.client('f').subscribe('#')
  const write = pair.write.bind(pair)
  const held: (() => void)[] = []
  pair.write = (site, connection, bytes) => {
    if (site === pair.far && bytes[0]! >> 4 === PacketType.PUBREC) held.push(() => write(site, connection, bytes))
    else write(site, connection, bytes)
  }
  const near = pair.near.client('n')
  near.publish('a', '1', 2).publish('a', '2', 2).publish('a', '3', 0)
  expect(held).toHaveLength(1)
  pair.write = write
  pair.near.store.refuse = true
  held[0]!()
  pair.run()
  pair.advance(5000)
  pair.near.store.refuse = false
  pair.advance(5000)
  expect(far.heard()).toEqual(['a=1 q2', 'a=2 q2', 'a=3 q0'])
  expect(pair.near.server.broker.sessions.byKey('mqtt:bridge:head')!.inflight?.size ?? 0).toBe(0)
})

describe('a receipt of QoS 2 from before a restart', () => {
  /** A message has been stored here, of which the far side has got no PUBREC, and the process is killed. */
  function received(topic: string): Pair {
    const pair = new Pair([bridge(['# in 2 local/ ""'])])
    pair.near.client('n', LASTING).subscribe('local/#').mqtt.disconnect(pair.now)
    pair.run()
    lose(pair, 'near', PacketType.PUBREC)
    pair.far.client('f').publish(topic, 'on', 2)
    pair.down()
    pair.near.crash()
    return pair
  }
  const heard = (pair: Pair): string[] => pair.near.client('n', LASTING).heard()
  const receipts = (pair: Pair): number => pair.near.server.broker.sessions.byKey('mqtt:bridge:head')!.receipts?.size ?? 0

  /** The far side loses the session, and the CONNACK that says so is lost. */
  function forget(pair: Pair): void {
    pair.far.client('site.head', { version: 4, cleanStart: true }).mqtt.disconnect(pair.now)
    pair.run()
    lose(pair, 'far', PacketType.CONNACK)
    pair.up()
    expect(pair.near.server.bridges!.all[0]!.state).toBe('connected')
  }

  test('finds the message that comes again', () => {
    const pair = received('a')
    pair.up()
    expect(heard(pair)).toEqual(['local/a=on q2'])
    expect(receipts(pair)).toBe(0)
  })

  test.each([
    ['another payload', 'a', 'off'],
    ['another topic', 'b', 'on'],
  ])('does not swallow a message with %s: the far side has lost the session, and no CONNACK said so', (_what, topic, text) => {
    for (const isRepeated of [false, true]) {
      const pair = received('a')
      forget(pair)
      if (isRepeated) lose(pair, 'far', PacketType.PUBLISH)
      pair.far.client('f').publish(topic, text, 2)
      pair.advance(5000)
      expect(heard(pair)).toEqual(['local/a=on q2', `local/${topic}=${text} q2`])
      expect(receipts(pair)).toBe(0)
      expect(pair.far.server.broker.sessions.byKey('mqtt:site.head')!.inflight?.size ?? 0).toBe(0)
    }
  })
})

import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import type { QoS } from '../../src/mqtt/publish.ts'
import { PERSISTENT, TestBroker } from '../broker/harness.ts'
import { say, TestGateway } from '../gateway/harness.ts'
import { Wire } from '../mqtt/wire.ts'
import { persistent, resumed, VERSIONS, WireClient, world } from '../mqtt/wire-client.ts'

const messages = (client: WireClient): string[] =>
  client
    .hears()
    .filter((heard) => heard.includes('='))
    .map((heard) => heard.slice(heard.indexOf('=') + 1))

describe.each(VERSIONS)('behaviour 41: shared subscriptions (version %i)', (protocolVersion) => {
  const lasting = (clientId: string) => ({ clientId, ...persistent(protocolVersion) })
  const member = (wire: Wire, clientId: string, qos: QoS = 2, filter = '$share/g/a'): WireClient =>
    WireClient.connect(wire, lasting(clientId)).subscribed(filter, qos)

  test('each message goes to one member of each group, and to each that subscribes for itself', () => {
    const wire = world()
    const first = member(wire, '1')
    const second = member(wire, '2')
    const elsewhere = member(wire, '3', 1, '$share/h/+')
    const alone = WireClient.connect(wire, { protocolVersion }).subscribed('a')
    const other = WireClient.connect(wire)
    for (let i = 0; i < 10; i++) other.publish('a', String(i))
    const [one, two] = [messages(first), messages(second)]
    expect([one.length, two.length]).toEqual([5, 5])
    expect([...one, ...two].toSorted()).toEqual(messages(alone))
    expect(messages(elsewhere)).toHaveLength(10)
  })

  test('one client is one member, with the options of its last SUBSCRIBE', () => {
    const wire = world()
    const client = member(wire, 'c', 0)
    client.subscribed('$share/g/a', 1)
    WireClient.connect(wire).publish('a', 'x', 2)
    expect(client.hears()).toEqual(['a=x q1 #1'])
    expect(wire.broker.sharedSubscriptionCount).toBe(1)
  })

  test('the member with the least to do gets it', () => {
    const wire = world()
    const slow = member(wire, 'slow')
    const quick = member(wire, 'quick')
    const other = WireClient.connect(wire)
    const heard = { slow: 0, quick: 0 }
    for (let i = 0; i < 20; i++) {
      other.publish('a', 'x', 1)
      heard.slow += slow.hears().length
      for (const line of quick.hears()) {
        heard.quick++
        quick.ack(4, Number(/#(\d+)/.exec(line)![1]))
      }
    }
    // What the slow one has not acknowledged counts against it.
    expect(heard).toEqual({ slow: 1, quick: 19 })
  })

  test('never an offline member while another is online', () => {
    const wire = world()
    const away = member(wire, 'away')
    const there = member(wire, 'there')
    const other = WireClient.connect(wire)
    away.lost()
    for (let i = 0; i < 30; i++) other.publish('a', String(i), (i % 3) as QoS)
    // Twenty are in flight, the rest waits behind them: all the same, nobody is away for it.
    for (let id = 1; id <= 20; id++) for (const type of [4, 5, 7] as const) there.ack(type, id)
    expect(messages(there)).toHaveLength(30)
    expect(new WireClient(wire, lasting('away')).hears()).toEqual([resumed(protocolVersion)])
  })

  test('a member that does not read counts as offline', () => {
    const wire = world()
    const full = member(wire, 'full')
    const there = member(wire, 'there')
    wire.congested(full.connection, true)
    full.hears()
    const other = WireClient.connect(wire)
    for (let i = 0; i < 4; i++) other.publish('a', String(i), 1)
    expect(messages(there)).toHaveLength(4)
    wire.congested(full.connection, false)
    other.publish('a', 'again', 1)
    expect(messages(full)).toEqual(['again q1 #1'])
  })

  test('with all offline, the member with the fewest queued gets it', () => {
    const wire = world()
    for (const id of ['1', '2', '3']) member(wire, id).lost()
    const filled = WireClient.connect(wire, lasting('2')).subscribed('b', 1)
    filled.lost()
    const other = WireClient.connect(wire)
    for (let i = 0; i < 4; i++) other.publish('b', 'own', 1)
    for (let i = 0; i < 7; i++) other.publish('a', String(i), 1)
    const counts = ['1', '2', '3'].map((id) => messages(new WireClient(wire, lasting(id))).length)
    expect(counts.toSorted()).toEqual([3, 4, 4])
    expect(counts[1]).toBe(4)
  })

  test('with all offline, not a member that was granted QoS 0, for whom nothing is kept', () => {
    const wire = world()
    member(wire, 'zero', 0).lost()
    member(wire, 'one', 1).lost()
    const other = WireClient.connect(wire)
    for (let i = 0; i < 3; i++) other.publish('a', String(i), 2)
    expect(messages(new WireClient(wire, lasting('one')))).toEqual(['0 q1 #1', '1 q1 #2', '2 q1 #3'])
  })

  test('a member whose queue is full comes behind those who have room, among those who are away too', () => {
    const wire = world({ limits: { maxQueuedBytes: 100 } })
    const large = 'x'.repeat(90)
    for (const id of ['1', '2']) member(wire, id, 1).lost()
    // One large message waits for the first, and two small ones for the second.
    WireClient.connect(wire, lasting('1')).subscribed('large', 1).lost()
    WireClient.connect(wire, lasting('2')).subscribed('small', 1).lost()
    const other = WireClient.connect(wire)
    other.publish('large', large, 1)
    for (let i = 0; i < 2; i++) other.publish('small', 'x', 1)
    other.publish('a', 'y'.repeat(50), 1)
    expect(wire.codes()).not.toContain('queue-full')
    expect(messages(new WireClient(wire, lasting('2')))).toHaveLength(3)
  })

  test('QoS 2 stays with its member, whatever becomes of the connection', () => {
    const wire = Wire.stored()
    const first = member(wire, '1')
    WireClient.connect(wire).publish('a', 'x', 2)
    const second = member(wire, '2')
    first.lost()
    expect(messages(second)).toEqual([])
    const again = wire.restarted()
    const other = new WireClient(again, lasting('2'))
    expect(messages(other)).toEqual([])
    expect(messages(new WireClient(again, lasting('1')))).toEqual(['x q2 #1 dup'])
  })

  test('QoS 1 stays with its member as long as its session lives, and moves when it ends', () => {
    const wire = world()
    const first = member(wire, '1')
    WireClient.connect(wire).publish('a', 'x', 1)
    const second = member(wire, '2')
    first.lost()
    expect(messages(second)).toEqual([])
    WireClient.connect(wire, { clientId: '1', protocolVersion, cleanStart: true })
    expect(messages(second)).toEqual(['x q1 #1'])
    expect(messages(first)).toEqual(['x q1 #1'])
  })

  test('QoS 1 and 2 that wait for a member whose session ends go to another, with its QoS', () => {
    const wire = Wire.stored()
    member(wire, '1').lost()
    const other = WireClient.connect(wire)
    for (let i = 0; i < 3; i++) other.publish('a', String(i), ((i % 2) + 1) as QoS)
    const second = member(wire, '2', 1)
    expect(messages(second)).toEqual([])
    WireClient.connect(wire, { clientId: '1', protocolVersion, cleanStart: true })
    expect(messages(second)).toEqual(['0 q1 #1', '1 q1 #2', '2 q1 #3'])
    // They are on its disk too.
    expect(messages(new WireClient(wire.restarted(), lasting('2')))).toEqual(['0 q1 #1', '1 q1 #2', '2 q1 #3'])
  })

  test('they go to another after a restart too, when the time of the session is over', () => {
    let wire = Wire.stored({}, { limits: { persistentClientExpiration: 3600 } })
    member(wire, '1').lost()
    const other = WireClient.connect(wire)
    for (const qos of [1, 2] as const) other.publish('a', String(qos), qos)
    member(wire, '2').lost()
    wire = wire.restarted(1000)
    wire.advance(1000)
    const second = WireClient.connect(wire, lasting('2'))
    expect(messages(second)).toEqual([])
    wire.advance(3_600_000)
    expect(messages(second)).toEqual(['1 q1 #1', '2 q2 #2'])
  })

  test('what waits for the last member goes with its session, and that is told', () => {
    const wire = world()
    member(wire, '1').lost()
    WireClient.connect(wire).publish('a', 'x', 1)
    WireClient.connect(wire, { clientId: '1', protocolVersion, cleanStart: true })
    expect(wire.codes()).toContain('message-dropped')
    expect(wire.broker.sessions.waiting().messages).toBe(0)
  })

  test('what came to the session by another subscription does not move', () => {
    const wire = world()
    WireClient.connect(wire, lasting('1')).subscribed(['$share/g/a', 'b'], 1).lost()
    const other = WireClient.connect(wire)
    other.publish('b', 'own', 1)
    const second = WireClient.connect(wire, lasting('2')).subscribed('$share/g/a', 1)
    WireClient.connect(wire, { clientId: '1', protocolVersion, cleanStart: true })
    expect(messages(second)).toEqual([])
  })

  test('UNSUBSCRIBE repeats the text of it, group and all', () => {
    const wire = world()
    const client = member(wire, 'c')
    client.unsubscribe(['a', '$share/h/a', '$share/g/A', '$share/g/+'])
    client.hears()
    expect(wire.broker.subscriptionCount).toBe(1)
    client.unsubscribe('$share/g/a')
    WireClient.connect(wire).publish('a', 'x')
    expect(client.hears()).toEqual([`UNSUBACK #101${protocolVersion === 5 ? ' 0x00' : ''}`])
    expect(wire.broker.subscriptionCount).toBe(0)
  })

  test('access is asked for the real filter, and for each message and member', () => {
    const asked: string[] = []
    const access = {
      ...OPEN_ACCESS,
      subscribe: (_: unknown, filter: string) => {
        asked.push(filter)
        return !filter.startsWith('secret')
      },
      read: ({ clientId }: { clientId: string }, topic: string) => clientId !== '1' || topic !== 'a/hidden',
    }
    const wire = world({ access })
    const first = WireClient.connect(wire, lasting('1'))
    first.subscribe(['$share/g/a/+', '$share/g/secret/#', '$share/secret/b'])
    const refusal = { 3: '0x00', 4: '0x80', 5: '0x87' }[protocolVersion]
    expect(first.hears()).toEqual([`SUBACK #100 0x00 ${refusal} 0x00`])
    expect(asked).toEqual(['a/+', 'secret/#', 'b'])
    const second = WireClient.connect(wire, lasting('2')).subscribed('$share/g/a/+')
    const other = WireClient.connect(wire)
    for (let i = 0; i < 4; i++) other.publish('a/hidden', String(i))
    expect([messages(first).length, messages(second).length]).toEqual([0, 4])
    second.lost()
    other.publish('a/hidden')
    expect(messages(first)).toEqual([])
  })
})

test('behaviour 41: QoS 2 that has not left because its packet id is not on disk yet moves like what waits', () => {
  const world = new TestBroker({}, new DelayedStore())
  const first = world.connect('1', PERSISTENT)
  first.subscribe('$share/g/a', 2)
  const publisher = world.connect('p')
  world.commit()
  first.poll()
  publisher.publish('a', 'x', 2)
  world.commit()
  expect(first.poll()).toEqual([])
  const second = world.connect('2')
  second.subscribe('$share/g/a', 2)
  second.poll()
  first.disconnect(0, { sessionExpiryInterval: 0 })
  world.commit()
  expect(second.poll().at(-1)).toBe('a=x q2 #1')
})

describe('behaviour 41: a sleeping sensor as a member', () => {
  test('counts as offline while another is online, and as a member among those who are away', () => {
    const world = new TestGateway()
    world.send('r', say.connect('s', { clean: false }), say.subscribe('$share/g/a', 1))
    const client = world.client('c')
    client.subscribe('$share/g/a', 1)
    client.poll()
    for (let i = 0; i < 2; i++) world.publish('a', String(i), 1)
    expect(world.sent('r').filter((line) => line.startsWith('PUBLISH'))).toHaveLength(1)
    expect(client.poll().filter((line) => line.includes('='))).toHaveLength(1)
    client.ack(4, 1)

    world.send('r', say.puback(0x401, 1), say.disconnect(60))
    world.sent('r')
    for (let i = 0; i < 3; i++) world.publish('a', String(i), 1)
    expect(client.poll().filter((line) => line.includes('='))).toHaveLength(3)
    client.ack(4, 2)
    client.ack(4, 3)
    // The one in flight moves to the sleeper, because the session ends with the connection.
    client.lost()
    world.publish('a', 'for the sleeper', 1)
    world.send('r', say.ping('s'))
    const [first] = world.sent('r')
    world.send('r', say.puback(0x401, Number(/#(\d+)/.exec(first!)![1])))
    expect([first, ...world.sent('r')].map((line) => line!.replace(/ #.*/, ''))).toEqual([
      'PUBLISH 0401=2',
      'PUBLISH 0401=for the sleeper',
    ])
  })
})

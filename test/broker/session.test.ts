import { describe, expect, test } from 'vitest'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import { connectPacket, PERSISTENT, TestBroker, will } from './harness.ts'

describe('sessions', () => {
  test('MQTT-3.2.2-2, -3: session present exactly when there is one, with or without subscriptions', () => {
    const world = new TestBroker()
    const connack = (clientId: string, options: object): string => {
      const client = world.open()
      client.send(connectPacket(clientId, options))
      const [first] = client.poll()
      client.lost()
      return first ?? ''
    }
    expect(connack('c', PERSISTENT)).toBe('CONNACK')
    expect(connack('c', PERSISTENT)).toBe('CONNACK present')
    expect(connack('c', { properties: { sessionExpiryInterval: 3600 } })).toBe('CONNACK')
    expect(connack('c', {})).toBe('CONNACK')
    expect(connack('c', PERSISTENT)).toBe('CONNACK')
    expect(connack('old', { protocolVersion: 4, cleanStart: false })).toBe('CONNACK')
    expect(connack('old', { protocolVersion: 4, cleanStart: false })).toBe('CONNACK present')
    expect(connack('old', { protocolVersion: 4 })).toBe('CONNACK')
  })

  test('5.0 section 3.1.2.11.2: a session ends when its expiry interval has passed, and not before', () => {
    const world = new TestBroker()
    const client = world.connect('c', PERSISTENT)
    client.subscribe('a', 1)
    client.lost()
    world.advance(3_599_999)
    expect(world.broker.sessions.size).toBe(1)
    world.advance(1)
    expect(world.broker.sessions.size).toBe(0)
    expect(world.broker.subscriptionCount).toBe(0)
    expect(world.codes()).toContain('session-expired')
  })

  test('5.0 section 3.14.2.2.2: DISCONNECT overrides the expiry, but cannot raise it from 0', () => {
    const world = new TestBroker()
    world.connect('c', PERSISTENT).disconnect(0, { sessionExpiryInterval: 10 })
    world.advance(9_999)
    expect(world.broker.sessions.size).toBe(1)
    world.advance(1)
    expect(world.broker.sessions.size).toBe(0)
    const client = world.connect('d')
    client.disconnect(0, { sessionExpiryInterval: 10 })
    expect(client.poll()).toEqual(['CLOSE 130'])
    expect(world.broker.sessions.size).toBe(0)
  })

  test('MQTT-3.1.4-3: a second connection takes the session over; the first is told', () => {
    const world = new TestBroker()
    const first = world.connect('c', PERSISTENT)
    first.subscribe('a', 1)
    first.poll()
    const second = world.open()
    second.send(connectPacket('c', PERSISTENT))
    expect(second.poll()).toEqual(['CONNACK present'])
    expect(first.poll()).toEqual(['CLOSE 142'])
    first.publish('a', 'from the grave')
    second.publish('a', 'x')
    expect(second.poll()).toEqual(['a=x q0'])
  })

  test('ruling A32: a sensor and a TCP client of the same name never meet', () => {
    const world = new TestBroker()
    world.connect('c', PERSISTENT)
    const sensor = world.open({ kind: 'sn' })
    sensor.send(connectPacket('c', PERSISTENT))
    expect(sensor.poll()).toEqual(['CONNACK'])
    world.connect('s', {}, 'sn')
    const client = world.open()
    client.send(connectPacket('s', PERSISTENT))
    expect(client.poll()).toEqual(['CONNACK'])
    expect(sensor.poll()).toEqual([])
  })

  test('3.1.1 MQTT-3.1.3-8: no name and no clean session is refused; MQTT-3.1.3-6: 5.0 assigns a name', () => {
    const world = new TestBroker()
    const nameless = world.open()
    nameless.send(connectPacket('', { protocolVersion: 4, cleanStart: false }))
    expect(nameless.poll()).toEqual(['CONNACK 133', 'CLOSE 133'])
    const assigned = world.open()
    assigned.send(connectPacket('', { cleanStart: false }))
    const connack = assigned.link.poll(0)
    expect(connack).toMatchObject({
      type: 2,
      reasonCode: 0,
      properties: { assignedClientIdentifier: expect.stringMatching(/^auto-/) },
    })
  })

  test('max_sessions refuses newcomers with quota exceeded, and says so', () => {
    const world = new TestBroker({ limits: { maxSessions: 1 } })
    world.connect('c', PERSISTENT)
    const second = world.open()
    second.send(connectPacket('d'))
    expect(second.poll()).toEqual(['CONNACK 151', 'CLOSE 151'])
    expect(world.codes()).toContain('limit-reached')
  })

  test('names such as __proto__ and constructor are names', () => {
    const world = new TestBroker()
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      const client = world.connect(name, PERSISTENT)
      client.subscribe(`${name}/+`, 1)
      client.publish(`${name}/${name}`, name, 0, 0, { retain: true })
      expect(client.poll()).toEqual(['SUBACK #100 1', `${name}/${name}=${name} q0`])
    }
    expect(world.broker.sessions.size).toBe(4)
  })

  test('a client that went for good leaves nothing behind', () => {
    const world = new TestBroker()
    for (let i = 0; i < 10; i++) {
      const client = world.connect('c', { will: will('w', 'x') })
      client.subscribe('a/#', 1)
      client.publish('a/b', 'x', 1)
      client.poll()
      if (i % 2 === 0) client.disconnect()
      else client.lost()
      for (let id = world.broker.nextReadyLink(); id !== undefined; id = world.broker.nextReadyLink()) client.poll()
    }
    expect(world.broker.sessions.size).toBe(0)
    expect(world.broker.linkCount).toBe(0)
    expect(world.broker.subscriptionCount).toBe(0)
    expect(world.broker.nextTimeout()).toBeUndefined()
  })
})

describe('wills', () => {
  const watched = (): { world: TestBroker; watcher: ReturnType<TestBroker['connect']> } => {
    const world = new TestBroker()
    const watcher = world.connect('watcher')
    watcher.subscribe('w', 2)
    watcher.poll()
    return { world, watcher }
  }

  test('MQTT-3.1.2-8: fires when the connection is lost, at a protocol error, and at a takeover', () => {
    const { world, watcher } = watched()
    world.connect('c', { will: will('w', 'lost') }).lost()
    const bad = world.connect('c', { will: will('w', 'error') })
    bad.send(connectPacket('c'))
    world.connect('c', { will: will('w', 'taken') })
    world.connect('c')
    expect(watcher.poll()).toEqual(['w=lost q0', 'w=error q0', 'w=taken q0'])
  })

  test('MQTT-3.14.4-3: DISCONNECT takes it away, DISCONNECT 0x04 sends it', () => {
    const { world, watcher } = watched()
    world.connect('c', { will: will('w', 'quiet') }).disconnect(0)
    world.connect('c', { will: will('w', 'loud', 2) }).disconnect(4)
    expect(watcher.poll()).toEqual(['w=loud q2 #1'])
    world.advance(1e9)
    expect(watcher.poll()).toEqual([])
  })

  test('MQTT-3.1.3-9: waits for its delay, or the end of the session if that comes first; a resumed session calls it off', () => {
    const { world, watcher } = watched()
    const delayed = (seconds: number): object => ({ ...PERSISTENT, will: will('w', 'x', 0, { willDelayInterval: seconds }) })
    world.connect('a', delayed(10)).lost()
    world.advance(9_999)
    expect(watcher.poll()).toEqual([])
    world.advance(1)
    expect(watcher.poll()).toEqual(['w=x q0'])
    world.connect('b', delayed(10_000)).lost()
    world.advance(3_600_000)
    expect(watcher.poll()).toEqual(['w=x q0'])
    world.connect('c', delayed(10)).lost()
    world.advance(5_000)
    world.connect('c', PERSISTENT)
    world.advance(1e7)
    expect(watcher.poll()).toEqual([])
  })

  test('MQTT-3.3.1-5: a retained will is retained, one with an empty payload clears', () => {
    const { world } = watched()
    world.connect('c', { will: will('w', 'x', 0, {}, true) }).lost()
    expect(world.broker.retained.count).toBe(1)
    world.connect('c', { will: will('w', '', 0, {}, true) }).lost()
    expect(world.broker.retained.count).toBe(0)
  })

  test('a will that nearly fills a queue holds up nobody else', () => {
    const world = new TestBroker({ limits: { maxQueuedMessages: 4, maxInflightMessages: 1 } })
    const reader = world.connect('reader')
    reader.subscribe('#', 1)
    const writer = world.connect('writer')
    for (let id = 1; id <= 4; id++) writer.publish('a', 'x', 1, id)
    reader.poll()
    world.connect('c', { will: will('w', 'x', 1) }).lost()
    const other = world.connect('other')
    other.publish('elsewhere/not/read', 'x', 0)
    expect(other.link.state).toBe('open')
  })

  test('a will that may not be published is refused at CONNECT, and asked about again when it fires', () => {
    let allowed = true
    const access = { ...OPEN_ACCESS, connect: () => 0, publish: () => allowed, subscribe: () => true }
    const world = new TestBroker({ access })
    const client = world.connect('c', { will: will('w', 'x') })
    allowed = false
    client.lost()
    expect(world.codes()).toContain('will-refused')
    expect(world.codes()).not.toContain('will-published')
    const refused = world.open()
    refused.send(connectPacket('d', { will: will('w', 'x') }))
    expect(refused.poll()).toEqual(['CONNACK 135', 'CLOSE 135'])
  })
})

describe('retained messages', () => {
  test('MQTT-3.3.1-6 to -12: kept, replaced, cleared, given to new subscriptions with retain set, live ones without', () => {
    const world = new TestBroker()
    const p = world.connect('p')
    const live = world.connect('live')
    live.subscribe('#', 1)
    live.subscribe('keep/#', 1, { retainAsPublished: true })
    live.poll()
    p.publish('a/b', 'old', 0, 0, { retain: true })
    p.publish('a/b', 'new', 1, 1, { retain: true })
    p.publish('a/c', 'gone', 0, 0, { retain: true })
    p.publish('a/c', '', 0, 0, { retain: true })
    p.publish('keep/x', 'flag', 0, 0, { retain: true })
    expect(live.poll()).toEqual(['a/b=old q0', 'a/b=new q1 #1', 'a/c=gone q0', 'a/c= q0', 'keep/x=flag q0 retain'])
    const late = world.connect('late')
    late.subscribe('a/#', 2)
    expect(late.poll()).toEqual(['SUBACK #100 2', 'a/b=new q1 #1 retain'])
  })

  test('MQTT-3.3.1-9 to -11: retain handling', () => {
    const world = new TestBroker()
    world.connect('p').publish('a', 'x', 0, 0, { retain: true })
    const client = world.connect('c')
    const subscribed = (retainHandling: 0 | 1 | 2): string[] => {
      client.subscribe('a', 0, { retainHandling })
      return client.poll().slice(1)
    }
    expect(subscribed(2)).toEqual([])
    expect(subscribed(1)).toEqual([])
    expect(subscribed(0)).toEqual(['a=x q0 retain'])
    expect(subscribed(0)).toEqual(['a=x q0 retain'])
    client.unsubscribe('a')
    client.poll()
    expect(subscribed(1)).toEqual(['a=x q0 retain'])
  })

  test('MQTT-4.7.2-1: wildcards at the start do not see $ topics', () => {
    const world = new TestBroker()
    const p = world.connect('p')
    p.publish('$x/a', '1', 0, 0, { retain: true })
    p.publish('a', '2', 0, 0, { retain: true })
    for (const [filter, found] of [
      ['#', ['a=2 q0 retain']],
      ['+/a', []],
      ['$x/#', ['$x/a=1 q0 retain']],
    ] as const) {
      const client = world.connect(`c${filter}`)
      client.subscribe(filter)
      expect(client.poll().slice(1)).toEqual(found)
    }
  })

  test('are bounded: what does not fit is refused with quota exceeded', () => {
    const world = new TestBroker({ limits: { maxRetainedMessages: 1 } })
    const p = world.connect('p')
    p.publish('a', 'x', 1, 1, { retain: true })
    p.publish('b', 'x', 1, 2, { retain: true })
    p.publish('a', 'y', 1, 3, { retain: true })
    expect(p.poll()).toEqual(['PUBACK #1 16', 'PUBACK #2 151', 'PUBACK #3 16'])
    expect(world.broker.retained.count).toBe(1)
  })

  test('do not pile up for a client that subscribes again and again and does not read', () => {
    const world = new TestBroker({ limits: { maxQueuedMessages: 2, maxRetainedMessages: 3 } })
    const p = world.connect('p')
    for (const topic of ['a', 'b', 'c']) p.publish(topic, 'x', 0, 0, { retain: true })
    const client = world.connect('c')
    client.link.listen(0, false)
    for (let i = 0; i < 10; i++) client.subscribe('#')
    expect(client.link.backlog).toBe(5)
    expect(world.codes()).toContain('queue-full')
  })
})

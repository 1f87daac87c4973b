import { describe, expect, test } from 'vitest'
import { PacketType } from '../../src/mqtt/packets.ts'
import { bridge, Pair } from './bridge-world.ts'

const STATE = '$SYS/broker/connection/site.head/state'

describe.each([5, 4] as const)('with MQTT version %i', (version) => {
  const versioned = (topics: readonly string[], more = {}) => {
    const plain = bridge(topics, more)
    return { ...plain, targets: { ...plain.targets, version } }
  }

  test.each([0, 1, 2] as const)('messages with QoS %i go out and come in with their prefixes', (qos) => {
    const pair = new Pair([versioned(['up/# out 2 "" site/7/', 'down/# in 2 here/ site/7/'])])
    const far = pair.far.client('f').subscribe('#')
    const near = pair.near.client('n').subscribe('here/#')
    near.publish('up/a', '1', qos).publish('other', 'x', qos)
    far.publish('site/7/down/b', '2', qos).publish('down/c', 'x', qos)
    expect(far.heard()).toEqual([`site/7/up/a=1 q${qos}`, `site/7/down/b=2 q${qos}`, `down/c=x q${qos}`])
    expect(near.heard()).toEqual([`here/down/b=2 q${qos}`])
    expect(pair.near.server.bridges!.all[0]!.counts).toEqual({ out: 1, in: 1, refused: 0 })
  })

  test('the QoS of a topic is an upper limit', () => {
    const pair = new Pair([versioned(['a out 1', 'b in 0'])])
    const far = pair.far.client('f').subscribe('a')
    const near = pair.near.client('n').subscribe('b')
    near.publish('a', '1', 2)
    far.publish('b', '2', 2)
    expect([...far.heard(), ...near.heard()]).toEqual(['a=1 q1', 'b=2 q0'])
  })

  test('nothing goes back to where it came from', () => {
    const pair = new Pair([versioned(['# both 2'])])
    const [far, near] = [pair.far.client('f').subscribe('#'), pair.near.client('n').subscribe('#')]
    near.publish('a', '1', 2)
    far.publish('b', '2', 2)
    pair.advance(10_000)
    expect(far.heard()).toEqual(['a=1 q2', 'b=2 q2'])
    expect(near.heard()).toEqual(['a=1 q2', 'b=2 q2'])
  })

  test('what is retained, and its deletion, pass in both directions', () => {
    const pair = new Pair([versioned(['# both 1'])])
    const [far, near] = [pair.far.client('f'), pair.near.client('n')]
    near.publish('a', '1', 1, { retain: true })
    far.publish('b', '2', 0, { retain: true })
    const retained = () =>
      [pair.far, pair.near].map(({ server }) => ['a', 'b'].map((name) => server.broker.retained.get(name) !== undefined))
    expect(retained()).toEqual([
      [true, true],
      [true, true],
    ])
    far.publish('a', '', 1, { retain: true })
    near.publish('b', '', 0, { retain: true })
    expect(retained()).toEqual([
      [false, false],
      [false, false],
    ])
  })

  test('retained messages from before the bridge go out when it connects first, and not at each connection', () => {
    const pair = new Pair([versioned(['# out 1'])])
    pair.down()
    pair.near.client('n').publish('a', '1', 1, { retain: true })
    const far = pair.far.client('f').subscribe('#')
    pair.up()
    pair.cut()
    pair.advance(3000)
    expect(far.heard()).toEqual(['a=1 q1 retain'])
  })

  test('what was published while the line was down arrives in order, also after a crash of this side', () => {
    const pair = new Pair([versioned(['up/# out 2', 'down/# in 2'])])
    const far = pair.far.client('f').subscribe('up/#')
    pair.down()
    const near = pair.near.client('n')
    for (let i = 0; i < 50; i++) near.publish('up/a', `${i}`, ((i % 2) + 1) as 1 | 2)
    for (let i = 0; i < 20; i++) far.publish('down/a', `${i}`, 2)
    pair.near.crash({ bridges: [versioned(['up/# out 2', 'down/# in 2'])] })
    const listener = pair.near.client('m').subscribe('down/#')
    expect(far.heard()).toEqual([])
    pair.up()
    expect(far.heard().map((line) => line.split('=')[1]!.split(' ')[0])).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`))
    expect(listener.heard()).toHaveLength(20)
  })

  test('the far side is acknowledged only when it is stored here, and the other way round', () => {
    const pair = new Pair([versioned(['up/# out 1', 'down/# in 1'])])
    const far = pair.far.client('f')
    pair.near.client('n', { cleanStart: false, properties: { sessionExpiryInterval: 1000 } }).subscribe('#')
    pair.commits = false
    far.publish('down/a', '1', 1)
    const session = pair.far.server.broker.sessions.byKey('mqtt:site.head')!
    expect(session.inflight?.size).toBe(1)
    pair.commits = true
    pair.run()
    expect(session.inflight?.size ?? 0).toBe(0)
  })

  test('the state is retained on both sides, and is 0 when the line is lost', () => {
    const pair = new Pair([versioned(['a out'])])
    const [far, near] = [pair.far.client('f').subscribe('$SYS/broker/connection/#'), pair.near.client('n').subscribe(STATE)]
    expect([...far.heard(), ...near.heard()]).toEqual([`${STATE}=1 q0 retain`, `${STATE}=1 q0 retain`])
    pair.down()
    expect([...far.heard(), ...near.heard()]).toEqual([`${STATE}=0 q1 retain`, `${STATE}=0 q0 retain`])
    pair.up()
    expect([...far.heard(), ...near.heard()]).toEqual([`${STATE}=1 q0 retain`, `${STATE}=1 q0 retain`])
  })

  test('a topic that is no longer configured is unsubscribed on both sides', () => {
    const pair = new Pair([versioned(['a out 1', 'b in 1', 'c/+ in 1', 'd/# both 1'])])
    const filters = (site: 'near' | 'far', key: string) =>
      Array.from(pair[site].server.broker.sessions.byKey(`mqtt:${key}`)!.subscriptions!, ([filter]) => filter).sort()
    expect(filters('near', 'bridge:head')).toEqual(['$bridge/in/b', '$bridge/in/c/%2b', '$bridge/in/d/%23', 'a', 'd/#'])
    expect(filters('far', 'site.head')).toEqual(['b', 'c/+', 'd/#'])
    pair.near.crash({ bridges: [versioned(['d/# out 1', 'b in 1'])] })
    pair.advance(3000)
    expect(filters('near', 'bridge:head')).toEqual(['$bridge/in/b', 'd/#'])
    expect(filters('far', 'site.head')).toEqual(['b'])
  })

  test('a lazy bridge connects when enough waits, and disconnects when nothing does', () => {
    const pair = new Pair([versioned(['a out 1'], { startType: 'lazy' })])
    const far = pair.far.client('f').subscribe('a')
    const near = pair.near.client('n').publish('a', '1', 1).publish('a', '2', 1)
    pair.advance(10_000)
    expect([pair.dials, pair.near.server.bridges!.all[0]!.state]).toEqual([0, 'idle'])
    near.publish('a', '3', 1)
    pair.advance(10_000)
    expect([far.heard().length, pair.near.server.bridges!.all[0]!.state]).toEqual([3, 'connected'])
    pair.advance(60_000)
    expect([pair.dials, pair.near.server.bridges!.all[0]!.state]).toEqual([1, 'idle'])
    near.publish('a', '4', 1).publish('a', '5', 1).publish('a', '6', 1)
    pair.advance(10_000)
    expect([pair.dials, far.heard().length]).toEqual([2, 3])
  })

  test('a bridge that connects once does not do so again', () => {
    const pair = new Pair([versioned(['a out 2'], { startType: 'once' })])
    expect(pair.near.server.bridges!.all[0]!.state).toBe('connected')
    pair.down()
    pair.up()
    pair.advance(60_000)
    // Before MQTT 5 a new session takes a connection of its own.
    expect([pair.dials, pair.near.server.bridges!.all[0]!.state]).toEqual([version === 5 ? 1 : 2, 'ended'])
    expect(pair.near.codes()).toContain('bridge-problem')
  })

  test('the far side loses its session: subscribed again, and what is retained here is sent again', () => {
    const pair = new Pair([versioned(['# both 2'])])
    const near = pair.near.client('n').publish('kept', 'x', 1, { retain: true })
    pair.down()
    near.publish('a', '1', 2)
    const { far } = pair
    far.server.broker.sessions.byKey('mqtt:site.head')
    const other = far.client('site.head', { cleanStart: true })
    other.mqtt.disconnect(pair.now)
    pair.run()
    far.client('x').publish('kept', '', 1, { retain: true })
    const listener = far.client('f').subscribe('#')
    pair.up()
    expect(listener.heard().sort()).toEqual(['a=1 q2', 'kept=x q1 retain'])
    far.client('p').publish('b', '2', 2)
    expect(pair.near.client('m').subscribe('#').heard()).toContain('kept=x q1 retain')
  })

  test('a message that the far side refuses for good is reported, and those behind it pass', () => {
    const pair = new Pair([versioned(['# out 1'], { notificationTopic: undefined })], {}, { broker: { maxTopicLevels: 3 } })
    const far = pair.far.client('f').subscribe('#')
    pair.near.client('n').publish('a/b/c/d/e', '1', 1).publish('a', '2', 1)
    pair.advance(30_000)
    // Version 4 has no way to refuse a message, so it counts as received.
    if (version === 5) expect(pair.near.codes()).toContain('message-dropped')
    expect(far.heard()).toEqual(['a=2 q1'])
    expect(pair.near.server.broker.sessions.byKey('mqtt:bridge:head')!.inflight?.size ?? 0).toBe(0)
  })
})

test('a far side that knows neither No Local nor the bridge bit: what goes out comes back once and goes no further', () => {
  const plain = bridge(['# both 2'], { notificationTopic: undefined })
  const pair = new Pair([{ ...plain, targets: { ...plain.targets, version: 4 }, connect: { ...plain.connect, bridge: false } }])
  const [far, near] = [pair.far.client('f').subscribe('#'), pair.near.client('n').subscribe('#')]
  near.publish('a', '0', 0).publish('a', '1', 1).publish('a', '2', 2).publish('kept', 'k', 1, { retain: true })
  far.publish('b', '3', 2)
  pair.advance(600_000)
  expect(far.heard()).toEqual(['a=0 q0', 'a=1 q1', 'a=2 q2', 'kept=k q1 retain', 'b=3 q2'])
  // Its own, what the far side sends back (without RETAIN), and what is published there, once.
  const heard = near.heard()
  expect(heard.filter((each) => each.startsWith('a=2'))).toEqual(['a=2 q2', 'a=2 q2'])
  expect(heard.filter((each) => each.startsWith('kept'))).toEqual(['kept=k q1 retain', 'kept=k q1'])
  expect(heard.filter((each) => each.startsWith('b'))).toEqual(['b=3 q2'])
  expect(heard).toHaveLength(9)
  // Nothing of what came back replaces or deletes what is retained.
  near.publish('kept', '', 1, { retain: true })
  pair.advance(1000)
  expect([pair.near, pair.far].map(({ server }) => server.broker.retained.get('kept'))).toEqual([undefined, undefined])
  expect(pair.near.notices.filter(({ reason = '' }) => reason.includes('sends back'))).toHaveLength(1)
})

test('an ordinary client cannot take over the local session', () => {
  const pair = new Pair([bridge(['# both 1'])])
  const thief = pair.near.client('bridge:head', { cleanStart: false })
  expect(thief.events[0]).toMatchObject({ event: 'refused', reasonCode: 0x85 })
  expect(pair.near.server.bridges!.all[0]!.state).toBe('connected')
})

test('properties of MQTT 5 pass, and the expiry is what is left of it', () => {
  const pair = new Pair([bridge(['# both 1'])])
  pair.down()
  const near = pair.near.client('n')
  const sent = { contentType: 'text', responseTopic: 'r', correlationData: Uint8Array.of(1), userProperties: [['k', 'v']] }
  near.publish('a', '1', 1, { properties: { ...sent, messageExpiryInterval: 100, topicAlias: undefined } })
  near.publish('a', '2', 1, { properties: { messageExpiryInterval: 5 } })
  pair.advance(20_000)
  const far = pair.far.client('f').subscribe('#')
  pair.up()
  const [first, ...rest] = far.events.flatMap((event) => (event.event === 'message' ? [event.message] : []))
  expect(rest).toEqual([])
  expect(first!.properties).toMatchObject(sent)
  expect(first!.properties.messageExpiryInterval).toBeGreaterThan(70)
  expect(first!.properties.messageExpiryInterval).toBeLessThan(81)
})

test('the local store is full: the far side keeps the message until there is room', () => {
  const pair = new Pair([bridge(['# in 1'])])
  const far = pair.far.client('f')
  const near = pair.near.client('n', { cleanStart: false, properties: { sessionExpiryInterval: 1000 } }).subscribe('#')
  pair.near.store.refuse = true
  far.publish('a', '1', 1)
  pair.advance(10_000)
  expect(near.heard()).toEqual([])
  expect(pair.far.server.broker.sessions.byKey('mqtt:site.head')!.inflight?.size).toBe(1)
  pair.near.store.refuse = false
  pair.advance(10_000)
  expect(near.heard()).toEqual(['a=1 q1'])
  expect(pair.far.server.broker.sessions.byKey('mqtt:site.head')!.inflight?.size ?? 0).toBe(0)
})

test.each([4, 5] as const)('a far side without room for a subscription is asked until it has room (MQTT %i)', (version) => {
  const plain = bridge(['# in 1'])
  const pair = new Pair([{ ...plain, targets: { ...plain.targets, version } }])
  const [far, near] = [pair.far.client('f'), pair.near.client('n').subscribe('#')]
  pair.down()
  pair.far.client('site.head', { version: 4, cleanStart: true }).mqtt.disconnect(pair.now)
  pair.run()
  // What begins the session fits, and the subscription does not.
  const write = pair.write.bind(pair)
  pair.write = (site, connection, bytes) => {
    if (site === pair.near && bytes[0]! >> 4 === PacketType.SUBSCRIBE) pair.far.store.refuse = true
    write(site, connection, bytes)
  }
  pair.up()
  expect(pair.near.codes()).toContain('upstream-refused')
  pair.advance(120_000)
  expect(pair.far.server.broker.subscriptionCount).toBe(0)
  pair.write = write
  pair.far.store.refuse = false
  pair.advance(60_000)
  far.publish('a', '1', 1)
  expect(near.heard()).toEqual(['a=1 q1'])
  expect(pair.near.codes().filter((code) => code === 'upstream-refused')).toHaveLength(1)
})

test('the local store is full when the bridge subscribes here: it does so when there is room', () => {
  const pair = new Pair([bridge(['a out 1'])])
  const { near } = pair
  pair.cut()
  near.store = near.store.crash()
  let isFull = true
  const append = near.store.append.bind(near.store)
  near.store.append = (record) => (isFull && record.type === 'subscribe' ? 'full' : append(record))
  near.start({ bridges: [bridge(['a out 1', 'b out 1'])] })
  pair.advance(10_000)
  const far = pair.far.client('f').subscribe('#')
  const client = near.client('n').publish('a', '1', 1).publish('b', 'lost', 1)
  expect(far.heard()).toEqual(['a=1 q1'])
  const problems = near.notices.flatMap(({ code, reason }) => (code === 'bridge-problem' ? [reason] : []))
  expect(problems.sort()).toEqual(['a', 'b'].map((filter) => `cannot subscribe to ${filter} here: reason code 0x97`))
  isFull = false
  pair.advance(60_000)
  client.publish('b', '2', 1)
  expect(far.heard()).toEqual(['b=2 q1'])
})

test('the local store is full when PUBREC of the far side comes: the exchange goes on when there is room', () => {
  const pair = new Pair([bridge(['# out 2'])])
  const far = pair.far.client('f').subscribe('#')
  const near = pair.near.client('n')
  const write = pair.write.bind(pair)
  let isFull = true
  pair.write = (site, connection, bytes) => {
    if (site === pair.far && bytes[0]! >> 4 === PacketType.PUBREC) pair.near.store.refuse = isFull
    write(site, connection, bytes)
  }
  near.publish('a', '1', 2)
  expect(pair.near.store.refuse).toBe(true)
  pair.advance(10_000)
  isFull = false
  pair.near.store.refuse = false
  pair.advance(10_000)
  near.publish('b', '2', 2)
  expect(far.heard()).toEqual(['a=1 q2', 'b=2 q2'])
  for (const [{ server }, key] of [
    [pair.near, 'bridge:head'],
    [pair.far, 'site.head'],
  ] as const) {
    const session = server.broker.sessions.byKey(`mqtt:${key}`)!
    expect([session.inflight?.size ?? 0, session.queueLength]).toEqual([0, 0])
  }
})

test.each(['has no room', 'is lost with its process'])(
  'a message with QoS 2 after which the connection breaks twice is given up, and what this side would record of that %s',
  (what) => {
    const isFull = what === 'has no room'
    const pair = new Pair([bridge(['# out 2'])])
    const far = pair.far.client('f').subscribe('#')
    const near = pair.near.client('n')
    const write = pair.write.bind(pair)
    let breaks = 0
    pair.write = (site, connection, bytes) => {
      if (site === pair.near || bytes[0]! >> 4 !== PacketType.PUBREC) write(site, connection, bytes)
      else if (++breaks <= 2) pair.cut()
    }
    near.publish('a', '1', 2)
    pair.near.store.refuse = isFull
    pair.commits = isFull
    for (let seconds = 0; seconds < 10 && !pair.near.codes().includes('message-dropped'); seconds++) pair.advance(1000)
    expect(pair.near.codes()).toContain('message-dropped')
    pair.advance(5000)
    expect(pair.near.server.bridges!.all[0]!.counts.refused).toBeGreaterThan(0)
    pair.commits = true
    if (!isFull) pair.near.crash()
    pair.near.store.refuse = false
    pair.write = write
    pair.advance(5000)
    pair.near.client('m').publish('b', '2', 2)
    expect(far.heard()).toEqual(['a=1 q2', 'b=2 q2'])
    expect(pair.near.server.broker.sessions.byKey('mqtt:bridge:head')!.inflight?.size ?? 0).toBe(0)
    expect(pair.far.server.broker.sessions.byKey('mqtt:site.head')!.receipts?.size ?? 0).toBe(0)
  },
)

test('an operator disconnects the local session: it is opened again, and nothing is lost or doubled', () => {
  const pair = new Pair([bridge(['# both 2'])])
  const [far, near] = [pair.far.client('f').subscribe('#'), pair.near.client('n').subscribe('#')]
  pair.commits = false
  near.publish('a', '1', 2)
  far.publish('b', '2', 2)
  const session = pair.near.server.broker.sessions.byKey('mqtt:bridge:head')!
  pair.near.server.broker.close(pair.now, session.link!, 0x98)
  pair.commits = true
  pair.run()
  pair.advance(5000)
  near.publish('c', '3', 2)
  expect(far.heard().sort()).toEqual(['a=1 q2', 'b=2 q2', 'c=3 q2'])
  expect(near.heard().sort()).toEqual(['a=1 q2', 'b=2 q2', 'c=3 q2'])
})

test('the local session is opened again: nothing overtakes what it has not acknowledged', () => {
  const pair = new Pair([bridge(['# in 1'])])
  const [far, near] = [pair.far.client('f'), pair.near.client('n').subscribe('#')]
  pair.near.store.refuse = true
  far.publish('a', '1', 1)
  pair.near.server.broker.close(pair.now, pair.near.server.broker.sessions.byKey('mqtt:bridge:head')!.link!, 0x98)
  pair.near.store.refuse = false
  // CONNACK waits for the store.
  pair.commits = false
  pair.advance(2000)
  far.publish('a', '2', 1)
  pair.commits = true
  pair.advance(2000)
  expect(near.heard()).toEqual(['a=1 q1', 'a=2 q1'])
})

test('a far side that exceeds Receive Maximum: its messages are taken', () => {
  const pair = new Pair([bridge(['# in 2'])], { broker: { receiveMaximum: 2 } })
  const [far, near] = [pair.far.client('f'), pair.near.client('n').subscribe('#')]
  pair.commits = false
  for (const text of ['1', '2', '3', '4', '5']) far.publish('a', text, 2)
  pair.commits = true
  pair.advance(2000)
  expect(near.heard()).toEqual(['a=1 q2', 'a=2 q2', 'a=3 q2', 'a=4 q2', 'a=5 q2'])
  expect(pair.near.codes()).not.toContain('bridge-problem')
})

test.each([4, 5] as const)(
  'an operator ends the local session: what is published then is no copy of what came before (MQTT %i)',
  (version) => {
    const plain = bridge(['# out 2'])
    const pair = new Pair([{ ...plain, targets: { ...plain.targets, version } }])
    const far = pair.far.client('f').subscribe('#')
    const near = pair.near.client('n')
    const write = pair.write.bind(pair)
    // PUBREC of the far side is lost, which then has a receipt under this packet id.
    pair.write = (site, connection, bytes) => {
      if (site !== pair.far || bytes[0]! >> 4 !== PacketType.PUBREC) return write(site, connection, bytes)
      pair.isUp = false
      pair.cut()
    }
    near.publish('a', '1', 2)
    pair.write = write
    const { broker } = pair.near.server
    const session = broker.sessions.byKey('mqtt:bridge:head')!
    broker.close(pair.now, session.link!, 0x98)
    broker.sessions.end(pair.now, session)
    // The next one is there before the far side can be reached again.
    pair.advance(5000)
    pair.up()
    pair.advance(10_000)
    near.publish('a', '2', 2)
    expect(far.heard()).toEqual(['a=1 q2', 'a=2 q2'])
  },
)

test('local_cleansession: what waits is dropped with the connection', () => {
  const pair = new Pair([bridge(['# out 1'], { localCleanSession: true })])
  const far = pair.far.client('f').subscribe('#')
  const near = pair.near.client('n').publish('a', '1', 1)
  pair.down()
  pair.near.crash()
  pair.up()
  pair.near.client('n2').publish('b', '2', 1)
  pair.advance(3000)
  void near
  expect(far.heard()).toEqual(['a=1 q1', 'b=2 q1'])
})

test('a far side that refuses the will of the notifications is connected without them', () => {
  const pair = new Pair([bridge(['a out 1'])], {}, { broker: { maxTopicLevels: 3 } })
  pair.advance(20_000)
  expect(pair.near.server.bridges!.all[0]!.state).toBe('connected')
  const told = pair.near.notices.filter(({ code }) => code === 'bridge-problem').map(({ reason }) => reason)
  expect(told).toEqual([expect.stringContaining('it refuses a connection with such a will')])
  expect(pair.dials).toBe(4)
})

test('a far side that closes after the notification is connected without it', () => {
  const pair = new Pair([bridge(['a out 1'])])
  for (let i = 0; i < 3; i++) {
    pair.cut()
    pair.advance(2000)
  }
  pair.cut()
  pair.advance(3000)
  const far = pair.far.client('f').subscribe('$SYS/#')
  far.heard()
  pair.cut()
  pair.advance(3000)
  expect(far.heard()).toEqual([])
  expect(pair.near.server.bridges!.all[0]!.state).toBe('connected')
  expect(pair.near.codes()).toContain('bridge-problem')
})

test('many topics, and many retained messages for them', () => {
  const lines = Array.from({ length: 30 }, (_, i) => `t${i}/# both 1`)
  const pair = new Pair([], {})
  const near = pair.near.client('n')
  for (let i = 0; i < 3000; i++)
    near.mqtt.publish(pair.now, { topic: `t${i % 30}/${i}`, payload: Buffer.from('x'), retain: true })
  pair.run()
  pair.near.crash({ bridges: [bridge(lines)] })
  expect(pair.near.server.bridges!.all[0]!.state).toBe('connected')
  pair.advance(10_000)
  // And the state of the bridge.
  expect(pair.far.server.broker.retained.count).toBe(3001)
  pair.far.client('f').publish('t29/back', '1', 1, { retain: true })
  expect(pair.near.server.broker.retained.get('t29/back')).toBeDefined()
})

test('what is published right after the first start is bridged', () => {
  const pair = new Pair([])
  const far = pair.far.client('f').subscribe('#')
  pair.commits = false
  pair.near.start({ bridges: [bridge(['# out 1'])] })
  const near = pair.near.client('n')
  near.publish('a', '1', 1)
  pair.commits = true
  pair.advance(3000)
  expect(far.heard()).toEqual(['a=1 q1'])
})

test('a session whose bridge is no longer configured is reported at the start', () => {
  const pair = new Pair([bridge(['a out 1'])])
  pair.near.crash({ bridges: [] })
  expect(pair.near.notices.at(-1)).toMatchObject({ code: 'bridge-problem', client: 'mqtt:bridge:head' })
})

test('the process stops: the far side hears 0 and DISCONNECT, and keeps the session', () => {
  const pair = new Pair([bridge(['# both 1'])])
  const far = pair.far.client('f').subscribe('$SYS/broker/connection/#')
  far.heard()
  while (!pair.near.server.shutDown(pair.now)) pair.run()
  pair.run()
  expect(far.heard()).toEqual([`${STATE}=0 q0 retain`])
  expect(pair.far.server.broker.sessions.byKey('mqtt:site.head')!.link).toBeUndefined()
  pair.advance(10_000)
  expect(pair.dials).toBe(1)
})

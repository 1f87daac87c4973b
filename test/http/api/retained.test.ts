import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { isoTime } from '../../../src/base/iso-time.ts'
import { retainedRoutes } from '../../../src/http/api/retained.ts'
import { ENTRIES_PER_TURN } from '../../../src/http/exchange.ts'
import { ROOM_PAUSES_MAX } from '../../../src/http/pages.ts'
import { Publish } from '../../../src/mqtt/publish.ts'
import { PERSISTENT, TestBroker } from '../../broker/harness.ts'
import { ask } from './harness.ts'

interface Page {
  readonly messages: readonly { readonly topic: string }[]
  readonly levels: readonly object[]
  readonly cursor?: string
}

function world(topics: readonly string[], payload = 'x'): TestBroker {
  const broker = new TestBroker()
  for (const topic of topics) retain(broker, topic, payload)
  return broker
}
function retain({ broker }: TestBroker, topic: string, payload = 'x'): void {
  const message = Publish.of(topic, Buffer.from(payload), 1, true)
  message.own()
  broker.retained.set(topic, message)
}
const asker = (world: TestBroker) => {
  const routes = retainedRoutes({ broker: world.broker, notice: (notice) => world.notices.push(notice), wallEpoch: 0 })
  return {
    get: (query = '') => ask(routes, 'GET', `/api/v1/retained${query}`, { now: world.now }),
    remove: (query: string, between?: () => void) =>
      ask(routes, 'DELETE', `/api/v1/retained${query}`, { now: world.now }, between),
    topics: (query = '') =>
      (ask(routes, 'GET', `/api/v1/retained${query}`, { now: world.now }).json as Page).messages.map(({ topic }) => topic),
  }
}

describe('a list of messages', () => {
  const TOPICS = ['site/b', 'a', 'site', 'site/a/x', 'site-2', 'SITE/b', '$dev/x', '/lead', 'site/a']

  test('comes in the order of topics, level by level', () =>
    expect(asker(world(TOPICS)).topics()).toEqual([
      '/lead',
      '$dev/x',
      'SITE/b',
      'a',
      'site',
      'site/a',
      'site/a/x',
      'site/b',
      'site-2',
    ]))

  test.each([
    ['filter=%23', ['/lead', 'SITE/b', 'a', 'site', 'site/a', 'site/a/x', 'site/b', 'site-2']],
    ['filter=site/%23', ['site', 'site/a', 'site/a/x', 'site/b']],
    ['filter=site/%2B', ['site/a', 'site/b']],
    ['filter=%2B/b', ['SITE/b', 'site/b']],
    ['filter=%2B', ['a', 'site', 'site-2']],
    ['filter=$dev/%23', ['$dev/x']],
    ['filter=site/a', ['site/a']],
    ['filter=none/%23', []],
    ['q=SITE/', ['SITE/b', 'site/a', 'site/a/x', 'site/b']],
    ['q=x&filter=site/%23', ['site/a/x']],
  ])('%s', (query, topics) => expect(asker(world(TOPICS)).topics(`?${query}`)).toEqual(topics))

  test('has who published it and when, and when it expires, but no payload', () => {
    const broker = new TestBroker()
    broker.advance(3000)
    const began = broker.now
    broker.connect('pub').publish('a', 'secret', 1, 1, { retain: true, properties: { messageExpiryInterval: 60 } })
    broker.advance(10_500)
    const expected = {
      topic: 'a',
      payload_bytes: 6,
      qos: 1,
      publisher: 'mqtt:pub',
      expires_in: 50,
      published: isoTime(1000 * Math.floor(began / 1000)),
    }
    expect(asker(broker).get().json).toEqual({ messages: [expected] })
  })

  test('pages are complete while messages come and go', () => {
    const broker = world(Array.from({ length: 25 }, (_, i) => `t/${i}`))
    const seen: string[] = []
    let cursor: string | undefined
    for (let page = 0; ; page++) {
      const { messages, cursor: next } = asker(broker).get(`?limit=4${cursor === undefined ? '' : `&cursor=${cursor}`}`)
        .json as Page
      seen.push(...messages.map(({ topic }) => topic))
      if (next === undefined) break
      cursor = next
      // The last one of the page goes, and others come before and after it.
      broker.broker.retained.delete(seen.at(-1)!)
      retain(broker, `t/${page}/new`)
    }
    const first = Array.from({ length: 25 }, (_, i) => `t/${i}`)
    expect(first.filter((topic) => !seen.includes(topic))).toEqual([])
    expect(new Set(seen).size).toBe(seen.length)
  })

  test('pages of long topics have cursors that fit into a request, and are no longer than a megabyte', () => {
    const long = 'ä'.repeat(30_000)
    const topics = Array.from({ length: 60 }, (_, i) => `${i < 50 ? long : ''}${String(i).padStart(2, '0')}`)
    const broker = world(topics)
    const seen: string[] = []
    const cursors: string[] = []
    for (let query = '?limit=1000'; query !== ''; ) {
      const { messages, cursor } = asker(broker).get(query).json as Page
      expect(JSON.stringify(messages).length).toBeLessThan(1_100_000)
      seen.push(...messages.map(({ topic }) => topic))
      if (cursor !== undefined) cursors.push(cursor)
      query = cursor === undefined ? '' : `?limit=7&cursor=${cursor}`
    }
    expect(seen).toEqual([...topics.slice(50), ...topics.slice(0, 50)])
    expect(cursors.length).toBeGreaterThan(2)
    for (const cursor of cursors) expect(cursor.length).toBeLessThan(6000)
  })

  test.each([
    ['filter=a%23', 'filter: # is not a whole level'],
    ['filter=', 'filter: empty topic filter'],
    ['cursor=%C3%A4', 'cursor: is not one that this list has returned'],
    ['cursor=YQ.x', 'cursor: is not one that this list has returned'],
    ['cursor=YQ.1e9', 'cursor: is not one that this list has returned'],
    ['cursor=YQ.99999999', 'cursor: is not one that this list has returned'],
    ['level=a&filter=a', 'level: excludes filter and q'],
  ])('%s is wrong', (query, detail) => expect(asker(world([])).get(`?${query}`)).toMatchObject({ status: 400, json: { detail } }))
})

describe('a list of levels', () => {
  const TOPICS = ['site/a/x', 'site/a/y', 'site/a', 'site/b', 'site', '/lead', 'z//deep']
  const levels = (query: string) => (asker(world(TOPICS)).get(query).json as Page).levels
  const level = (name: string, topic: string, retained: boolean, below: number) => ({ level: name, topic, retained, below })

  test('counts what is retained below', () => {
    expect(levels('?level=')).toEqual([level('', '', false, 1), level('site', 'site', true, 4), level('z', 'z', false, 1)])
    const site = [level('a', 'site/a', true, 2), level('b', 'site/b', true, 0)]
    expect(levels('?level=site')).toEqual(site)
    expect(levels('?level=site/')).toEqual(site)
    expect(levels('?level=/')).toEqual([level('lead', '/lead', true, 0)])
    expect(levels('?level=z//')).toEqual([level('deep', 'z//deep', true, 0)])
    expect(levels('?level=none')).toEqual([])
  })

  test('comes in pages', () => {
    const { get } = asker(world(TOPICS))
    const { cursor, levels: first } = get('?level=&limit=2').json as Page
    expect(first).toHaveLength(2)
    expect(get(`?level=&limit=2&cursor=${cursor}`).json).toEqual({ levels: [level('z', 'z', false, 1)] })
  })
})

describe('one message', () => {
  const read = (broker: TestBroker, topic: string, role: 'view' | 'manage') =>
    ask(
      retainedRoutes({ broker: broker.broker, notice: () => {}, wallEpoch: 0 }),
      'GET',
      `/api/v1/retained/${encodeURIComponent(topic)}`,
      { role },
    ).json

  test('has its payload and properties, for those who may manage', () => {
    const broker = new TestBroker()
    const properties = {
      payloadFormatIndicator: 1,
      contentType: 'text/plain',
      responseTopic: 'r',
      correlationData: Buffer.from('c'),
      userProperties: [['a', '1']],
    } as const
    const published = isoTime(1000 * Math.floor(broker.now / 1000))
    broker.connect('pub').publish('a/b', 'grün', 0, 0, { retain: true, properties })
    const known = { topic: 'a/b', payload_bytes: 5, qos: 0, publisher: 'mqtt:pub', published }
    expect(read(broker, 'a/b', 'view')).toEqual(known)
    expect(read(broker, 'a/b', 'manage')).toEqual({
      ...known,
      payload: 'grün',
      payload_base64: 'Z3LDvG4=',
      properties: {
        payload_format: 'utf-8',
        content_type: 'text/plain',
        response_topic: 'r',
        correlation_data: 'Yw==',
        user_properties: [{ name: 'a', value: '1' }],
      },
    })
  })

  test('has no text if it is not UTF-8, and no payload if it is large', () => {
    const broker = world([])
    for (const [topic, payload] of [
      ['bytes', Buffer.from([0xff, 0x00])],
      ['long', Buffer.alloc(128 * 1024 + 1)],
      ['large', Buffer.alloc(1024 * 1024 + 1)],
    ] as const) {
      const message = Publish.of(topic, payload, 0, true)
      message.own()
      broker.broker.retained.set(topic, message)
    }
    expect(read(broker, 'bytes', 'manage')).toEqual({ topic: 'bytes', payload_bytes: 2, qos: 0, payload_base64: '/wA=' })
    expect(Object.keys(read(broker, 'long', 'manage'))).toEqual(['topic', 'payload_bytes', 'qos', 'payload_base64'])
    expect(read(broker, 'large', 'manage')).toEqual({ topic: 'large', payload_bytes: 1024 * 1024 + 1, qos: 0 })
  })

  test('404 if there is none', () =>
    expect(read(world(['a/b']), 'a', 'manage')).toEqual({
      status: 404,
      title: 'Not Found',
      detail: 'no message is retained on a',
    }))
})

describe('deletion', () => {
  const reported = (reason: string) => ({ code: 'operator-action', level: 'info', reason })

  test('of one: recorded, answered when that is durable, and subscribers are not told', () => {
    const store = new DelayedStore()
    const broker = new TestBroker({}, store)
    const subscriber = broker.connect('sub', PERSISTENT)
    broker.connect('pub').publish('a/b', 'x', 1, 1, { retain: true })
    subscriber.subscribe('#', 1)
    broker.commit()
    subscriber.poll()
    const { json, pauses } = asker(broker).remove('/a%2Fb')
    expect(json).toEqual({ messages: 1, bytes: 4, dry_run: false })
    expect(pauses).toMatchObject([{ kind: 'durable', lsn: store.appended }])
    broker.commit()
    expect(subscriber.poll()).toEqual([])
    expect(TestBroker.restarted(store, 0).broker.retained.count).toBe(0)
    expect(asker(broker).remove('/a%2Fb').status).toBe(404)
    expect(broker.notices.at(-1)).toEqual(reported('the retained message on a/b is deleted'))
  })

  test('by filter, after a dry run', () => {
    const store = new DelayedStore()
    const broker = new TestBroker({}, store)
    const client = broker.connect('pub')
    for (const topic of ['a/1', 'a/2', 'b', '$dev/x']) client.publish(topic, 'x', 1, 1, { retain: true })
    const { remove, topics } = asker(broker)
    expect(remove('?filter=a/%23&dry_run=true').json).toEqual({ messages: 2, bytes: 8, dry_run: true })
    expect(topics()).toHaveLength(4)
    const { json, pauses } = remove('?filter=a/%23')
    expect(json).toEqual({ messages: 2, bytes: 8, dry_run: false })
    expect(pauses).toMatchObject([{ kind: 'durable', lsn: store.appended }])
    expect(topics()).toEqual(['$dev/x', 'b'])
    expect(broker.notices.at(-1)).toEqual(reported('deleted 2 retained messages on a/#'))
    expect(remove('?filter=%23').json).toMatchObject({ messages: 1 })
    broker.commit()
    expect([...TestBroker.restarted(store, 0).broker.retained].map(({ topic }) => topic)).toEqual(['$dev/x'])
  })

  test('waits while much is not durable yet, and says how far it came when the store is full', () => {
    const store = new DelayedStore()
    store.maxBytes = 4000
    const broker = new TestBroker({}, store)
    for (let i = 0; i < 400; i++) retain(broker, `t/${i}`)
    const { remove } = asker(broker)
    let commits = 0
    const done = remove('?filter=t/%23', () => {
      commits++
      broker.commit()
    })
    expect(done.json).toMatchObject({ messages: 400 })
    expect(commits).toBeGreaterThan(3)
    expect(done.pauses).toContainEqual({ kind: 'room' })
    for (let i = 0; i < 10; i++) retain(broker, `t/${i}`)
    store.refuse = true
    expect(remove('?filter=t/%23').json).toMatchObject({ status: 507, detail: 'the store is full; 0 messages deleted' })
    expect(remove('/t%2F1').status).toBe(507)
    expect(broker.broker.retained.count).toBe(10)
  })

  test('gives up where the store gets no room, and says how far it came', () => {
    const store = new DelayedStore()
    store.maxBytes = 4000
    const broker = new TestBroker({}, store)
    for (let i = 0; i < 400; i++) retain(broker, `t/${i}`)
    const { json, status, pauses } = asker(broker).remove('?filter=t/%23')
    const deleted = 400 - broker.broker.retained.count
    expect(deleted).toBeGreaterThan(0)
    expect([status, (json as { detail: string }).detail]).toEqual([
      503,
      `the store is too slow, and has no room for more; ${deleted} messages deleted, but after a crash some of them may be back`,
    ])
    expect(pauses.filter(({ kind }) => kind === 'room')).toHaveLength(ROOM_PAUSES_MAX)
    expect(broker.notices.at(-1)).toMatchObject({ reason: `deleted ${deleted} retained messages on t/#` })
  })

  test('leaves alone what is retained meanwhile', () => {
    const broker = world(Array.from({ length: 1000 }, (_, i) => `t/${i}`))
    const { remove, topics } = asker(broker)
    let isFirst = true
    remove('?filter=t/%23', () => {
      if (isFirst) for (const topic of ['t/999', 't/new']) retain(broker, topic)
      isFirst = false
    })
    expect(topics()).toEqual(['t/999', 't/new'])
  })

  test.each([['filter=a%23', 'filter: # is not a whole level']])('%s is wrong', (query, detail) =>
    expect(asker(world([])).remove(`?${query}`)).toMatchObject({ status: 400, json: { detail } }),
  )
})

describe('100,000 messages', () => {
  const COUNT = 100_000
  // Each turn examines this many at most; the last one may be shorter.
  const turns = (examined: number): number => Math.ceil(examined / ENTRIES_PER_TURN) + 1

  test.each([
    ['on one level', (i: number) => `site/${i}`],
    ['on many', (i: number) => `s${i % 10}/${i % 1000}/${i}`],
  ])('%s take bounded turns', (_, topicOf) => {
    const broker = world(Array.from({ length: COUNT }, (_, i) => topicOf(i)))
    const { get, remove } = asker(broker)
    // Nothing is found: every level is examined once.
    expect(get('?q=nowhere').turns).toBeGreaterThanOrEqual(turns(COUNT) - 1)
    expect(get('?q=nowhere').turns).toBeLessThanOrEqual(turns(COUNT * 1.2))
    for (const query of ['', '?filter=%23&limit=1000', '?level=&limit=1000', '?level=site&limit=1000'])
      expect(get(query).turns).toBeLessThanOrEqual(turns(COUNT * 4))
    expect(remove('?filter=%23&dry_run=true').json).toMatchObject({ messages: COUNT })
    const { json, turns: taken } = remove('?filter=%23')
    expect(json).toMatchObject({ messages: COUNT })
    expect(taken).toBeGreaterThan(turns(COUNT * 8) - 10)
  })
})

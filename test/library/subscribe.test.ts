import { writeFileSync } from 'node:fs'
import mqtt from 'mqtt'
import { describe, expect, test, vi } from 'vitest'
import type { Message, Notice } from '../../src/index.ts'
import { broker, keepingLog, tempDir, turns } from './broker.ts'

const textOf = ({ topic, payload, qos, retain }: Message): string => `${topic} ${payload} ${qos}${retain ? ' retained' : ''}`

/** A promise, and the function that resolves it. */
function gate(): { passed: Promise<void>; open: () => void } {
  let open = (): void => {}
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { passed, open }
}

describe('with a handler', () => {
  test('messages of clients and of the program, in order, with what they carry', async () => {
    const roost = await broker()
    await roost.publish('t/old', 'kept', { qos: 1, retain: true })
    const got: Message[] = []
    const subscription = await roost.subscribe('t/#', (message) => got.push(message), { qos: 1 })
    expect(subscription.filter).toBe('t/#')
    const client = await mqtt.connectAsync(roost.urls.mqtt, { protocolVersion: 5, reconnectPeriod: 0 })
    const userProperties = { a: '1' }
    const properties = { contentType: 'text/plain', responseTopic: 'r', correlationData: Buffer.from([7]), userProperties }
    await client.publishAsync('t/client', 'one', { qos: 2, properties: { ...properties, payloadFormatIndicator: true } })
    await roost.publish('t/program', new Uint8Array([0x74, 0x77, 0x6f]))
    await vi.waitFor(() => expect(got).toHaveLength(3))
    expect(got.map(textOf)).toEqual(['t/old kept 1 retained', 't/client one 1', 't/program two 0'])
    expect(got[1]!.properties).toEqual({
      ...{ payloadFormatIndicator: 1, contentType: 'text/plain', responseTopic: 'r' },
      correlationData: Buffer.from([7]),
      userProperties: [['a', '1']],
    })
    expect(got[2]!.properties).toEqual({})
    client.end(true)
  })

  test('one message at a time: the next follows when the promise has resolved', async () => {
    const roost = await broker()
    const gates = [gate(), gate()]
    const began: string[] = []
    await roost.subscribe(
      't',
      async ({ payload }) => {
        began.push(String(payload))
        await gates[began.length - 1]?.passed
      },
      { qos: 1 },
    )
    for (const text of ['a', 'b', 'c']) await roost.publish('t', text, { qos: 1 })
    await turns()
    expect(began).toEqual(['a'])
    expect(roost.figures().waiting.messages).toBe(3)
    gates[0]!.open()
    await vi.waitFor(() => expect(began).toEqual(['a', 'b']))
    await turns()
    // The first is acknowledged, the others are not.
    expect(roost.figures().waiting.messages).toBe(2)
    gates[1]!.open()
    await vi.waitFor(() => expect(began).toEqual(['a', 'b', 'c']))
    await vi.waitFor(() => expect(roost.figures().waiting.messages).toBe(0))
  })

  test.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('no such room')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no such room'))],
  ])('one that %s is logged, and gets the next message', async (_, fail) => {
    const { lines, log } = keepingLog()
    const roost = await broker({ log })
    let calls = 0
    const handler = (): unknown => (++calls === 1 ? fail() : undefined)
    await roost.subscribe('t', handler, { qos: 2 })
    await roost.publish('t', 'a', { qos: 2 })
    await roost.publish('t', 'b', { qos: 2 })
    await vi.waitFor(() => expect(calls).toBe(2))
    expect(lines).toContainEqual(expect.stringMatching(/^error the handler of t has failed: Error: no such room/))
    await vi.waitFor(() => expect(roost.figures().waiting.messages).toBe(0))
  })

  test('without a log, a handler that fails is printed on standard error', async () => {
    const printed = vi.spyOn(console, 'error').mockImplementation(() => {})
    const roost = await broker()
    await roost.subscribe('t', () => Promise.reject(new Error('no such room')))
    await roost.publish('t', 'a')
    await vi.waitFor(() => expect(printed).toHaveBeenCalledWith(expect.stringContaining('no such room')))
    printed.mockRestore()
  })

  test('a handler may publish, subscribe and unsubscribe', async () => {
    const roost = await broker()
    const got: string[] = []
    const subscription = await roost.subscribe('ask', async ({ payload }) => {
      await roost.subscribe('answer', (message) => got.push(String(message.payload)))
      await subscription.unsubscribe()
      await roost.publish('answer', `${payload}!`, { qos: 1 })
    })
    await roost.publish('ask', 'well')
    await vi.waitFor(() => expect(got).toEqual(['well!']))
    await roost.publish('ask', 'again', { qos: 1 })
    await turns()
    expect(got).toEqual(['well!'])
  })
})

describe('without a handler', () => {
  test('for await, ended by break; the session goes with it', async () => {
    const roost = await broker()
    const messages = await roost.subscribe('t', { qos: 2 })
    for (const text of ['a', 'b', 'c']) await roost.publish('t', text, { qos: 2 })
    const got: string[] = []
    for await (const { payload } of messages) {
      got.push(String(payload))
      if (got.length === 2) break
    }
    expect(got).toEqual(['a', 'b'])
    expect(roost.figures().subscriptions.plain).toBe(0)
    expect(roost.figures().clients.connected).toBe(0)
    expect(await messages.next()).toEqual({ done: true, value: undefined })
  })

  test('several next() at a time are answered in order', async () => {
    const roost = await broker()
    const messages = await roost.subscribe('t', undefined, { qos: 1 })
    const all = Promise.all([messages.next(), messages.next(), messages.next()])
    for (const text of ['a', 'b', 'c']) await roost.publish('t', text, { qos: 1 })
    expect((await all).map(({ value }) => String(value?.payload))).toEqual(['a', 'b', 'c'])
  })

  test('what next() has returned is acknowledged by the following next()', async () => {
    const roost = await broker()
    const messages = await roost.subscribe('t', { qos: 1 })
    await roost.publish('t', 'a', { qos: 1 })
    await messages.next()
    await turns()
    expect(roost.figures().waiting.messages).toBe(1)
    void messages.next()
    await vi.waitFor(() => expect(roost.figures().waiting.messages).toBe(0))
  })

  test('stop() and unsubscribe() end those who wait', async () => {
    const roost = await broker()
    const [one, other] = [await roost.subscribe('t'), await roost.subscribe('t')]
    const waiting = [one.next(), other.next()]
    await one.unsubscribe()
    await one.unsubscribe()
    await roost.stop()
    expect(await Promise.all(waiting)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ])
  })

  test('await using', async () => {
    const roost = await broker()
    {
      await using messages = await roost.subscribe('t')
      expect(messages.filter).toBe('t')
    }
    expect(roost.figures().subscriptions.plain).toBe(0)
  })
})

describe('backpressure', () => {
  test('an iterator that is not read: a queue of maxQueued, then drops with notices', async () => {
    const roost = await broker()
    const dropped: Notice[] = []
    roost.on('dropped', (notice) => dropped.push(notice))
    const messages = await roost.subscribe('t', { qos: 1, maxQueued: 10 })
    for (let i = 0; i < 50; i++) await roost.publish('t', String(i), { qos: 1 })
    await turns()
    expect(dropped).toHaveLength(40)
    expect(dropped[0]).toMatchObject({ code: 'queue-full', level: 'warn', count: 1, limit: 'max_queued_messages' })
    const got: string[] = []
    while (got.length < 10) got.push(String((await messages.next()).value?.payload))
    expect(got).toEqual(Array.from({ length: 10 }, (_, i) => String(i)))
    expect(roost.figures()).toMatchObject({ messages: { dropped: 40 }, limits: { max_queued_messages: 40 } })
  })

  test('QoS 0 is bounded, too', async () => {
    const roost = await broker()
    const messages = await roost.subscribe('t', { maxQueued: 10 })
    for (let i = 0; i < 50; i++) await roost.publish('t', String(i))
    await turns()
    expect(roost.figures()).toMatchObject({ messages: { dropped: 40 } })
    expect(String((await messages.next()).value?.payload)).toBe('0')
  })

  test('a slow reader makes publishers wait, in the program and on a socket: nothing is dropped', async () => {
    const roost = await broker()
    const count = 400
    const got = { program: 0, client: 0 }
    // Fast enough that waiting for it makes sense, and slower than both publishers.
    await roost.subscribe(
      '+',
      async ({ topic }) => {
        got[topic as keyof typeof got]++
        await turns(1)
      },
      { qos: 1, maxQueued: 40 },
    )
    const client = await mqtt.connectAsync(roost.urls.mqtt, { reconnectPeriod: 0 })
    const paused = vi.fn()
    roost.on('notice', ({ code, peer }) => {
      if (code === 'publisher-paused') paused(peer?.replace(/:\d+$/, ''))
    })
    await Promise.all(
      Array.from({ length: count }, (_, i) => [
        client.publishAsync('client', String(i), { qos: 1 }),
        roost.publish('program', String(i), { qos: 1 }),
      ]).flat(),
    )
    await vi.waitFor(() => expect(got).toEqual({ program: count, client: count }), { timeout: 15_000 })
    expect(roost.figures().messages.dropped).toBe(0)
    expect(new Set(paused.mock.calls.map(([peer]) => peer as string))).toEqual(new Set(['127.0.0.1', 'this process']))
    client.end(true)
  })

  test('a burst that nobody awaits is published in order, and reaches a fast reader whole', async () => {
    const roost = await broker()
    const got: number[] = []
    await roost.subscribe('t', ({ payload }) => got.push(Number(payload)), { qos: 1 })
    const numbers = Array.from({ length: 5000 }, (_, i) => i)
    await Promise.all(numbers.map((i) => roost.publish('t', String(i), { qos: 1 })))
    await vi.waitFor(() => expect(got).toHaveLength(5000))
    expect(got).toEqual(numbers)
    expect(roost.figures().messages.dropped).toBe(0)
  })
})

test('a condition: only messages that meet it; one that is not valid is refused', async () => {
  const roost = await broker()
  const messages = await roost.subscribe('t', { qos: 1, filter: 'json.celsius > 25.0' })
  for (const text of ['{"celsius":24.5}', '{"celsius":25.5}', 'nonsense', '{"celsius":26.5}'])
    await roost.publish('t', text, { qos: 1 })
  const got = [await messages.next(), await messages.next()].map(({ value }) => String(value?.payload))
  expect(got).toEqual(['{"celsius":25.5}', '{"celsius":26.5}'])
  const invalid = { reasonCode: 0x83, message: expect.stringMatching(/^subscribe t: .*filter is not valid/) }
  await expect(roost.subscribe('t', { filter: 'json.celsius >' })).rejects.toMatchObject(invalid)
})

test('one that the broker ends is logged with a handler, and rejects next() without', async () => {
  const { lines, log } = keepingLog()
  const roost = await broker({ log, httpPort: 0 })
  await roost.subscribe('a', () => {})
  const messages = await roost.subscribe('b')
  const next = messages.next()
  const { clients } = (await (await fetch(`${roost.urls.http}/api/v1/clients`)).json()) as { clients: { id: string }[] }
  for (const { id } of clients) expect(roost.disconnect(id)).toBe(true)
  await expect(next).rejects.toMatchObject({ reasonCode: 0x98, message: 'subscribe b: an operator has disconnected it' })
  await vi.waitFor(() => expect(lines).toContain('error subscribe a: an operator has disconnected it'))
  expect(clients).toHaveLength(2)
})

test('two subscriptions to one filter are two clients; a shared one has each message once', async () => {
  const roost = await broker()
  const got = { plain: 0, shared: 0 }
  for (let i = 0; i < 2; i++) {
    await roost.subscribe('t', () => got.plain++)
    await roost.subscribe('$share/g/t', () => got.shared++)
  }
  for (let i = 0; i < 10; i++) await roost.publish('t', 'x', { qos: 1 })
  await vi.waitFor(() => expect(got).toEqual({ plain: 20, shared: 10 }))
})

test('access lists, client id rules, bans and hooks do not apply to the program, before and after a reload', async () => {
  const dir = tempDir()
  const write = (name: string, text: string): string => {
    writeFileSync(`${dir}/${name}`, text, { mode: 0o600 })
    return `${dir}/${name}`
  }
  const options = {
    aclFile: write('acl', 'topic deny #\n'),
    clientidFile: write('ids', 'alice: "*"\n'),
    banFile: write('bans', '0.0.0.0/0\n::/0\n'),
  }
  for (const hooks of [
    {},
    { authenticate: () => false, authorize: () => false, onPublish: () => false, onDeliver: () => false },
  ]) {
    const roost = await broker({ ...options, ...hooks })
    const messages = await roost.subscribe('#', { qos: 1 })
    await roost.publish('a/b', 'x', { qos: 1 })
    expect(String((await messages.next()).value?.payload)).toBe('x')
    await roost.reload()
    await roost.publish('a/b', 'y', { qos: 1 })
    expect(String((await messages.next()).value?.payload)).toBe('y')
    await expect(roost.publish('a/b', 'x', { as: { username: 'alice' } })).rejects.toMatchObject({ reasonCode: 0x87 })
  }
})

describe('stop', () => {
  const BOUND_MS = 5000

  test('handlers get everything that was published before, and may publish', async () => {
    const roost = await broker()
    const got: string[] = []
    await roost.subscribe(
      'slow',
      async ({ payload }) => {
        await new Promise((resolve) => setTimeout(resolve, 5))
        await roost.publish('quick', `${payload}!`, { qos: 1 })
      },
      { qos: 2 },
    )
    await roost.subscribe('quick', ({ payload }) => got.push(String(payload)))
    for (let i = 0; i < 20; i++) await roost.publish('slow', String(i), { qos: 2 })
    await roost.publish('quick', 'direct')
    await roost.stop()
    expect(got).toEqual(['direct', ...Array.from({ length: 20 }, (_, i) => `${i}!`)])
    await expect(roost.publish('quick', 'late')).rejects.toMatchObject({ reasonCode: 0x8b })
  })

  test('an iterator that is being read, too', async () => {
    const roost = await broker()
    const messages = await roost.subscribe('t', { qos: 1 })
    const got: string[] = []
    const reading = (async () => {
      for await (const { payload } of messages) got.push(String(payload))
    })()
    for (let i = 0; i < 200; i++) await roost.publish('t', String(i), { qos: 1 })
    await roost.stop()
    await reading
    expect(got).toHaveLength(200)
  })

  test('waits no longer than its bound, and says what is left', async () => {
    const { lines, log } = keepingLog()
    const roost = await broker({ log })
    const dropped: Notice[] = []
    roost.on('dropped', (notice) => dropped.push(notice))
    await roost.subscribe('stuck', () => new Promise(() => {}), { qos: 1 })
    const unread = await roost.subscribe('unread')
    for (let i = 0; i < 3; i++) await roost.publish('stuck', 'x', { qos: 1 })
    await roost.publish('unread', 'x')
    const from = performance.now()
    await roost.stop()
    expect(performance.now() - from).toBeGreaterThan(BOUND_MS - 100)
    expect(lines).toContain('warn stop: the handler of stuck has not finished within 5 s')
    const told = (filter: string) => `the program has not taken what ${filter} has matched, and stops`
    expect(dropped).toEqual([
      expect.objectContaining({ code: 'message-dropped', count: 2, reason: told('stuck') }),
      expect.objectContaining({ code: 'message-dropped', count: 1, reason: told('unread') }),
    ])
    expect((await unread.next()).done).toBe(true)
  }, 15_000)

  test('from within a handler: it does not wait for itself', async () => {
    const roost = await broker()
    const stopped = new Promise<void>((resolve) => {
      void roost.subscribe('quit', () => roost.stop().then(resolve))
    })
    await turns()
    const from = performance.now()
    await roost.publish('quit', '')
    await stopped
    expect(performance.now() - from).toBeLessThan(BOUND_MS - 1000)
  })
})

describe('what cannot be subscribed to', () => {
  test.each<[string, number, string]>([
    ['a/#/b', 0x8f, 'the topic filter is not valid'],
    ['', 0x8f, 'the topic filter is not valid'],
    ['$share//a', 0x8f, 'the topic filter is not valid'],
    ['a/'.repeat(200), 0x8f, 'the topic filter is not valid, or too long (max_topic_levels)'],
  ])('%j', async (filter, reasonCode, words) => {
    const roost = await broker()
    const message = expect.stringContaining(`subscribe ${filter}: ${words}`)
    await expect(roost.subscribe(filter)).rejects.toMatchObject({ name: 'RoostError', reasonCode, message })
    // Its session has gone.
    expect(roost.figures().clients.connected).toBe(0)
  })

  test.each<[unknown[], string]>([
    [[5], 'subscribe: filter: expected a string, got number'],
    [['a', 'handler'], 'subscribe a: expected a function as handler, got string'],
    [['a', null], 'subscribe a: expected an object of options, got null'],
    [['a', { qos: 3 }], 'subscribe a: qos: expected 0, 1 or 2, got 3'],
    [['a', { maxQueued: 0 }], 'subscribe a: maxQueued: expected a whole number from 1 to 10000000, got 0'],
    [['a', { filter: 5 }], 'subscribe a: filter: expected a string, got number'],
    [['a', { quos: 1 }], 'subscribe a: quos: unknown option (did you mean qos?)'],
    [['a', { qos: 1 }, { qos: 1 }], 'subscribe a: options are given twice'],
    [['a', () => {}, 5], 'subscribe a: expected an object of options, got number'],
  ])('%j', async (given, message) => {
    const roost = await broker()
    const subscribe = roost.subscribe as unknown as (...given: unknown[]) => Promise<unknown>
    await expect(subscribe.apply(roost, given)).rejects.toThrow(new TypeError(message))
  })

  test('a limit is named', async () => {
    const roost = await broker({ maxSessions: 1 })
    await roost.subscribe('a')
    await expect(roost.subscribe('b')).rejects.toMatchObject({
      reasonCode: 0x97,
      message: expect.stringContaining('too many sessions (max_sessions)'),
    })
  })
})

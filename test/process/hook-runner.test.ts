import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Notice } from '../../src/base/notice.ts'
import type { AuthRequest } from '../../src/broker/access.ts'
import type { AccessQuestion, DeliveryFacts, PublishQuestion } from '../../src/broker/hooks.ts'
import { HookRunner, withEvents } from '../../src/process/hook-runner.ts'
import type { Hooks } from '../../src/process/hooks.ts'

const CLIENT = { kind: 'mqtt', clientId: 'c', username: 'u', listener: 'l' } as const
const MESSAGE = { ...CLIENT, topic: 'a', payload: Buffer.from('1'), qos: 1, retain: false, properties: {} } as const
const QUESTION: PublishQuestion = { ...MESSAGE, id: 1 }
const DELIVERY: DeliveryFacts = { ...MESSAGE, from: 'mqtt:p' }
const ACCESS: AccessQuestion = { ...CLIENT, action: 'publish', topic: 'a', qos: 0, retain: false }
const LOGIN = {
  link: 1,
  step: 1,
  info: { kind: 'mqtt', peer: '127.0.0.1:1', listener: 'l' },
  clientId: 'c',
  username: 'u',
  password: Buffer.from('p'),
  method: undefined,
  data: undefined,
  again: false,
} as const satisfies AuthRequest

const notices: Notice[] = []
// biome-ignore lint/suspicious/noExplicitAny: hooks return what they may not here.
const runner = (hooks: { readonly [name in keyof Hooks]?: any }): HookRunner =>
  new HookRunner(hooks, (each) => notices.push(each))

beforeEach(() => {
  notices.length = 0
  vi.useFakeTimers()
})
afterEach(() => vi.useRealTimers())

const ACCEPTED = { kind: 'accepted' }
const refused = (reasonCode: number, reason: unknown): unknown => ({ kind: 'refused', reasonCode, reason })
const BY_HOOK = 'refused by the hook onPublish'

describe('onPublish', () => {
  test.each([
    ['nothing', undefined, ACCEPTED],
    ['true', true, ACCEPTED],
    ['no change', {}, ACCEPTED],
    ['false', false, refused(0x87, BY_HOOK)],
    ['a reason code', { reasonCode: 0x99 }, refused(0x99, BY_HOOK)],
    ['reason code 0 and a change', { reasonCode: 0, topic: 'b' }, { kind: 'accepted', change: { topic: 'b' } }],
    ['a text', { payload: 'é' }, { kind: 'accepted', change: { payload: Buffer.from('é') } }],
    ['properties', { properties: { contentType: 't' } }, { kind: 'accepted', change: { properties: { contentType: 't' } } }],
    ['a wildcard', { topic: 'a/#' }, refused(0x80, expect.stringContaining('hook onPublish: topic: '))],
    ['a topic that is no text', { topic: 7 }, refused(0x80, expect.stringContaining('topic: expected a string'))],
    [
      'a payload that is none',
      { payload: 7 },
      refused(0x80, 'hook onPublish: payload: expected a Uint8Array or a string, got 7'),
    ],
    ['another QoS', { qos: 2 }, refused(0x80, 'hook onPublish: qos: cannot be changed')],
    ['an unknown key', { topics: 'b' }, refused(0x80, 'hook onPublish: topics: unknown key')],
    ['a wrong property', { properties: { colour: 1 } }, refused(0x80, expect.stringContaining('properties.colour'))],
    [
      'a reason code of another packet',
      { reasonCode: 0x8e },
      refused(0x80, 'hook onPublish: reasonCode: expected 0x80, 0x83, 0x87, 0x90, 0x97 or 0x99, got 0x8e'),
    ],
    ['null', null, refused(0x80, 'hook onPublish: expected nothing, false or an object, got null')],
    ['a list', [], refused(0x80, 'hook onPublish: expected nothing, false or an object, got a list')],
  ])('%s', async (_what, result, answer) => {
    expect(runner({ onPublish: () => result }).ask(QUESTION)).toEqual(answer)
    await expect(runner({ onPublish: async () => result }).ask(QUESTION)).resolves.toEqual(answer)
  })

  test('may return the message with something changed in it', () => {
    const same = { kind: 'accepted', change: { payload: Buffer.from('1') } }
    expect(runner({ onPublish: (message: object) => message }).ask(QUESTION)).toEqual(same)
    const changed = runner({ onPublish: (message: object) => ({ ...message, topic: 'b' }) }).ask(QUESTION)
    expect(changed).toEqual({ kind: 'accepted', change: { ...same.change, topic: 'b' } })
  })

  // What it returns is compared with what it was given, so such a change would be lost.
  test.each<
    [
      string,
      (message: { topic: string; qos: number; properties: { contentType?: string; userProperties?: unknown[] } }) => unknown,
    ]
  >([
    ['its topic', (message) => (message.topic = 'b')],
    ['its QoS', (message) => (message.qos = 2)],
    ['its properties', ({ properties }) => (properties.contentType = 't')],
    ['its user properties', ({ properties }) => properties.userProperties!.push(['a', 'b'])],
  ])('cannot change the message itself: %s', (_what, change) => {
    const given = { ...QUESTION, properties: { userProperties: [['k', 'v']] } } as const
    const onPublish = (message: Parameters<typeof change>[0]) => {
      change(message)
      return message
    }
    const why = /^hook onPublish: TypeError: Cannot (assign to read only|add) property/
    expect(runner({ onPublish }).ask(given)).toEqual(refused(0x80, expect.stringMatching(why)))
    expect(given.properties.userProperties).toEqual([['k', 'v']])
  })

  test('gets copies that it may keep and change', () => {
    const kept: { payload: Buffer }[] = []
    const question = { ...QUESTION, payload: Buffer.from('1') }
    runner({ onPublish: (message: { payload: Buffer }) => void kept.push(message) }).ask(question)
    question.payload.fill(0)
    expect(kept[0]!.payload.toString()).toBe('1')
    expect(kept[0]).not.toHaveProperty('id')
  })

  test('an exception and a rejection refuse, and say where they come from', async () => {
    const thrown = runner({
      onPublish: () => {
        throw new TypeError('boom')
      },
    }).ask(QUESTION)
    expect(thrown).toEqual(
      refused(0x80, expect.stringMatching(/^hook onPublish: TypeError: boom \(.*hook-runner\.test\.ts:\d+:\d+\)$/)),
    )
    const rejected = runner({ onPublish: () => Promise.reject('no reason') }).ask(QUESTION)
    await expect(rejected).resolves.toEqual(refused(0x80, "hook onPublish: thrown: 'no reason'"))
  })

  test('five seconds without an answer refuse; what comes later is ignored, also a rejection', async () => {
    let reject: (error: Error) => void = () => {}
    const hooks = runner({ onPublish: () => new Promise((_, no) => (reject = no)) })
    const answer = hooks.ask(QUESTION)
    await vi.advanceTimersByTimeAsync(5000)
    await expect(answer).resolves.toEqual(refused(0x80, 'hook onPublish: no answer after 5 s'))
    reject(new Error('too late'))
    await vi.advanceTimersByTimeAsync(0)
    expect(notices).toHaveLength(1)
    void hooks.ask(QUESTION)
    hooks.stop()
    expect(vi.getTimerCount()).toBe(0)
  })
})

test('each hook is reported once a minute, with the number of its failures', () => {
  const hooks = runner({ onPublish: () => 7, authorize: () => 7 })
  for (let i = 0; i < 5; i++) hooks.ask(QUESTION)
  hooks.core.authorize!(ACCESS)
  const told = (): unknown[] => notices.map(({ code, reason, count }) => `${code} ${reason} ${count}`)
  const publish = 'hook-failed onPublish: expected nothing, false or an object, got 7'
  const both = [`${publish} 1`, 'hook-failed authorize: expected true or false, got 7 1']
  expect(told()).toEqual(both)
  vi.advanceTimersByTime(60_000)
  hooks.ask(QUESTION)
  expect(told()).toEqual([...both, `${publish} 5`])
})

describe('authorize', () => {
  test.each([
    [true, true],
    [false, false],
    [undefined, false],
    [1, false],
    ['yes', false],
    [{}, false],
  ])('%j: %s', (result, may) => {
    expect(runner({ authorize: () => result }).core.authorize!(ACCESS)).toBe(may)
  })

  test('a promise is not an answer, also one that would say yes; and its rejection ends nothing', async () => {
    const hooks = runner({ authorize: async () => true })
    expect(hooks.core.authorize!(ACCESS)).toBe(false)
    expect(notices[0]!.reason).toBe(
      'authorize: expected true or false, got a promise: it has to decide at once, and cannot be async',
    )
    expect(runner({ authorize: () => Promise.reject(new Error('x')) }).core.authorize!(ACCESS)).toBe(false)
    await vi.advanceTimersByTimeAsync(0)
  })

  test('knows while it runs that the server waits', () => {
    const seen: boolean[] = []
    const hooks: HookRunner = runner({ authorize: () => seen.push(hooks.isInside) > 0 })
    hooks.core.authorize!(ACCESS)
    expect([...seen, hooks.isInside]).toEqual([true, false])
  })
})

describe('onDeliver', () => {
  test.each([
    [undefined, undefined],
    [true, undefined],
    [{}, undefined],
    [false, 'drop'],
    [{ payload: 'x' }, { payload: Buffer.from('x') }],
    [
      { ...DELIVERY, payload: 'x' },
      { payload: Buffer.from('x'), properties: {} },
    ],
    [{ topic: 'b' }, 'drop'],
    [7, 'drop'],
    [Promise.resolve(), 'drop'],
  ])('%j: %j', (result, answer) => {
    expect(runner({ onDeliver: () => result }).core.onDeliver!(DELIVERY)).toEqual(answer)
  })

  test('an exception drops', () => {
    const hooks = runner({
      onDeliver: () => {
        throw new Error('boom')
      },
    })
    expect(hooks.core.onDeliver!(DELIVERY)).toBe('drop')
    expect(notices).toHaveLength(1)
  })
})

describe('authenticate', () => {
  test.each([
    [true, { reasonCode: 0 }],
    [false, { reasonCode: 0x86 }],
    [{ reasonCode: 0 }, { reasonCode: 0 }],
    [{ username: 'admin' }, { reasonCode: 0, username: 'admin' }],
    [{ reasonCode: 0x87, username: 'admin' }, { reasonCode: 0x87 }],
  ])('%j', async (result, answer) => {
    await expect(runner({ authenticate: () => result }).login(LOGIN)).resolves.toEqual({ username: undefined, ...answer })
    await expect(runner({ authenticate: async () => result }).login(LOGIN)).resolves.toMatchObject(answer)
  })

  test.each([[undefined], [null], [1], ['yes'], [{}], [{ reasonCode: 1 }], [{ username: '' }], [{ ok: true }]])(
    '%j is no answer',
    async (result) => {
      await expect(runner({ authenticate: () => result }).login(LOGIN)).rejects.toThrow(/^hook authenticate: /)
      expect(notices).toHaveLength(1)
    },
  )

  test('no answer in five seconds', async () => {
    const answer = runner({ authenticate: () => new Promise(() => {}) }).login(LOGIN)
    const failed = expect(answer).rejects.toThrow('hook authenticate: no answer after 5 s')
    await vi.advanceTimersByTimeAsync(5000)
    await failed
  })
})

test('events come after the input that led to them; neither an exception nor a rejection ends anything', async () => {
  const told: string[] = []
  const hooks = runner({
    onConnect: ({ clientId }: { clientId: string }) => {
      told.push(clientId)
      throw new Error('boom')
    },
    onWake: () => Promise.reject(new Error('later')),
    onSleep: () => new Promise(() => {}),
  })
  const also: string[] = []
  const events = withEvents(hooks.core, { onConnect: ({ clientId }) => also.push(clientId), onRegister: () => {} })!.events!
  const connected = { ...CLIENT, peer: 'p', protocolVersion: 5, cleanStart: true, sessionPresent: false, keepAlive: 0 } as const
  events.onConnect!(connected)
  events.onWake!({ ...CLIENT, peer: 'p' })
  events.onSleep!({ ...CLIENT, peer: 'p', duration: 1 })
  expect([told, also, events.onDisconnect]).toEqual([[], ['c'], undefined])
  await vi.advanceTimersByTimeAsync(0)
  expect(told).toEqual(['c'])
  expect(notices.map(({ reason }) => reason!.split(' (')[0])).toEqual(['onConnect: Error: boom', 'onWake: Error: later'])
  expect(runner({}).core.events).toBeUndefined()
})

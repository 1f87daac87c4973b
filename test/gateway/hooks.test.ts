import { describe, expect, test } from 'vitest'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import type { AccessQuestion, PublishAnswer, PublishQuestion } from '../../src/broker/hooks.ts'
import { decodeMessage, isMalformed } from '../../src/mqttsn/decode.ts'
import { encodedMessage } from '../../src/mqttsn/encode.ts'
import { type Message, MsgType } from '../../src/mqttsn/messages.ts'
import { Server, type ServerInput, type ServerOptions, type ServerOutput } from '../../src/server.ts'
import { MemoryStore } from '../../src/store/store.ts'
import { OPTIONS, say } from './harness.ts'

/** A server, sensors that are routes, and whoever answers its questions. */
class Asked {
  now = 0
  readonly questions: PublishQuestion[] = []
  readonly logins: Extract<ServerOutput, { kind: 'auth' }>['request'][] = []
  readonly #heard: Message[] = []
  readonly server: Server

  constructor(options: Partial<ServerOptions>) {
    this.server = new Server({
      gateway: OPTIONS,
      store: new MemoryStore(),
      clock: { epoch: 0 },
      notice: () => {},
      random: () => 0.5,
      ...options,
    })
    this.server.gateway.mostIdle = 0
    this.server.recover(0)
  }

  input(input: ServerInput): void {
    this.server.handle(this.now, input)
    for (let out = this.server.poll(this.now); out !== undefined; out = this.server.poll(this.now)) {
      if (out.kind === 'hook') this.questions.push({ ...out.question, payload: Uint8Array.from(out.question.payload) })
      else if (out.kind === 'auth') this.logins.push(out.request)
      else if (out.kind === 'datagram') {
        const message = decodeMessage(out.bytes)
        if (!isMalformed(message)) this.#heard.push(message)
      }
    }
  }

  send(route: string, ...messages: Message[]): void {
    for (const message of messages) this.input({ kind: 'datagram', route, bytes: encodedMessage(message) })
  }

  answer(question: PublishQuestion, answer: PublishAnswer = { kind: 'accepted' }): void {
    this.input({ kind: 'hooked', id: question.id, answer })
  }

  /** What the sensors were told since the last call. */
  heard(): Message[] {
    return this.#heard.splice(0)
  }

  topics(): string[] {
    return this.questions.splice(0).map(({ topic, payload }) => `${topic}=${Buffer.from(payload).toString()}`)
  }
}

const ASKS = { hooks: { asksAboutMessages: true } }
const publish = (text: string, qos: -1 | 0 | 1 | 2, msgId = 0, dup = false): Message => ({
  ...say.publish(1, text, qos, msgId, 'predefined'),
  dup,
})
const puback = (msgId: number, returnCode = 0): object => ({ type: MsgType.PUBACK, msgId, returnCode })

describe('onPublish and sensors', () => {
  test('a QoS 1 message is acknowledged after the answer, and a repetition meanwhile is not another one', () => {
    const world = new Asked(ASKS)
    world.send('s', say.connect('a'))
    world.heard()
    world.send('s', publish('1', 1, 7), publish('1', 1, 7, true))
    expect(world.heard()).toEqual([])
    expect(world.questions).toMatchObject([{ kind: 'sn', clientId: 'a', listener: 'sn', topic: 'predefined/one', qos: 1 }])
    world.answer(world.questions[0]!)
    expect(world.heard()).toMatchObject([puback(7)])
    expect(world.questions).toHaveLength(1)
  })

  test('several messages are asked about in order, and none is refused because one waits', () => {
    const world = new Asked(ASKS)
    world.send('s', say.connect('a'))
    world.heard()
    world.send('s', publish('1', 1, 7), publish('2', 0), publish('3', 2, 8))
    const [first] = world.questions
    expect(world.topics()).toEqual(['predefined/one=1'])
    world.answer(first!)
    const [second] = world.questions
    expect(world.topics()).toEqual(['predefined/one=2'])
    world.answer(second!)
    const [third] = world.questions
    expect(world.topics()).toEqual(['predefined/one=3'])
    world.answer(third!)
    expect(world.heard()).toMatchObject([puback(7), { type: MsgType.PUBREC, msgId: 8 }])
  })

  test('a refusal is told with a return code', () => {
    const world = new Asked(ASKS)
    world.send('s', say.connect('a'))
    world.heard()
    world.send('s', publish('1', 1, 7), publish('2', 2, 8))
    world.answer(world.questions[0]!, { kind: 'refused', reasonCode: 0x99, reason: 'x' })
    world.answer(world.questions[1]!, { kind: 'refused', reasonCode: 0x97, reason: 'x' })
    expect(world.heard()).toMatchObject([puback(7, 3), puback(8, 1)])
  })

  test('a sensor that sleeps meanwhile gets its answer when it wakes; QoS 0 is published all the same', () => {
    const world = new Asked(ASKS)
    world.send('s', say.connect('a'))
    world.send('s', publish('1', 0), publish('2', 1, 7), say.disconnect(60))
    world.heard()
    world.answer(world.questions[0]!)
    world.answer(world.questions[1]!)
    world.send('s', say.ping('a'))
    expect(world.heard().map(({ type }) => type)).toContain(MsgType.PINGRESP)
    expect(world.server.broker.asked!.size).toBe(0)
  })

  test('senders with QoS -1 do not wait for each other', () => {
    const world = new Asked(ASKS)
    world.send('one', publish('1', -1))
    world.send('two', publish('2', -1))
    const [first, second] = world.questions
    expect(world.topics()).toEqual(['predefined/one=1', 'predefined/one=2'])
    world.answer(second!)
    world.answer(first!)
    expect(world.server.broker.stats.publishReceived).toBe(2)
    expect(world.server.broker.asked!.size).toBe(0)
  })
})

test('a sensor waits for authenticate, and is refused by it', () => {
  const world = new Asked({ access: { ...OPEN_ACCESS, connect: () => 'ask' } })
  world.send('s', say.connect('a'))
  expect(world.heard()).toEqual([])
  const [login] = world.logins
  expect(login).toMatchObject({ clientId: 'a', username: undefined, password: undefined, info: { kind: 'sn', peer: 's' } })
  const answer = { kind: 'accepted', username: 'alice', grant: undefined } as const
  world.input({ kind: 'authenticated', link: login!.link, step: login!.step, answer })
  expect(world.heard()).toMatchObject([{ type: MsgType.CONNACK, returnCode: 0 }])
  world.send('t', say.connect('b'))
  const other = world.logins[1]!
  const refused = { kind: 'refused', reasonCode: 0x86, reason: 'x' } as const
  world.input({ kind: 'authenticated', link: other.link, step: other.step, answer: refused })
  expect(world.heard().map((message) => ('returnCode' in message ? message.returnCode : 0))).not.toContain(0)
})

test('onRegister, onSleep and onWake', () => {
  const told: string[] = []
  const world = new Asked({
    hooks: {
      events: {
        onRegister: ({ clientId, topic, topicId, peer }) => told.push(`${clientId} at ${peer} has ${topicId > 0} for ${topic}`),
        onSleep: ({ clientId, duration }) => told.push(`${clientId} sleeps ${duration}`),
        onWake: ({ clientId, kind }) => told.push(`${kind} ${clientId} wakes`),
      },
    },
  })
  world.send('s', say.connect('a'), say.register('x/y', 1), say.disconnect(60), say.ping('a'), say.ping('a'))
  expect(told).toEqual(['a at s has true for x/y', 'a sleeps 60', 'sn a wakes', 'a sleeps 60', 'sn a wakes', 'a sleeps 60'])
})

test('a will is a question of its own', () => {
  const asked: Pick<AccessQuestion, 'action' | 'topic'>[] = []
  const access = {
    ...OPEN_ACCESS,
    will: (_who: object, topic: string) => asked.push({ action: 'will', topic }) > 0,
    publish: (_who: object, topic: string) => asked.push({ action: 'publish', topic }) > 0,
  }
  const world = new Asked({ access })
  world.send('s', say.connect('a', { will: true }), say.willTopic('gone'), say.willMsg('1'), publish('1', 0))
  expect(asked).toEqual([
    { action: 'will', topic: 'gone' },
    { action: 'publish', topic: 'predefined/one' },
  ])
})

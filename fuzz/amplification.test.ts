import fc from 'fast-check'
import { expect, test } from 'vitest'
import { PRIVATE_NETWORKS, parseNetwork } from '../src/base/networks.ts'
import { PROOF_OCTETS } from '../src/gateway/ports/address-validation.ts'
import { encodedMessage } from '../src/mqttsn/encode.ts'
import { type Message, MsgType } from '../src/mqttsn/messages.ts'
import { say, TestGateway } from '../test/gateway/harness.ts'
import { runs } from './runs.ts'
import { Random } from './sim/random.ts'

const ADDRESSES = ['198.51.100.1:5', '198.51.100.2:5', '[2001:db8::1]:5']

/** What is known of an address. The sender there is forged until it repeats what was sent there. */
class Account {
  received = 0
  wakes = 0
  /** How often a true answer to what was sent there may have proven it. */
  answers = 0
  readonly sent: Message[] = []
  /** Message ids that were sent there: a blind sender knows none of them. */
  readonly ids = new Set<number>()
  /** What an observer of the last messages there would answer. */
  unanswered: Message[] = []

  hear(messages: readonly Message[]): void {
    this.sent.push(...messages)
    this.unanswered.push(...messages.filter(canProve))
    for (const message of messages) if (canProve(message)) this.ids.add((message as { msgId: number }).msgId)
  }

  /** Octets that were sent, but for the largest of those that may exceed the bound. */
  get octetsWithinBound(): number {
    const excepted = this.sent
      .filter(canProve)
      .map(size)
      .toSorted((a, b) => b - a)
      .slice(0, 1 + this.wakes)
    return this.sent.reduce((sum, message) => sum + size(message), 0) - excepted.reduce((sum, octets) => sum + octets, 0)
  }

  get bound(): number {
    return 3 * this.received + this.answers * PROOF_OCTETS
  }
}

/** Ids up to this are guessed, and never drawn. */
const GUESSED_MAX = 100

const size = (message: Message): number => encodedMessage(message).length
/** What may exceed the bound, once a wake and address: it asks for an answer that proves the address. */
const canProve = (message: Message): boolean =>
  message.type === MsgType.REGISTER || (message.type === MsgType.PUBLISH && message.qos === 1)

const who = fc.nat(ADDRESSES.length - 1)
const forged = fc.constantFrom('REGACK', 'REGACK without topic id', 'PUBACK', 'PUBACK refused', 'PUBREC', 'PUBCOMP')
const often = <T>(arbitrary: fc.Arbitrary<T>): { weight: number; arbitrary: fc.Arbitrary<T> } => ({ weight: 6, arbitrary })
const step = fc.oneof(
  often(
    fc.record({
      who,
      say: fc.constantFrom('connect', 'subscribe', 'subscribe short', 'ping', 'wake', 'sleep', 'publish', 'register'),
    }),
  ),
  // Whose session is moved, woken or taken over from there.
  often(fc.record({ who, say: fc.constantFrom('connect', 'wake'), whose: who })),
  often(
    fc.record({
      octets: fc.oneof(fc.nat(20), fc.nat(400)),
      qos: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
      topic: fc.constantFrom('a/long/topic/name', 'ab'),
    }),
  ),
  // Ids in order, and ids that were sent to another address: learned there by somebody who hears what is sent to it.
  often(fc.record({ who, forged, from: fc.constantFrom(1, 3, 10) })),
  often(fc.record({ who, forged, learnedAt: who })),
  // A sensor that is really there.
  fc.record({ who, answers: fc.constant(true) }),
  often(fc.record({ wait: fc.nat(30_000) })),
)

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** Sends forged acknowledgements with these ids, but for those that were drawn for that very address: a lucky guess is what `draw` rules out. */
function forge(gateway: TestGateway, at: number, account: Account, what: string, ids: Iterable<number>): void {
  for (const id of ids) {
    if (id > GUESSED_MAX && account.ids.has(id)) continue
    const message = acknowledgement(what, id)
    account.received += size(message)
    gateway.send(ADDRESSES[at]!, message)
  }
}

function take(gateway: TestGateway, accounts: readonly Account[], each: Step, msgId: number): void {
  if ('wait' in each) {
    gateway.advance(each.wait)
    return
  }
  if ('octets' in each) {
    gateway.publish(each.topic, 'x'.repeat(each.octets), each.qos)
    return
  }
  const account = accounts[each.who]!
  if ('learnedAt' in each) forge(gateway, each.who, account, each.forged, accounts[each.learnedAt]!.ids)
  else if ('forged' in each)
    forge(
      gateway,
      each.who,
      account,
      each.forged,
      Array.from({ length: 4 }, (_, i) => each.from + i),
    )
  else if ('answers' in each) {
    for (const message of account.unanswered.splice(0)) {
      const { topicId, msgId: id } = message as { topicId: number; msgId: number }
      const answer = message.type === MsgType.REGISTER ? say.regack(topicId, id) : say.puback(topicId, id)
      account.received += size(answer)
      account.answers++
      gateway.send(ADDRESSES[each.who]!, answer)
    }
  } else speak(gateway, account, each, msgId)
}

function speak(gateway: TestGateway, account: Account, each: { who: number; say: string; whose?: number }, msgId: number): void {
  const route = ADDRESSES[each.who]!
  const clientId = `s${each.whose ?? each.who}`
  const named = gateway.gateway.client(clientId)
  const there = ADDRESSES.map((_, i) => gateway.gateway.client(`s${i}`)).find((client) => client?.route === route)
  const pinged = each.say === 'ping' || each.say === 'wake'
  const addressed = each.say === 'ping' ? there : named
  if (addressed?.state === 'asleep' && (pinged || each.say === 'connect')) account.wakes++
  const mustAnswer = pinged && addressed?.state === 'active' && addressed === there
  const message = said(each.say, clientId, msgId)
  account.received += size(message)
  gateway.send(route, message)
  if (!mustAnswer) return
  const heard = gateway.messages(route)
  account.hear(heard)
  expect(heard.map(({ type }) => type)).toContain(MsgType.PINGRESP)
}

test('A20: whatever forged senders say, nobody is sent more than three times that, and every PINGREQ of a client is answered', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), fc.nat(), (steps, seed) => {
      const gateway = new TestGateway({
        trustedNetworks: PRIVATE_NETWORKS.map((text) => parseNetwork(text)!),
        unprovenPerSecond: 1000,
      })
      const random = new Random(seed)
      gateway.draw = () => random.between(GUESSED_MAX, 0xfffe) / 0xffff
      const accounts = ADDRESSES.map(() => new Account())
      let msgId = 1
      for (const [i, account] of accounts.entries()) {
        const begin = [
          say.connect(`s${i}`, { clean: false, duration: 6000 }),
          say.subscribeId('short', 0x6162, i as 0 | 1 | 2, msgId++),
        ]
        for (const message of begin) account.received += size(message)
        gateway.send(ADDRESSES[i]!, ...begin)
      }
      for (const each of steps) {
        take(gateway, accounts, each, msgId++)
        for (const [i, account] of accounts.entries()) {
          account.hear(gateway.messages(ADDRESSES[i]!))
          expect(account.octetsWithinBound).toBeLessThanOrEqual(account.bound)
        }
      }
    }),
    runs(150),
  )
})

function said(what: string, clientId: string, msgId: number): Message {
  switch (what) {
    case 'connect':
      return say.connect(clientId, { clean: false, duration: 6000 })
    case 'subscribe':
      return say.subscribe('a/#', 1, msgId)
    case 'subscribe short':
      return say.subscribeId('short', 0x6162, 2, msgId)
    case 'ping':
      return say.ping()
    case 'wake':
      return say.ping(clientId)
    case 'sleep':
      return say.disconnect(60)
    case 'publish':
      return say.publish(0x6363, 'up', 1, msgId, 'short')
    default:
      return say.register('up/topic', msgId)
  }
}

function acknowledgement(what: string, id: number): Message {
  switch (what) {
    case 'REGACK':
      return say.regack(0x401, id)
    case 'REGACK without topic id':
      return say.regack(0, id)
    case 'PUBACK':
      return say.puback(0x6162, id)
    case 'PUBACK refused':
      return say.puback(0x6162, id, 2)
    case 'PUBREC':
      return say.pubrec(id)
    default:
      return say.pubcomp(id)
  }
}

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { PRIVATE_NETWORKS, parseNetwork } from '../src/base/networks.ts'
import { encodedMessage } from '../src/mqttsn/encode.ts'
import { type Message, MsgType } from '../src/mqttsn/messages.ts'
import { say, TestGateway } from '../test/gateway/harness.ts'
import { runs } from './runs.ts'

const ADDRESSES = ['198.51.100.1:5', '198.51.100.2:5', '[2001:db8::1]:5']

interface Account {
  received: number
  wakes: number
  readonly sent: Message[]
}

const size = (message: Message): number => encodedMessage(message).length
/** What may exceed the bound, once a wake and address. */
const canProve = (message: Message): boolean =>
  message.type === MsgType.REGISTER || (message.type === MsgType.PUBLISH && message.qos > 0)

/** Octets that were sent, but for the largest of those that may exceed the bound. */
function octetsWithinBound({ sent, wakes }: Account): number {
  const excepted = sent
    .filter(canProve)
    .map(size)
    .toSorted((a, b) => b - a)
    .slice(0, 1 + wakes)
  return sent.reduce((sum, message) => sum + size(message), 0) - excepted.reduce((sum, octets) => sum + octets, 0)
}

test('A20: whatever forged senders say, nobody is sent more than three times that, and every PINGREQ of a client is answered', () => {
  const who = fc.nat(ADDRESSES.length - 1)
  const step = fc.oneof(
    fc.record({
      who,
      say: fc.constantFrom('connect', 'subscribe', 'subscribe short', 'ping', 'wake', 'sleep', 'publish', 'register'),
    }),
    fc.record({
      octets: fc.oneof(fc.nat(20), fc.nat(400)),
      qos: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
      topic: fc.constantFrom('a/long/topic/name', 'ab'),
    }),
    fc.record({ wait: fc.nat(30_000) }),
  )
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
      const gateway = new TestGateway({
        trustedNetworks: PRIVATE_NETWORKS.map((text) => parseNetwork(text)!),
        unprovenPerSecond: 1000,
      })
      const accounts: Account[] = ADDRESSES.map(() => ({ received: 0, wakes: 0, sent: [] }))
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
        if ('wait' in each) gateway.advance(each.wait)
        else if ('octets' in each) gateway.publish(each.topic, 'x'.repeat(each.octets), each.qos)
        else {
          const account = accounts[each.who]!
          const client = gateway.gateway.client(`s${each.who}`)
          const pinged = each.say === 'ping' || each.say === 'wake'
          const isAsleep = client?.state === 'asleep'
          if (isAsleep && (pinged || each.say === 'connect')) account.wakes++
          const message = said(each.say, `s${each.who}`, msgId++)
          account.received += size(message)
          gateway.send(ADDRESSES[each.who]!, message)
          if (client?.state === 'active' && pinged && !isAsleep) {
            const heard = gateway.messages(ADDRESSES[each.who]!)
            account.sent.push(...heard)
            expect(heard.map(({ type }) => type)).toContain(MsgType.PINGRESP)
          }
        }
        for (const [i, account] of accounts.entries()) {
          account.sent.push(...gateway.messages(ADDRESSES[i]!))
          expect(octetsWithinBound(account)).toBeLessThanOrEqual(3 * account.received)
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

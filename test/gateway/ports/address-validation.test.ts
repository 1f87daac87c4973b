import { describe, expect, test } from 'vitest'
import { Random } from '../../../fuzz/sim/random.ts'
import type { Notice } from '../../../src/base/notice.ts'
import type { GatewayOptions } from '../../../src/gateway/gateway-options.ts'
import { AddressProof, CHALLENGES_MAX, GUESSES_MAX, PROOF_OCTETS } from '../../../src/gateway/ports/address-validation.ts'
import { encodedMessage } from '../../../src/mqttsn/encode.ts'
import { type Message, MsgType, type SnPublish } from '../../../src/mqttsn/messages.ts'
import { say, TestGateway } from '../harness.ts'

// Ruling A20: what proves that an address is not forged.

/** The attacker can send from the victim's address, and hears nothing of what is sent there. */
const VICTIM = '198.51.100.7:5000'
/** The attacker's own address. */
const OWN = '203.0.113.66:5000'
const big = 'x'.repeat(300)
const size = (messages: readonly Message[]): number => messages.reduce((sum, each) => sum + encodedMessage(each).length, 0)

/** A gateway whose ids cannot be guessed, for which no network is trusted; messages that exceed what is earned are plenty. */
function open(more: Partial<GatewayOptions> = {}): TestGateway {
  const gateway = new TestGateway({ trustedNetworks: [], unprovenPerSecond: 1000, ...more })
  gateway.draw = new Random(7).next
  return gateway
}

/** The ids that a blind sender tries first. */
function guesses(gateway: TestGateway, guess: (id: number) => Message): void {
  for (let id = 1; id <= 20; id++) gateway.send(VICTIM, guess(id))
}

/** The message ids that were sent to an address. */
const idsOf = (messages: readonly Message[]): number[] =>
  messages.flatMap((each) => (each.type === MsgType.PUBLISH || each.type === MsgType.REGISTER ? [each.msgId] : []))

/** Nothing was proven, and QoS 0 does not reach the victim. */
function expectUnproven(gateway: TestGateway): void {
  expect(gateway.gateway.isProven(VICTIM)).toBe(false)
  gateway.messages(VICTIM)
  for (let i = 0; i < 30; i++) gateway.publish('ss', big, 0)
  expect(gateway.messages(VICTIM).filter(({ type }) => type === MsgType.PUBLISH)).toEqual([])
}

describe('S1: a blind sender does not prove the address of a victim', () => {
  test('by acknowledging REGISTER and PUBLISH with ids in order', () => {
    const gateway = open()
    gateway.send(VICTIM, say.connect('s', { duration: 0 }), say.subscribe('tt/#', 1), say.subscribe('ss', 0, 10))
    gateway.publish('tt/1', big, 1)
    guesses(gateway, (id) => say.regack(0x402, id))
    guesses(gateway, (id) => say.puback(0x402, id))
    expectUnproven(gateway)
  })

  test('by a REGACK that leaves out the topic id', () => {
    const gateway = open()
    gateway.send(VICTIM, say.connect('s', { duration: 0 }), say.subscribe('tt/#', 1), say.subscribe('ss', 0, 10))
    gateway.publish('tt/1', big, 1)
    guesses(gateway, (id) => say.regack(0, id))
    expectUnproven(gateway)
  })

  test('by ids that it has learned at an address of its own, whose session then moves', () => {
    for (const move of [[say.ping('s')], [say.connect('s', { clean: false, duration: 0 })]]) {
      const gateway = open()
      gateway.send(OWN, say.connect('s', { clean: false, duration: 0 }), say.subscribe('tt', 1), say.subscribe('ss', 0, 10))
      gateway.publish('tt', 'short', 1)
      const learned = idsOf(gateway.messages(OWN))
      expect(learned).toHaveLength(1)
      gateway.send(OWN, say.disconnect(60_000))
      gateway.send(VICTIM, ...move, ...learned.map((id) => say.puback(0x401, id)))
      gateway.send(VICTIM, ...learned.map((id) => say.regack(0x401, id)))
      expectUnproven(gateway)
    }
  })

  test('by ids of the next messages, learned where the address is proven', () => {
    const gateway = open()
    gateway.send(OWN, say.connect('s', { clean: false, duration: 0 }), say.subscribe('tt', 1), say.subscribe('ss', 0, 10))
    // Proven there, and ids count on.
    for (let i = 0; i < 5; i++) {
      gateway.publish('tt', 'short', 1)
      gateway.send(OWN, ...idsOf(gateway.messages(OWN)).map((id) => say.puback(0x401, id)))
    }
    gateway.send(OWN, say.disconnect(60_000))
    gateway.publish('tt', big, 1)
    gateway.send(VICTIM, say.ping('s'))
    guesses(gateway, (id) => say.puback(0x401, id))
    expectUnproven(gateway)
  })

  test('by waking a sleeper there, as often as it likes', () => {
    const gateway = open()
    gateway.send(OWN, say.connect('s', { clean: false }), say.subscribe('tt', 1), say.subscribe('ss', 0, 10))
    gateway.send(OWN, say.disconnect(60_000))
    gateway.publish('tt', big, 1)
    for (let wake = 0; wake < 5; wake++) {
      gateway.send(VICTIM, say.ping('s'))
      guesses(gateway, (id) => say.puback(0x401, id + 20 * wake))
      gateway.advance(60_000)
    }
    expectUnproven(gateway)
  })

  test('by PUBREC and PUBCOMP, whose ids the receiver knows beforehand: QoS 2 waits for a REGACK', () => {
    const gateway = open()
    gateway.send(VICTIM, say.connect('s', { duration: 0 }), say.subscribe('tt', 2), say.subscribe('ss', 0, 10))
    gateway.publish('tt', big, 2)
    expect(gateway.messages(VICTIM).map(({ type }) => type)).toEqual([
      MsgType.CONNACK,
      MsgType.SUBACK,
      MsgType.SUBACK,
      MsgType.REGISTER,
    ])
    guesses(gateway, (id) => say.pubrec(id))
    guesses(gateway, (id) => say.pubcomp(id))
    expectUnproven(gateway)
  })

  test('by an id that was chosen and has not been sent yet', () => {
    const gateway = new TestGateway({ trustedNetworks: [], unprovenPerSecond: 0 })
    gateway.send(VICTIM, say.connect('s', { duration: 0 }), say.subscribe('tt', 1))
    gateway.publish('tt', big, 1)
    gateway.send(VICTIM, say.puback(0x401, 1))
    gateway.publish('tt', big, 1)
    gateway.send(VICTIM, say.puback(0x401, 1), say.puback(0x401, 2))
    expect(size(gateway.messages(VICTIM).filter(({ type }) => type === MsgType.PUBLISH))).toBe(0)
  })
})

describe('S1: wrong guesses cost', () => {
  const sensor = (gateway: TestGateway): number => {
    gateway.send(VICTIM, say.ping('s'))
    return idsOf(gateway.messages(VICTIM))[0]!
  }
  const asleep = (): TestGateway => {
    const gateway = open()
    gateway.send(VICTIM, say.connect('s', { clean: false }), say.subscribe('tt', 1), say.disconnect(60_000))
    for (let i = 0; i < 3; i++) gateway.publish('tt', `${i}${big.repeat(10)}`, 1)
    gateway.messages(VICTIM)
    return gateway
  }
  const guess = (gateway: TestGateway, right: number): void => {
    for (let id = 1, count = 0; count < GUESSES_MAX; id++)
      if (id !== right && ++count) gateway.send(VICTIM, say.puback(0x401, id))
  }

  const blocks = ({ notices }: TestGateway): Notice[] =>
    notices.filter(({ reason }) => reason?.includes('acknowledgements of nothing'))

  test('too many of them: nothing proves the address for a minute, then for two, and the log says so', () => {
    const gateway = asleep()
    for (const seconds of [60, 120]) {
      const right = sensor(gateway)
      guess(gateway, right)
      const reason = `${GUESSES_MAX} acknowledgements of nothing: none proves the address for ${seconds} s`
      expect(blocks(gateway).at(-1)).toMatchObject({ code: 'limit-reached', level: 'warn', peer: VICTIM, reason })
      // What really was sent there is acknowledged, and proves nothing.
      gateway.send(VICTIM, say.puback(0x401, right))
      expect(gateway.messages(VICTIM).filter(({ type }) => type === MsgType.PUBLISH)).toEqual([])
      gateway.advance((seconds - 50) * 1000)
      gateway.send(VICTIM, say.ping('s'))
      expect(gateway.messages(VICTIM).filter(({ type }) => type === MsgType.PUBLISH)).toEqual([])
      gateway.advance(60_000)
    }
  })

  test('then the sensor proves it as ever', () => {
    const gateway = asleep()
    guess(gateway, sensor(gateway))
    gateway.advance(70_000)
    gateway.send(VICTIM, say.puback(0x401, sensor(gateway)))
    expect(gateway.sent(VICTIM)).toHaveLength(1)
  })

  test('a few of them do not: a sensor repeats itself, and is late', () => {
    const gateway = asleep()
    const right = sensor(gateway)
    for (let i = 1; i < GUESSES_MAX; i++) gateway.send(VICTIM, say.puback(0x401, 0xffff - i))
    gateway.send(VICTIM, say.puback(0x401, right))
    expect(gateway.sent(VICTIM)).toHaveLength(1)
    expect(blocks(gateway)).toEqual([])
  })
})

describe('S1: a sensor that answers notices nothing', () => {
  test('a second copy has the id of the first, and the next messages come without waiting', () => {
    const gateway = open()
    gateway.send(OWN, say.connect('s', { duration: 0 }), say.subscribe('tt', 1))
    gateway.publish('tt', 'a', 1)
    gateway.advance(10_000)
    const [first, second] = idsOf(gateway.messages(OWN))
    expect(second).toBe(first)
    gateway.send(OWN, say.puback(0x401, first!))
    for (const text of ['b', 'c', 'd']) gateway.publish('tt', text.repeat(300), 1)
    for (const text of ['b', 'c', 'd']) {
      const [message] = gateway.messages(OWN)
      expect(Buffer.from((message as SnPublish).data).toString()).toBe(text.repeat(300))
      gateway.send(OWN, say.puback(0x401, idsOf([message!])[0]!))
    }
  })

  test('a sleeper that wakes at two addresses in turn gets everything once it answers', () => {
    const gateway = open({ roam: 'anywhere' })
    gateway.send(OWN, say.connect('s', { clean: false }), say.subscribe('tt', 1), say.disconnect(60_000))
    gateway.publish('tt', big, 1)
    gateway.send(OWN, say.ping('s'))
    const learned = idsOf(gateway.messages(OWN))
    gateway.advance(60_000)
    gateway.send(VICTIM, say.ping('s'))
    const ids = idsOf(gateway.messages(VICTIM))
    expect(ids).not.toEqual(learned)
    gateway.send(VICTIM, say.puback(0x401, ids[0]!))
    expect(gateway.sent(VICTIM)).toEqual(['PINGRESP'])
  })

  test('several messages at once (sn_inflight_messages): their ids never meet', () => {
    const gateway = new TestGateway({ trustedNetworks: [], inflightMessages: 4 })
    // The id that is drawn is the packet id of the second message.
    gateway.chance = 1 / 0xffff
    gateway.send(OWN, say.connect('s', { duration: 0 }), say.subscribe('tt', 1), say.subscribe('uu', 2, 10))
    for (const [text, topic, qos] of [
      ['a', 'tt', 1],
      ['b', 'uu', 2],
      ['c', 'tt', 1],
      ['d', 'tt', 1],
    ] as const)
      gateway.publish(topic, text, qos)
    const heard: string[] = []
    for (let messages = gateway.messages(OWN); messages.length > 0; messages = gateway.messages(OWN)) {
      const open = messages.filter((each) => each.type === MsgType.PUBLISH)
      expect(new Set(open.map(({ msgId }) => msgId)).size).toBe(open.length)
      for (const each of messages) {
        if (each.type === MsgType.PUBREL) gateway.send(OWN, say.pubcomp(each.msgId))
        if (each.type === MsgType.REGISTER) gateway.send(OWN, say.regack(each.topicId, each.msgId))
        if (each.type !== MsgType.PUBLISH) continue
        heard.push(Buffer.from(each.data).toString())
        gateway.send(OWN, each.qos === 1 ? say.puback(each.topicId, each.msgId) : say.pubrec(each.msgId))
      }
    }
    expect(heard).toEqual(['a', 'b', 'c', 'd'])
  })
})

describe('S1: what a proof is worth', () => {
  const proof = (chance: () => number, maxUnproven = 1_000_000): AddressProof =>
    new AddressProof({ trusted: [], maxUnproven, maxProven: 1000, largePerSecond: 1e9 }, () => {}, chance)
  const none = (): boolean => false
  const GUESS_OCTETS = size([say.puback(1, 1)])

  /** As many challenges as there can be at once. */
  function challenged(each: AddressProof, address: string): void {
    each.received(address, 100)
    for (let i = 0; i < CHALLENGES_MAX; i++) {
      const id = each.challenge(0, address, 10, 0, none)!
      each.admits(0, address, 10, false, id)
    }
  }

  test('a proven address is sent 64 KiB beside three times what it says, and is asked again', () => {
    const gateway = open()
    gateway.send(OWN, say.connect('s', { duration: 0 }), say.subscribe('tt', 0))
    gateway.messages(OWN)
    let asked = 0
    let octets = 0
    for (let i = 0; i < 1000; i++) {
      gateway.publish('tt', big, 0)
      for (const each of gateway.messages(OWN)) {
        if (each.type === MsgType.REGISTER) {
          asked++
          gateway.send(OWN, say.regack(each.topicId, each.msgId))
        } else octets += size([each])
      }
      octets += size(gateway.messages(OWN))
    }
    expect(octets).toBeGreaterThan(1000 * 300)
    expect(asked).toBe(Math.ceil(octets / PROOF_OCTETS))
    // Nobody answers any more.
    let unanswered = 0
    for (let i = 0; i < 1000; i++) {
      gateway.publish('tt', big, 0)
      unanswered += size(gateway.messages(OWN))
    }
    expect(unanswered).toBeLessThanOrEqual(PROOF_OCTETS)
  })

  test('QoS 1 renews the proof by its acknowledgements alone', () => {
    const gateway = open()
    gateway.send(OWN, say.connect('s', { duration: 0 }), say.subscribe('tt', 1))
    gateway.messages(OWN)
    for (let i = 0; i < 1000; i++) {
      gateway.publish('tt', big, 1)
      const messages = gateway.messages(OWN)
      expect(messages.map(({ type }) => type)).toEqual([MsgType.PUBLISH])
      gateway.send(OWN, say.puback(0x401, idsOf(messages)[0]!))
    }
  })

  test('of all message ids, as many prove as were sent: a guess of 7 octets is worth 4 on average', () => {
    expect(GUESS_OCTETS).toBe(7)
    let right = 0
    for (let id = 1; id <= 0xffff; id++) {
      const each = proof(new Random(11).next)
      challenged(each, VICTIM)
      if (each.answered(VICTIM, id)) right++
    }
    expect(right).toBe(CHALLENGES_MAX)
    expect((CHALLENGES_MAX * PROOF_OCTETS) / 0xffff).toBeLessThan(GUESS_OCTETS)
  })

  test('a million guesses, at fresh addresses all the time: less is sent for them than they cost', { timeout: 60_000 }, () => {
    const each = proof(new Random(13).next, 10_000)
    let spent = 0
    let gained = 0
    let tries = 0
    while (spent < 7_000_000) {
      const address = `198.51.100.${tries % 250}:${tries++}`
      challenged(each, address)
      for (let i = 1; i < GUESSES_MAX; i++) {
        spent += GUESS_OCTETS
        if (!each.answered(address, (tries * GUESSES_MAX + i) % 0x10000)) each.guessed(0, address)
        else while (each.admits(0, address, 100, false, 0)) gained += 100
      }
    }
    expect(gained).toBeGreaterThan(0)
    expect(gained).toBeLessThan(spent)
  })
})

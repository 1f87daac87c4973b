import { describe, expect, test } from 'vitest'
import { DEFAULT_LISTENER_LIMITS } from '../../src/mqtt/connection-limits.ts'
import { Wire } from '../mqtt/wire.ts'
import { persistent, resumed, VERSIONS, WireClient, world } from '../mqtt/wire-client.ts'

describe.each(VERSIONS)('topics in version %i', (protocolVersion) => {
  const joined = (wire = world()): WireClient => WireClient.connect(wire, { protocolVersion })
  const malformed = (reasonCode: number): string[] =>
    protocolVersion === 5 ? [`DISCONNECT 0x${reasonCode.toString(16)}`, 'close'] : ['close']

  test('MQTT-4.7.0-1: a topic name has no wildcards', () => {
    for (const topic of ['+', '#', 'a/+', 'a/#', 'a+b', '#a', '/+/']) {
      const client = joined()
      client.publish(topic)
      expect(client.hears()).toEqual(malformed(0x90))
    }
  })

  test('MQTT-4.7.1-1: # is the whole last level of a filter', () => {
    for (const filter of ['#/a', 'a/#/b', 'a#', '#a', 'a/b#', '##', 'a/#/', '+#', '$share/g/a#']) {
      const client = joined()
      client.subscribe(filter)
      expect(client.hears()).toEqual(malformed(0x81))
    }
    const client = joined()
    client.subscribe(['#', 'a/#', '/#', 'a/+/#'])
    expect(client.hears()).toEqual(['SUBACK #100 0x00 0x00 0x00 0x00'])
  })

  test('MQTT-4.7.1-2: + is a whole level of a filter', () => {
    for (const filter of ['a+', '+a', 'a/b+', '++', '+a/b', 'a/+b/c', '$share/g/a+']) {
      const client = joined()
      client.subscribe(filter)
      expect(client.hears()).toEqual(malformed(0x81))
    }
    const client = joined()
    client.subscribe(['+', '+/a', 'a/+', '+/+', '/+', '+/'])
    expect(client.hears()).toEqual(['SUBACK #100 0x00 0x00 0x00 0x00 0x00 0x00'])
  })

  test('MQTT-4.7.3-1: names and filters have at least one character', () => {
    const subscriber = joined()
    subscriber.subscribe('')
    expect(subscriber.hears()).toEqual(malformed(0x81))
    const publisher = joined()
    publisher.publish('')
    expect(publisher.hears()).toEqual(malformed(0x82))
    const other = joined()
    other.unsubscribe('')
    expect(other.hears()).toEqual(malformed(0x81))
  })

  test('MQTT-4.7.3-3: names of 65,535 bytes are fine; one that a mount point makes longer is refused, and nobody is sent it', () => {
    const mounted = { ...DEFAULT_LISTENER_LIMITS, mountPoint: 'mounted/' }
    const wire = new Wire({ maxConnectPacketSize: 100_000 }, {})
    const behind = new Wire({ listeners: new Map([['mounted', mounted]]), maxConnectPacketSize: 100_000 })
    const longest = 'x'.repeat(65_535)
    const client = joined(wire).subscribed('#')
    WireClient.connect(wire).publish(longest, 'y')
    expect(client.hears()).toEqual([`${longest}=y q0`])

    const watcher = joined(behind).subscribed('#', 1)
    const publisher = WireClient.connect(behind, { protocolVersion }, { listener: 'mounted' })
    publisher.publish(longest, 'y', 1, { retain: true })
    // 3.x has no code for a refusal.
    expect(publisher.hears()).toEqual([protocolVersion === 5 ? 'PUBACK #1 0x90' : 'PUBACK #1'])
    publisher.publish('x'.repeat(65_535 - 8), 'y', 1)
    expect(watcher.hears()).toEqual([`mounted/${'x'.repeat(65_527)}=y q1 #1`])
    expect(behind.broker.retained.count).toBe(0)
    publisher.subscribe(longest)
    expect(publisher.hears().at(-1)).toBe(`SUBACK #100 ${{ 3: '0x00', 4: '0x80', 5: '0x8f' }[protocolVersion]}`)
    expect(behind.broker.subscriptionCount).toBe(1)
  })

  test('the longest name with too many levels ends the connection with a DISCONNECT that can be read', () => {
    const wire = new Wire()
    const client = joined(wire)
    client.publish('/'.repeat(65_535))
    expect(client.hears()).toEqual(malformed(0x90))
  })

  test('MQTT-4.7.3-4: topics are the same only if every character is', () => {
    const wire = world()
    const other = WireClient.connect(wire)
    const client = joined(wire).subscribed(['é', 'a/b', 'ﬁ/+'])
    for (const topic of ['e\u0301', 'É', 'A/b', '/a/b', 'a/b/', 'a//b', ' a/b', 'fi/x']) other.publish(topic)
    expect(client.hears()).toEqual([])
    for (const topic of ['é', 'a/b', 'ﬁ/x']) other.publish(topic, topic)
    expect(client.hears()).toEqual(['é=é q0', 'a/b=a/b q0', 'ﬁ/x=ﬁ/x q0'])
  })
})

describe.each(VERSIONS)('shared subscriptions in version %i', (protocolVersion) => {
  const joined = (wire = world()): WireClient => WireClient.connect(wire, { protocolVersion })
  const INVALID = { 3: '0x00', 4: '0x80', 5: '0x8f' }[protocolVersion]
  const invalid = (filters: readonly string[]): void => {
    const wire = world()
    const client = joined(wire)
    client.subscribe(filters)
    expect(client.hears()).toEqual([`SUBACK #100 ${filters.map(() => INVALID).join(' ')}`])
    expect(wire.broker.subscriptionCount).toBe(0)
  }

  test('MQTT-4.8.2-1: $share/ and a name of at least one character', () => {
    invalid(['$share//a', '$share/', '$share', '$share//#'])
    const client = joined()
    client.subscribe(['$share/g/a', '$share/é/a', '$share/$g/a', '$share/a b/a', '$shared/a', '$shared', '$Share/g/a'])
    expect(client.hears()).toEqual([`SUBACK #100${' 0x00'.repeat(7)}`])
    expect(client.wire.broker.sharedSubscriptionCount).toBe(4)
  })

  test('MQTT-4.8.2-2: no wildcard in the name, and a filter behind it', () => {
    invalid(['$share/+/a', '$share/#', '$share/g/', '$share/g', '$share/+'])
    const client = joined()
    client.subscribe(['$share/g/#', '$share/g/+', '$share/g//', '$share/g//a'])
    expect(client.hears()).toEqual(['SUBACK #100 0x00 0x00 0x00 0x00'])
  })

  test('MQTT-4.8.2-3: each member gets the QoS that it was granted', () => {
    const wire = world()
    const members = ([0, 1, 2] as const).map((qos) => joined(wire).subscribed('$share/g/a', qos))
    const other = WireClient.connect(wire)
    for (let i = 0; i < 9; i++) other.publish('a', 'x', 2)
    for (const [granted, member] of members.entries()) {
      const heard = member.hears()
      expect(heard.length).toBeGreaterThan(0)
      expect(new Set(heard.map((one) => one.split(' ')[1]))).toEqual(new Set([`q${granted}`]))
    }
  })

  test('MQTT-4.8.2-4: QoS 2 on its way to a member is completed with it when it comes back', () => {
    const wire = world()
    const options = { clientId: 'first', ...persistent(protocolVersion) }
    const first = WireClient.connect(wire, options).subscribed('$share/g/a', 2)
    const other = WireClient.connect(wire)
    other.publish('a', 'sent', 2)
    other.publish('a', 'received', 2)
    first.ack(5, 2)
    first.hears()
    const second = joined(wire).subscribed('$share/g/a', 2)
    first.lost()
    expect(second.hears()).toEqual([])
    const again = new WireClient(wire, options)
    expect(again.hears()).toEqual([resumed(protocolVersion), 'a=sent q2 #1 dup', 'PUBREL #2'])
    again.ack(5, 1)
    again.ack(7, 1)
    again.ack(7, 2)
    expect([again.hears(), second.hears()]).toEqual([['PUBREL #1'], []])
    expect(wire.broker.sessions.waiting().messages).toBe(0)
  })

  test('MQTT-4.8.2-5: QoS 2 on its way to a member whose session ends goes to nobody else', () => {
    const wire = world()
    const first = joined(wire).subscribed('$share/g/a', 2)
    WireClient.connect(wire).publish('a', 'x', 2)
    expect(first.hears()).toEqual(['a=x q2 #1'])
    const second = joined(wire).subscribed('$share/g/a', 2)
    first.disconnect()
    expect(second.hears()).toEqual([])
    expect(wire.broker.sessions.waiting().messages).toBe(0)
  })
})

test('MQTT-4.8.2-6: a message that a member refuses is dropped, and goes to nobody else', () => {
  const wire = world()
  const first = WireClient.connect(wire).subscribed('$share/g/a', 2)
  const other = WireClient.connect(wire)
  other.publish('a', 'one', 1)
  other.publish('a', 'two', 2)
  expect(first.hears()).toEqual(['a=one q1 #1', 'a=two q2 #2'])
  const second = WireClient.connect(wire).subscribed('$share/g/a', 2)
  first.ack(4, 1, 0x80)
  first.ack(5, 2, 0x97)
  expect([first.hears(), second.hears()]).toEqual([[], []])
  expect(wire.broker.sessions.waiting().messages).toBe(0)
})

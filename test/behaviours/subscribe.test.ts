import { describe, expect, test } from 'vitest'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import { DEFAULT_LIMITS } from '../../src/broker/limits.ts'
import type { Will } from '../../src/mqtt/packets.ts'
import type { ProtocolVersion, QoS } from '../../src/mqtt/publish.ts'
import { Wire } from '../mqtt/wire.ts'
import { persistent, resumed, VERSIONS, WireClient, world } from '../mqtt/wire-client.ts'

const QOS: readonly QoS[] = [0, 1, 2]
const will = (topic: string): Will => ({ topic, payload: Buffer.from('gone'), qos: 0, retain: false, properties: {} })
const messages = (client: WireClient): string[] => client.hears().filter((heard) => heard.includes('='))

describe.each(VERSIONS)('behaviour 33: the lower of published and granted QoS (version %i)', (protocolVersion) => {
  test.each(['a/b', 'a/+', '#', '+/#'])('by %s: live, retained and queued', (filter) => {
    for (const granted of QOS) {
      for (const published of QOS) {
        const wire = world()
        const other = WireClient.connect(wire)
        const options = { clientId: 'c', ...persistent(protocolVersion) }
        const lowest = Math.min(granted, published)
        const id = (packetId: number): string => (lowest === 0 ? '' : ` #${packetId}`)

        other.publish('a/b', 'kept', published, { retain: true })
        const client = WireClient.connect(wire, options)
        client.subscribe(filter, granted)
        expect(messages(client)).toEqual([`a/b=kept q${lowest}${id(1)} retain`])

        other.publish('a/b', 'live', published)
        expect(messages(client)).toEqual([`a/b=live q${lowest}${id(2)}`])
        if (lowest === 1) for (const packetId of [1, 2]) client.ack(4, packetId)
        if (lowest === 2) for (const packetId of [1, 2]) for (const type of [5, 7] as const) client.ack(type, packetId)

        client.lost()
        other.publish('a/b', 'queued', published)
        const again = new WireClient(wire, options)
        // QoS 0 is not kept for those who are away.
        expect(again.hears()).toEqual([resumed(protocolVersion), ...(lowest === 0 ? [] : [`a/b=queued q${lowest}${id(3)}`])])
      }
    }
  })
})

describe('behaviour 34: overlapping subscriptions', () => {
  test.each(VERSIONS)('one copy with the highest QoS, live and queued (version %i)', (protocolVersion) => {
    const wire = world()
    const options = { clientId: 'c', ...persistent(protocolVersion) }
    const client = WireClient.connect(wire, options).subscribed([
      { filter: 'a/+', qos: 0 },
      { filter: 'a/b', qos: 2 },
      { filter: '#', qos: 1 },
    ])
    const other = WireClient.connect(wire)
    other.publish('a/b', 'x', 2)
    expect(client.hears()).toEqual(['a/b=x q2 #1'])
    client.lost()
    other.publish('a/b', 'y', 2)
    expect(new WireClient(wire, options).hears()).toEqual([resumed(protocolVersion), 'a/b=x q2 #1 dup', 'a/b=y q2 #2'])
  })

  test('identifiers come with what waited too, and with retained messages: that of the new subscription alone', () => {
    const wire = Wire.stored()
    const other = WireClient.connect(wire)
    other.publish('a', 'kept', 1, { retain: true })
    const options = { clientId: 'c', ...persistent(5) }
    const client = WireClient.connect(wire, options).subscribed('#', 1, { subscriptionIdentifiers: [1] })
    client.subscribe('a', 1, { subscriptionIdentifiers: [2] })
    expect(messages(client)).toEqual(['a=kept q1 #2 retain ids 2'])
    for (const packetId of [1, 2]) client.ack(4, packetId)
    client.lost()
    other.publish('a', 'queued', 1)
    expect(new WireClient(wire.restarted(), options).hears()).toEqual(['CONNACK present', 'a=queued q1 #1 ids 2,1'])
  })

  test('No Local on one of them leaves what the others ask for', () => {
    const wire = world()
    const client = WireClient.connect(wire)
      .subscribed({ filter: 'a', qos: 2, noLocal: true }, 2, { subscriptionIdentifiers: [1] })
      .subscribed('+', 1, { subscriptionIdentifiers: [2] })
    client.publish('a', 'mine', 2)
    expect(messages(client)).toEqual(['a=mine q1 #1 ids 2'])
    WireClient.connect(wire).publish('a', 'theirs', 2)
    expect(messages(client)).toEqual(['a=theirs q2 #2 ids 1,2'])
  })
})

describe('behaviour 35: the same filter again', () => {
  test('replaces No Local, Retain As Published and the identifier, across a restart too', () => {
    const wire = Wire.stored()
    const options = { clientId: 'c', ...persistent(5) }
    const client = WireClient.connect(wire, options)
      .subscribed({ filter: 'a', noLocal: true, retainAsPublished: true }, 0, { subscriptionIdentifiers: [1] })
      .subscribed({ filter: 'a', qos: 1 }, 1, { subscriptionIdentifiers: [2] })
      .subscribed({ filter: 'b', noLocal: true }, 0, { subscriptionIdentifiers: [3] })
      .subscribed({ filter: 'b', retainAsPublished: true }, 0)
    client.publish('a', 'mine', 0, { retain: true })
    client.publish('b', 'mine', 0, { retain: true })
    expect(client.hears()).toEqual(['a=mine q0 ids 2', 'b=mine q0 retain'])
    const again = WireClient.connect(wire.restarted(), options)
    again.publish('a', 'later', 1, { retain: true })
    again.publish('b', 'later', 0, { retain: true })
    expect(messages(again)).toEqual(['a=later q1 #1 ids 2', 'b=later q0 retain'])
  })

  test('Retain Handling 0 brings retained messages every time, 1 for a new subscription, 2 never', () => {
    const wire = world()
    WireClient.connect(wire).publish('a', 'kept', 0, { retain: true })
    const client = WireClient.connect(wire)
    const heard = (retainHandling: 0 | 1 | 2): string[] => {
      client.subscribe({ filter: 'a', retainHandling })
      return messages(client)
    }
    const KEPT = ['a=kept q0 retain']
    expect([heard(2), heard(1), heard(0), heard(0), heard(1), heard(2)]).toEqual([[], [], KEPT, KEPT, [], []])
    client.unsubscribe('a')
    client.hears()
    expect([heard(1), heard(1), heard(0)]).toEqual([KEPT, [], KEPT])
  })

  test('Retain Handling 1 knows a subscription of a session that was resumed', () => {
    const wire = Wire.stored()
    WireClient.connect(wire).publish('a', 'kept', 0, { retain: true })
    const options = { clientId: 'c', ...persistent(5) }
    WireClient.connect(wire, options).subscribed('a')
    const again = WireClient.connect(wire.restarted(), options)
    again.subscribe({ filter: 'a', retainHandling: 1 })
    expect(again.hears()).toEqual(['SUBACK #100 0x00'])
  })

  test.each(VERSIONS)('no retained messages for a shared subscription, new or not (version %i)', (protocolVersion) => {
    const wire = world()
    WireClient.connect(wire).publish('a', 'kept', 1, { retain: true })
    const client = WireClient.connect(wire, { protocolVersion })
    for (const filter of ['$share/g/a', '$share/g/#', '$share/g/a']) {
      client.subscribe(filter, 1)
      expect(client.hears()).toEqual(['SUBACK #100 0x01'])
    }
  })
})

describe('behaviour 36: the retain flag', () => {
  test.each(VERSIONS)(
    'is set on what a subscription brings, and not on what is forwarded live (version %i)',
    (protocolVersion) => {
      const wire = world()
      const other = WireClient.connect(wire)
      const client = WireClient.connect(wire, { protocolVersion }).subscribed('a', 1)
      other.publish('a', 'live', 1, { retain: true })
      expect(client.hears()).toEqual(['a=live q1 #1'])
      client.subscribe('a', 1)
      expect(messages(client)).toEqual(['a=live q1 #2 retain'])
      const plain = WireClient.connect(wire, { protocolVersion })
      plain.publish('b', 'x', 0, { retain: true })
      plain.subscribe('b')
      expect(messages(plain)).toEqual(['b=x q0 retain'])
    },
  )

  test('is as published with Retain As Published, for what waited too; what a subscription brings has it always', () => {
    const wire = world()
    const other = WireClient.connect(wire)
    const options = { clientId: 'c', ...persistent(5) }
    const client = WireClient.connect(wire, options).subscribed({ filter: 'a', qos: 1, retainAsPublished: true })
    other.publish('a', 'retained', 1, { retain: true })
    other.publish('a', 'not', 1)
    expect(client.hears()).toEqual(['a=retained q1 #1 retain', 'a=not q1 #2'])
    for (const packetId of [1, 2]) client.ack(4, packetId)
    client.lost()
    other.publish('a', 'retained', 1, { retain: true })
    other.publish('a', 'not', 1)
    const again = WireClient.connect(wire, options)
    expect(again.hears()).toEqual([])
    again.lost()
    expect(new WireClient(wire, options).hears()).toEqual(['CONNACK present', 'a=retained q1 #3 dup retain', 'a=not q1 #4 dup'])
    for (const retainAsPublished of [false, true]) {
      const late = WireClient.connect(wire)
      late.subscribe({ filter: 'a', retainAsPublished })
      expect(messages(late)).toEqual(['a=retained q0 retain'])
    }
  })

  test('of a shared subscription is as its member has it', () => {
    const wire = world()
    const plain = WireClient.connect(wire).subscribed('$share/g/a')
    const kept = WireClient.connect(wire).subscribed({ filter: '$share/h/a', retainAsPublished: true })
    WireClient.connect(wire).publish('a', 'x', 0, { retain: true })
    expect([plain.hears(), kept.hears()]).toEqual([['a=x q0'], ['a=x q0 retain']])
  })
})

describe('behaviour 37: No Local', () => {
  test('goes by client id: live, retained, queued, after a reconnect, a takeover and a restart', () => {
    const options = { clientId: 'c', ...persistent(5) }
    const noLocal = { filter: '#', qos: 1 as const, noLocal: true }
    let wire = Wire.stored()
    let client = WireClient.connect(wire, options)
    client.publish('a', 'mine', 1, { retain: true })
    WireClient.connect(wire, { clientId: 'C' }).publish('b', 'theirs', 1, { retain: true })
    client.hears()
    client.subscribe(noLocal)
    expect(messages(client)).toEqual(['b=theirs q1 #1 retain'])
    client.publish('a', 'mine', 1)
    const over = new WireClient(wire, options)
    over.publish('a', 'mine', 1)
    expect(messages(over)).toEqual(['b=theirs q1 #1 dup retain'])
    over.ack(4, 1)
    wire = wire.restarted()
    client = WireClient.connect(wire, options)
    client.publish('a', 'mine', 1)
    client.subscribe(noLocal)
    expect(messages(client)).toEqual(['b=theirs q1 #1 retain'])
  })

  test('holds for the own will, at once and after its delay, and for one that a clean start sends', () => {
    const wire = world()
    const watcher = WireClient.connect(wire).subscribed('w')
    const delayed = { ...will('w'), properties: { willDelayInterval: 10 } }
    const joined = (own: Will): WireClient =>
      WireClient.connect(wire, { clientId: 'c', ...persistent(5), will: own }).subscribed({ filter: 'w', qos: 1, noLocal: true })
    joined(will('w')).lost()
    expect(watcher.hears()).toEqual(['w=gone q0'])
    joined(delayed).lost()
    wire.advance(10_000)
    expect(watcher.hears()).toEqual(['w=gone q0'])
    expect(new WireClient(wire, { clientId: 'c', ...persistent(5) }).hears()).toEqual(['CONNACK present'])
    joined({ ...delayed, retain: true })
    const anew = WireClient.connect(wire, { clientId: 'c', cleanStart: true })
    anew.subscribe({ filter: 'w', noLocal: true })
    expect(watcher.hears()).toEqual(['w=gone q0'])
    expect(messages(anew)).toEqual([])
  })
})

describe('behaviour 38: what SUBSCRIBE may ask', () => {
  const closed = (version: ProtocolVersion, code: string): string[] =>
    version === 5 ? [`DISCONNECT ${code}`, 'close'] : ['close']
  const sent = (protocolVersion: ProtocolVersion, options: string): string[] => {
    const client = WireClient.connect(world(), { protocolVersion })
    client.sendHex(`82${protocolVersion === 5 ? '07' : '06'} 0001 ${protocolVersion === 5 ? '00' : ''} 0001 61 ${options}`)
    return client.hears()
  }

  test.each(VERSIONS)('reserved bits, QoS 3 and an empty list close (version %i)', (version) => {
    for (const options of version === 5 ? ['40', '80', 'c1'] : ['04', '08', '10', '20', '40', '80']) {
      expect(sent(version, options)).toEqual(closed(version, '0x81'))
    }
    expect(sent(version, '03')).toEqual(closed(version, '0x82'))
    const client = WireClient.connect(world(), { protocolVersion: version })
    client.subscribe([])
    expect(client.hears()).toEqual(closed(version, '0x82'))
  })

  test('Retain Handling 3, Subscription Identifier 0 and two identifiers break the protocol', () => {
    expect(sent(5, '30')).toEqual(closed(5, '0x82'))
    for (const properties of ['020b00', '040b010b02']) {
      const client = WireClient.connect(world())
      const body = `0001${properties}00016100`
      client.sendHex(`82${(body.length / 2).toString(16).padStart(2, '0')}${body}`)
      expect(client.hears()).toEqual(closed(5, '0x82'))
    }
  })

  test('a code for each filter in their order: granted, not allowed, not valid, too many', () => {
    const asked = ['a', 'secret/x', 'b', '$share//c', 'c', 'd']
    const heard = (protocolVersion: ProtocolVersion): string[] => {
      const access = { ...OPEN_ACCESS, subscribe: (_: unknown, filter: string) => !filter.startsWith('secret') }
      const wire = world({ access, limits: { ...DEFAULT_LIMITS, maxSubscriptionsPerSession: 3 } })
      const client = WireClient.connect(wire, { protocolVersion })
      client.subscribe(asked, 1)
      const codes = client.hears()
      expect(wire.broker.subscriptionCount).toBe(3)
      expect(wire.codes().filter((code) => code === 'subscribe-refused')).toHaveLength(3)
      return codes
    }
    expect(heard(5)).toEqual(['SUBACK #100 0x01 0x87 0x01 0x8f 0x01 0x97'])
    expect(heard(4)).toEqual(['SUBACK #100 0x01 0x80 0x01 0x80 0x01 0x80'])
    // 3.1 knows no 0x80: what is refused looks granted, and nothing comes of it.
    expect(heard(3)).toEqual(['SUBACK #100 0x01 0x01 0x01 0x01 0x01 0x01'])
  })
})

describe.each(VERSIONS)('behaviour 42: UNSUBSCRIBE (version %i)', (protocolVersion) => {
  test('what is in flight completes, what waits may go on, what is published later does not come', () => {
    const wire = world()
    const options = { clientId: 'c', ...persistent(protocolVersion) }
    const client = WireClient.connect(wire, options).subscribed('a', 2)
    const other = WireClient.connect(wire)
    for (let i = 1; i <= 20; i++) other.publish('a', String(i), i % 2 === 0 ? 1 : 2)
    expect(client.hears()).toHaveLength(20)
    other.publish('a', 'waits', 1)
    client.unsubscribe('a')
    other.publish('a', 'late', 2)
    expect(client.hears()).toEqual([`UNSUBACK #101${protocolVersion === 5 ? ' 0x00' : ''}`])
    client.ack(4, 2)
    client.ack(5, 1)
    client.ack(7, 1)
    expect(client.hears()).toEqual(['a=waits q1 #21', 'PUBREL #1'])
    client.lost()
    const again = WireClient.connect(wire, options)
    for (let packetId = 3; packetId <= 20; packetId++) {
      if (packetId % 2 === 0) again.ack(4, packetId)
      else for (const type of [5, 7] as const) again.ack(type, packetId)
    }
    again.ack(4, 21)
    expect(wire.broker.sessions.waiting().messages).toBe(0)
    expect(messages(again).filter((heard) => heard.includes('late'))).toEqual([])
  })
})

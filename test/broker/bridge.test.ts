import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { type Acl, parseAcl } from '../../src/access/acl.ts'
import { AccessPolicy } from '../../src/access/policy.ts'
import type { Will } from '../../src/mqtt/packets.ts'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import type { Lsn, StoreRecord } from '../../src/store/store.ts'
import { Wire } from '../mqtt/wire.ts'
import { VERSIONS, WireClient } from '../mqtt/wire-client.ts'

const OLD = [3, 4] as const

/** There is room for whoever connects, and for no subscription. */
class AlmostFull extends DelayedStore {
  isFull = false

  override append(record: StoreRecord): Lsn | 'full' {
    return this.isFull && record.type === 'subscribe' ? 'full' : super.append(record)
  }
}

const bridge = (protocolVersion: ProtocolVersion, more: { cleanStart?: boolean; will?: Will } = {}) => ({
  clientId: 'house.b1',
  protocolVersion,
  bridge: true,
  cleanStart: false,
  ...more,
})

describe.each(OLD)('a bridge of version %i', (version) => {
  test('does not get what it publishes, and gets retained messages as such', () => {
    const world = new Wire()
    const client = WireClient.connect(world, bridge(version)).subscribed(['both/#', '$share/g/both/#'], 1)
    const other = WireClient.connect(world).subscribed('both/#', 1)
    client.publish('both/a', 'mine', 1)
    // The shared subscription has no No Local.
    expect(client.hears()).toEqual(['PUBACK #1', 'both/a=mine q1 #1'])
    client.unsubscribe('$share/g/both/#')
    client.publish('both/a', 'mine', 1, { retain: true })
    expect(client.hears()).toEqual(['UNSUBACK #101', 'PUBACK #2'])
    expect(other.hears()).toEqual(['both/a=mine q1 #1', 'both/a=mine q1 #2'])
    other.publish('both/b', 'theirs', 1, { retain: true })
    other.publish('both/c', 'theirs', 1)
    expect(client.hears()).toEqual(['both/b=theirs q1 #2 retain', 'both/c=theirs q1 #3'])
    // Its own retained messages do not come with a subscription either.
    client.subscribe('both/a', 1)
    expect(client.hears()).toEqual(['SUBACK #100 0x01'])
  })

  test('resumes a session whose subscriptions were made without the bit, also after a restart', () => {
    let world = Wire.stored()
    WireClient.connect(world, { ...bridge(version), bridge: false })
      .subscribed('both/#', 1)
      .lost()
    world = world.restarted()
    let client = WireClient.connect(world, bridge(version))
    const other = WireClient.connect(world)
    client.publish('both/a', 'mine', 1)
    other.publish('both/b', 'theirs', 1, { retain: true })
    expect(client.hears()).toEqual(['PUBACK #1', 'both/b=theirs q1 #1 retain'])
    client.ack(4, 1)
    client.lost()
    world = world.restarted()
    WireClient.connect(world).publish('both/c', 'meanwhile', 1, { retain: true })
    client = new WireClient(world, bridge(version))
    expect(client.hears().slice(1)).toEqual(['both/c=meanwhile q1 #1 retain'])
    client.publish('both/a', 'mine', 1)
    expect(client.hears()).toEqual(['PUBACK #1'])
  })

  test('a store that had no room for that is told when the bridge comes again', () => {
    const store = new AlmostFull()
    let world = new Wire({}, { store })
    const before = WireClient.connect(world, { ...bridge(version), bridge: false }).subscribed('both/#', 1)
    before.lost()
    store.isFull = true
    WireClient.connect(world, bridge(version)).lost()
    store.isFull = false
    WireClient.connect(world, bridge(version)).lost()
    world = world.restarted()
    WireClient.connect(world).publish('both/c', 'meanwhile', 1, { retain: true })
    const client = new WireClient(world, bridge(version))
    expect(client.hears().slice(1)).toEqual(['both/c=meanwhile q1 #1 retain'])
  })
})

test('a client that is no bridge gets its own messages, and RETAIN is lost', () => {
  for (const protocolVersion of VERSIONS) {
    const client = WireClient.connect(new Wire(), { protocolVersion }).subscribed('a')
    client.publish('a', 'x', 0, { retain: true })
    expect(client.hears()).toEqual(['a=x q0'])
  }
})

describe("the state of a bridge, where Mosquitto's bridge says it", () => {
  const STATE = '$SYS/broker/connection/house.b1/state'
  const state = (topic: string): Will => ({ topic, payload: Buffer.from('0'), qos: 1, retain: true, properties: {} })
  const string = (text: string): string => (0x10000 + text.length).toString(16).slice(1) + Buffer.from(text).toString('hex')

  test('is accepted as its will and as a retained message, in its own octets', () => {
    const world = Wire.stored()
    const watcher = WireClient.connect(world, { clientId: 'watcher' }).subscribed('$SYS/broker/connection/#', 1)
    const body = `00044d515454 84 2c 003c ${string('house.b1')} ${string(STATE)} ${string('0')}`.replaceAll(' ', '')
    const connection = world.open()
    world.sendHex(connection, `10${(body.length / 2).toString(16)}${body}`)
    expect(world.out(connection)).toEqual(['20020000'])
    world.sendHex(connection, `33 2a ${string(STATE)} 0001 31`)
    expect(world.out(connection)).toEqual(['40020001'])
    expect(watcher.hears()).toEqual([`${STATE}=1 q1 #1`])
    world.close(connection)
    expect(watcher.hears()).toEqual([`${STATE}=0 q1 #2`])
    const again = world.restarted()
    const late = WireClient.connect(again)
    late.subscribe('$SYS/#')
    expect(late.hears()).toContain(`${STATE}=0 q0 retain`)
    late.subscribe('#')
    expect(late.hears()).toEqual(['SUBACK #100 0x00'])
  })

  test.each([
    '$SYS/broker/connection/another/state',
    '$SYS/broker/connection/house.b1/state/x',
    '$SYS/broker/connection/house.b1',
    '$SYS/broker/connection/house.b1/x',
    '$SYS/broker/uptime',
    '$CONTROL/dynamic-security/v1',
  ])('it may not publish on %s', (topic) => {
    const world = new Wire()
    expect(new WireClient(world, bridge(4, { will: state(topic) })).hears()).toEqual(['CONNACK 0x87', 'close'])
    WireClient.connect(world, bridge(4)).publish(topic, 'x', 1, { retain: true })
    expect(world.broker.retained.count).toBe(0)
    expect(world.codes()).toContain('publish-refused')
  })

  test('another client may say it only where a rule allows that', () => {
    const ruled = (acl: string | undefined) => {
      const policy = { allowAnonymous: true, verifies: false, methods: [], passwords: undefined, tokenKeys: new Set<string>() }
      const parsed = acl === undefined ? undefined : (parseAcl(acl) as Acl)
      return new Wire({}, { access: new AccessPolicy(new Map(), { ...policy, acl: parsed }) })
    }
    const connack = (acl: string | undefined, isBridge: boolean, topic = STATE, version: 4 | 5 = 4): string | undefined => {
      const client = new WireClient(ruled(acl), { ...bridge(version, { will: state(topic) }), bridge: isBridge })
      return client.hears()[0]
    }
    expect(connack(undefined, false)).toBe('CONNACK 0x87')
    expect(connack('topic readwrite #', false)).toBe('CONNACK 0x87')
    expect(connack('topic write $SYS/broker/connection/+/state', false)).toBe('CONNACK')
    expect(connack('topic write $SYS/#', false, '$SYS/broker/uptime')).toBe('CONNACK 0x87')
    expect(connack('topic readwrite #', true)).toBe('CONNACK')
    expect(connack('topic deny $SYS/#', true)).toBe('CONNACK 0x87')
    // MQTT 5 has no bit for bridges.
    expect(connack(undefined, false, STATE, 5)).toBe('CONNACK')
    expect(connack('topic deny $SYS/#', false, STATE, 5)).toBe('CONNACK 0x87')
    expect(connack(undefined, false, STATE.replace('house', 'other'), 5)).toBe('CONNACK 0x87')
  })
})

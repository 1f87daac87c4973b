import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { Acl, parseAcl, RuleSet } from '../../src/access/acl.ts'
import { AccessPolicy, Grant, type ListenerPolicy } from '../../src/access/policy.ts'
import type { AuthAnswer, AuthRequest } from '../../src/broker/access.ts'
import type { BrokerOptions } from '../../src/broker/broker-options.ts'
import { PacketType } from '../../src/mqtt/packets.ts'
import { bytes, connectPacket, PERSISTENT, TestBroker, type TestClient, will } from './harness.ts'

/** Everybody is let in, and may do what the file says; subscriptions are not filtered, unless `more` says so. */
const policy = (acl: string, more: Partial<ListenerPolicy> = {}): ListenerPolicy => {
  const parsed = parseAcl(acl)
  if (!(parsed instanceof Acl)) throw new Error(parsed.reason)
  const nobody = { verifies: false, methods: [], passwords: undefined, tokenKeys: new Set<string>() }
  return { allowAnonymous: true, ...nobody, acl: parsed, subscriptionAccess: 'whole', ...more }
}

/** A broker with an access list, which can be exchanged as SIGHUP does it. */
class Guarded extends TestBroker {
  readonly access: AccessPolicy

  private constructor(access: AccessPolicy, options: Partial<BrokerOptions>, store?: DelayedStore) {
    super({ access, ...options }, store)
    this.access = access
  }

  static with(acl: string, options: Partial<BrokerOptions> = {}, store?: DelayedStore): Guarded {
    return new Guarded(new AccessPolicy(new Map(), policy(acl)), options, store)
  }

  static filtered(acl: string): Guarded {
    return new Guarded(new AccessPolicy(new Map(), policy(acl, FILTERED)), {})
  }

  reload(acl: string, more: Partial<ListenerPolicy> = {}): void {
    this.access.replace(new Map(), policy(acl, more))
    this.broker.accessChanged(this.now)
  }

  answer(request: AuthRequest | undefined, answer: AuthAnswer): void {
    this.broker.authenticated(this.now, request!.link, request!.step, answer)
  }

  reasons(code: string): (string | undefined)[] {
    return this.notices.filter((notice) => notice.code === code).map(({ reason }) => reason)
  }
}

const alice = { username: 'alice' }
const FILTERED = { subscriptionAccess: 'filtered' } as const
const FIVE = { protocolVersion: 5 as const }

describe('publish', () => {
  test('a topic that is not allowed: 0x87 to 5.0, a plain acknowledgement to 3.1.1, silence at QoS 0, and nobody gets it', () => {
    const world = Guarded.with('topic read #\ntopic write ok\n')
    const reader = world.connect('reader')
    reader.subscribe('#')
    reader.poll()
    const five = world.connect('five', FIVE)
    const four = world.connect('four', { protocolVersion: 4 })
    for (const client of [five, four]) {
      client.publish('no', 'x', 0)
      client.publish('no', 'x', 1, 1)
      client.publish('no', 'x', 2, 2)
      client.publish('ok', 'y', 0)
    }
    expect(five.poll()).toEqual(['PUBACK #1 135', 'PUBREC #2 135'])
    expect(four.poll().filter((line) => !line.includes('135'))).toEqual([])
    expect(reader.poll()).toEqual(['ok=y q0', 'ok=y q0'])
    expect(world.reasons('publish-refused')).toHaveLength(6)
  })
})

describe('subscribe', () => {
  const granted = (acl: string, filter: string): string => {
    const world = Guarded.with(acl)
    const client = world.connect('c')
    client.subscribe(filter)
    return client.poll()[0]!
  }

  test('covering, not matching: # is not granted by a/#', () => {
    expect(granted('topic read a/#', '#')).toBe('SUBACK #100 135')
    expect(granted('topic read a/#', 'a/+/b')).toBe('SUBACK #100')
  })

  test.each(['$share/g/', '$share/a/'])('the filter behind %s is the one that counts', (prefix) => {
    expect(granted('topic read a/#', `${prefix}secret`)).toBe('SUBACK #100 135')
    expect(granted('topic read a/#', `${prefix}#`)).toBe('SUBACK #100 135')
    expect(granted('topic read a/#', `${prefix}a/b`)).toBe('SUBACK #100')
    // A rule for the text of the subscription is a rule for topics of that name, which no shared subscription sees.
    expect(granted('topic read $share/#', `${prefix}secret`)).toBe('SUBACK #100 135')
    expect(granted('topic read #', `${prefix}$SYS/broker/uptime`)).toBe('SUBACK #100 135')
  })

  test.each(['$share', '$share/', '$share/g', '$share/g/', '$share//x', '$share/+/x'])('%s is no way around', (filter) => {
    expect(granted('topic read #\ntopic read $share/#', filter)).toBe('SUBACK #100 143')
  })

  test('what is denied inside of a subscription is not delivered, to a member of a group neither', () => {
    const world = Guarded.with('topic a/#\ntopic deny a/secret\nuser alice\ntopic a/#\n')
    const reader = world.connect('reader')
    const member = world.connect('member')
    reader.subscribe('a/#')
    member.subscribe('$share/g/a/#')
    const writer = world.connect('writer', alice)
    writer.publish('a/secret', 'x')
    writer.publish('a/b', 'y')
    expect(reader.poll()).toEqual(['SUBACK #100', 'a/b=y q0'])
    expect(member.poll()).toEqual(['SUBACK #100', 'a/b=y q0'])
  })
})

describe('subscription_access: filtered', () => {
  test('a subscription wider than the rights is granted, and what may be read is delivered: messages, wills, retained', () => {
    const world = Guarded.filtered('topic read owntracks/alice/#\ntopic deny owntracks/alice/private\nuser alice\ntopic #\n')
    const writer = world.connect('w', alice)
    for (const topic of ['owntracks/alice/phone', 'owntracks/bob/phone', 'owntracks/alice/private'])
      writer.publish(topic, 'kept', 0, 0, { retain: true })
    const reader = world.connect('reader')
    reader.subscribe('owntracks/+/+')
    expect(reader.poll()).toEqual(['SUBACK #100', 'owntracks/alice/phone=kept q0 retain'])
    reader.subscribe('#')
    expect(reader.poll()).toEqual(['SUBACK #100', 'owntracks/alice/phone=kept q0 retain'])
    const member = world.connect('member')
    member.subscribe('$share/g/#')
    expect(member.poll()).toEqual(['SUBACK #100'])
    for (const topic of ['owntracks/bob/x', 'owntracks/alice/private', 'owntracks/alice/x']) writer.publish(topic, 'y')
    for (const topic of ['owntracks/bob/will', 'owntracks/alice/will'])
      world.connect('dying', { ...alice, will: will(topic, 'gone') }).lost()
    const readable = ['owntracks/alice/x=y q0', 'owntracks/alice/will=gone q0']
    expect([reader.poll(), member.poll()]).toEqual([readable, readable])
  })

  test.each([
    ['topic read a/#', 'b/+', false],
    ['topic write a/#', 'a/#', false],
    ['topic read a/#\ntopic deny a/#', '#', false],
    ['topic read a/b\ntopic deny a/+', '#', false],
    ['topic read a/#\ntopic deny a/secret', 'a/secret', false],
    ['topic read a/#\ntopic deny a/secret', '+/secret', false],
    ['topic read a/#\ntopic deny a/secret', '+/+', true],
    ['topic read $SYS/#', '#', false],
    ['topic read #', '$SYS/#', false],
    ['topic read +/b', 'a/#', true],
    ['topic read a', 'a/#', true],
    ['topic read a/#', '$share/g/#', true],
    ['topic read $share/#', '$share/g/a', false],
  ])('%j: %s is granted: %s', (acl, filter, granted) => {
    const world = Guarded.filtered(`${acl}\n`)
    const client = world.connect('c')
    client.subscribe(filter)
    expect(client.poll()).toEqual([granted ? 'SUBACK #100' : 'SUBACK #100 135'])
  })

  test('a right that returns: deliveries stop and resume, connected and away, and nothing ends', () => {
    const rules = (right: string): string => `user alice\ntopic ${right}\nuser writer\ntopic #\n`
    const world = Guarded.filtered(rules('read a/#'))
    const client = world.connect('c', { ...PERSISTENT, ...alice, protocolVersion: 4, cleanStart: false })
    client.subscribe('a/#', 1)
    client.poll()
    const writer = world.connect('w', { username: 'writer' })
    writer.publish('a/1', 'before', 1, 1)
    expect(client.poll()).toEqual(['a/1=before q1 #1'])
    world.reload(rules('read b'), FILTERED)
    writer.publish('a/2', 'not this', 1, 2)
    expect(client.poll()).toEqual([])
    world.reload(rules('read a/#'), FILTERED)
    writer.publish('a/3', 'after', 1, 3)
    expect(client.poll()).toEqual(['a/3=after q1 #2'])
    client.lost()
    for (const [right, text] of [
      ['read b', 'nor this'],
      ['read a/#', 'at last'],
    ] as const) {
      world.reload(rules(right), FILTERED)
      writer.publish('a/4', text, 1, 4)
    }
    const again = world.connect('c', { ...PERSISTENT, ...alice, protocolVersion: 4, cleanStart: false })
    expect(again.poll().at(-1)).toBe('a/4=at last q1 #3')
    expect(world.reasons('subscription-ended')).toEqual([])
  })
})

describe('will', () => {
  const CONNECT_WITH_WILL = { will: will('last/c', 'gone', 1) }

  test('at CONNECT: 0x87, and no session is made', () => {
    const world = Guarded.with('topic read #\n')
    const client = world.open()
    client.send(connectPacket('c', { ...PERSISTENT, ...CONNECT_WITH_WILL }))
    expect(client.poll()).toEqual(['CONNACK 135', 'CLOSE 135'])
    expect(world.broker.sessions.size).toBe(0)
  })

  test.each(['$SYS/broker/uptime', '$SYS'])('on %s it is refused whatever the rules say', (topic) => {
    const world = Guarded.with('topic #\ntopic $SYS/#\n')
    const client = world.open()
    client.send(connectPacket('c', { will: will(topic, 'x') }))
    expect(client.poll()[0]).toBe('CONNACK 135')
  })

  test('when it fires: the rules of that moment count, for the delayed will of one who is away too', () => {
    for (const delay of [0, 60]) {
      const world = Guarded.with('topic #\n')
      const reader = world.connect('reader', alice)
      world.reload('topic #\nuser alice\ntopic #\n')
      reader.subscribe('last/#')
      reader.poll()
      const properties = { willDelayInterval: delay }
      const client = world.connect('c', { ...PERSISTENT, will: will('last/c', 'gone', 1, properties) })
      if (delay > 0) client.lost()
      world.reload('topic read #\nuser alice\ntopic #\n')
      if (delay === 0) client.lost()
      world.advance(61_000)
      expect(reader.poll()).toEqual([])
      expect(world.reasons('will-refused')).toEqual(['not allowed on last/c'])
    }
  })
})

describe('retained messages', () => {
  test('are delivered if the rules of now allow to read them', () => {
    const world = Guarded.with('topic #\nuser alice\ntopic #\n')
    const writer = world.connect('w', alice)
    for (const topic of ['a/b', 'a/secret']) writer.publish(topic, 'x', 0, 0, { retain: true })
    world.reload('topic read a/#\ntopic deny a/secret\nuser alice\ntopic #\n')
    const reader = world.connect('reader')
    reader.subscribe('a/#')
    expect(reader.poll()).toEqual(['SUBACK #100', 'a/b=x q0 retain'])
  })

  test.each([true, false])(
    'check_retain_source %s: whether they outlive the right of who published them',
    (checkRetainSource) => {
      const world = Guarded.with('topic read #\nuser alice\ntopic #\n', { limits: { checkRetainSource } })
      world.connect('c', alice).publish('a', 'x', 0, 0, { retain: true })
      world.reload('topic read #\nuser alice\ntopic read #\n')
      const reader = world.connect('reader')
      reader.subscribe('#')
      expect(reader.poll()).toEqual(['SUBACK #100', ...(checkRetainSource ? [] : ['a=x q0 retain'])])
      world.reload('topic read #\nuser alice\ntopic write a\n')
      reader.subscribe('#')
      expect(reader.poll()).toEqual(['SUBACK #100', 'a=x q0 retain'])
    },
  )

  test('check_retain_source after a restart, by the name and the listener that the publisher had', () => {
    const store = new DelayedStore()
    const before = Guarded.with('topic read #\nuser alice\ntopic #\n', {}, store)
    before.connect('c', alice).publish('a', 'x', 0, 0, { retain: true })
    before.connect('d', { username: 'bob' }).publish('b', 'not allowed', 0, 0, { retain: true })
    before.commit()
    for (const [acl, expected] of [
      ['user reader\ntopic read #\nuser alice\ntopic read #\n', []],
      ['user reader\ntopic read #\nuser alice\ntopic a\n', ['a=x q0 retain']],
    ] as const) {
      const after = Guarded.with(acl)
      for (const record of store.replay()) if (!record.type.startsWith('sn-')) after.broker.apply(record as never)
      after.broker.recover(0)
      after.broker.runDownRecovered(0)
      const reader = after.connect('reader', { username: 'reader' })
      reader.subscribe('#')
      expect(reader.poll()).toEqual(['SUBACK #100', ...expected])
    }
  })

  test('check_retain_source asks the rules of the listener that the publisher came by', () => {
    const access = new AccessPolicy(
      new Map([
        ['mqtt', policy('topic read #\n')],
        ['inside', policy('topic #\n')],
      ]),
      policy(''),
    )
    const world = new TestBroker({ access })
    const inside = world.open()
    const link = world.broker.open(0, { kind: 'mqtt', peer: 'test', listener: 'inside' })
    Object.assign(inside, { link })
    inside.send(connectPacket('c'))
    inside.publish('a', 'x', 0, 0, { retain: true })
    const reader = world.connect('reader')
    reader.subscribe('#')
    expect(reader.poll()).toEqual(['SUBACK #100', 'a=x q0 retain'])
    access.replace(
      new Map([
        ['mqtt', policy('topic #\n')],
        ['inside', policy('topic read #\n')],
      ]),
      policy(''),
    )
    world.broker.accessChanged(0)
    reader.subscribe('#')
    expect(reader.poll()).toEqual(['SUBACK #100'])
  })
})

describe('new rules for those who are connected', () => {
  test('a forbidden subscription ends, with what waits because of it, and the client stays', () => {
    const world = Guarded.with('topic #\n')
    const client = world.connect('c', PERSISTENT)
    client.subscribe('a/#', 1)
    client.subscribe('b/#', 1)
    client.poll()
    client.link.listen(world.now, false)
    const writer = world.connect('w', alice)
    world.reload('topic read b/#\nuser alice\ntopic #\n')
    client.link.listen(world.now, true)
    writer.publish('a/1', 'x', 1)
    writer.publish('b/1', 'y', 1, 2)
    expect(client.poll()).toEqual(['b/1=y q1 #1'])
    expect(world.reasons('subscription-ended')).toEqual(['a/# is not allowed any more'])
    expect(client.link.closed).toBe(false)
  })

  test('what waits and what is in flight goes too, and the packet id is free again', () => {
    const world = Guarded.with('topic #\n')
    const client = world.connect('c', { ...PERSISTENT, properties: { sessionExpiryInterval: 3600, receiveMaximum: 1 } })
    client.subscribe('a/#', 1)
    client.poll()
    const writer = world.connect('w', alice)
    world.reload('topic #\nuser alice\ntopic #\n')
    for (const id of [1, 2]) writer.publish('a/secret', 'x', 1, id)
    writer.publish('a/1', 'y', 1, 3)
    expect(client.poll()).toEqual(['a/secret=x q1 #1'])
    world.reload('topic read a/#\ntopic deny a/secret\nuser alice\ntopic #\n')
    expect(client.poll()).toEqual(['a/1=y q1 #2'])
    const dropped = { code: 'message-dropped', reason: 'not allowed to be read any more', count: 1 }
    expect(world.notices.slice(-2)).toMatchObject([dropped, dropped])
  })

  test('the sessions of those who are away lose forbidden subscriptions too, and what waits', () => {
    const world = Guarded.with('topic #\n')
    const client = world.connect('c', { ...PERSISTENT, ...alice })
    world.reload('topic #\nuser alice\ntopic #\n')
    client.subscribe('a/#', 1)
    client.lost()
    const writer = world.connect('w')
    writer.publish('a/1', 'x', 1)
    world.reload('topic #\nuser alice\ntopic read b\n')
    world.reload('topic #\nuser alice\ntopic #\n')
    writer.publish('a/2', 'y', 1, 2)
    const again = world.connect('c', { ...PERSISTENT, ...alice })
    expect(again.poll()).toEqual([])
  })

  test('a client that may not stay is told and closed; others notice nothing', () => {
    const world = Guarded.with('topic #\n')
    const client = world.connect('c', FIVE)
    world.reload('topic #\n', { allowAnonymous: false })
    expect(client.poll()).toEqual(['CLOSE 135'])
    expect(client.link.closed).toBe(true)
    expect(world.codes()).toContain('client-revoked')
  })

  // Whoever of the group would be next.
  test.each([1, 2, 3, 4])('the will of one who is closed goes to the member of a group that may read it (turn %i)', (turn) => {
    const everybody = 'topic #\nuser alice\ntopic #\nuser bob\ntopic #\n'
    const world = Guarded.with(everybody)
    const victim = world.connect('victim', { will: will('last', 'gone', 1) })
    const members = ['alice', 'alice', 'bob', 'alice'].map((username, i) => {
      const member = world.connect(`m${i}`, { username })
      const grant = new Grant({ kind: 'service' }, undefined)
      Object.assign(world.broker.sessions.get('mqtt', `m${i}`)!, { grant })
      member.subscribe('$share/g/last', 1)
      member.poll()
      return member
    })
    for (let id = 1; id <= turn; id++) victim.publish('last', 'before', 1, id)
    expect(members.flatMap((member) => member.poll())).toHaveLength(turn)
    world.reload(everybody.replace('alice\ntopic #', 'alice\ntopic write #'), { allowAnonymous: false })
    expect(victim.link.closed).toBe(true)
    expect(members.map((member) => member.poll().filter((line) => line.startsWith('last=gone')).length)).toEqual([0, 0, 1, 0])
  })
})

describe('a session that is resumed', () => {
  test('loses subscriptions that its user of now may not have', () => {
    const world = Guarded.with('user alice\ntopic #\nuser bob\ntopic read b\n')
    const first = world.connect('c', { ...PERSISTENT, ...alice })
    for (const filter of ['a', 'b']) first.subscribe(filter, 1)
    first.lost()
    const writer = world.connect('w', alice)
    for (const [i, topic] of ['a', 'b'].entries()) writer.publish(topic, 'x', 1, i + 1)
    expect(world.connect('c', { ...PERSISTENT, username: 'bob' }).poll()).toEqual(['b=x q1 #1'])
  })

  test('QoS 2: a PUBLISH before the right was taken is delivered once; PUBREL and a repetition after it deliver nothing', () => {
    const world = Guarded.with('topic #\n')
    const reader = world.connect('reader', alice)
    world.reload('topic #\nuser alice\ntopic #\n')
    reader.subscribe('a', 2)
    reader.poll()
    const first = world.connect('c', PERSISTENT)
    first.publish('a', 'x', 2, 7)
    expect(first.poll()).toEqual(['PUBREC #7'])
    expect(reader.poll()).toEqual(['a=x q2 #1'])
    first.lost()
    world.reload('topic read #\nuser alice\ntopic #\n')
    const again = world.connect('c', PERSISTENT)
    again.publish('a', 'x', 2, 7)
    again.ack(PacketType.PUBREL, 7)
    expect(again.poll()).toEqual(['PUBREC #7', 'PUBCOMP #7'])
    expect(reader.poll()).toEqual([])
  })

  test('QoS 2: what had not arrived when the right was taken is refused, and its PUBREL delivers nothing', () => {
    const world = Guarded.with('topic read #\nuser alice\ntopic #\n')
    const reader = world.connect('reader', alice)
    reader.subscribe('a', 2)
    reader.poll()
    const client = world.connect('c', PERSISTENT)
    client.publish('a', 'x', 2, 7)
    client.ack(PacketType.PUBREL, 7)
    expect(client.poll()).toEqual(['PUBREC #7 135', 'PUBCOMP #7 146'])
    expect(reader.poll()).toEqual([])
  })

  test('QoS 2 to a client: what is in flight and not received ends, and a late PUBREC is answered', () => {
    const world = Guarded.with('topic #\n')
    const client = world.connect('c', PERSISTENT)
    client.subscribe('a', 2)
    client.poll()
    world.connect('w').publish('a', 'x', 2, 1)
    expect(client.poll()).toEqual(['a=x q2 #1'])
    client.lost()
    world.reload('topic read b\n')
    const again = world.connect('c', PERSISTENT)
    expect(again.poll()).toEqual([])
    again.ack(PacketType.PUBREC, 1)
    expect(again.poll()).toEqual(['PUBREL #1 146'])
  })
})

test('rights that came with a token count for who is away after a restart, and for what they retained', () => {
  const ACL = 'user reader\ntopic read #\n'
  const store = new DelayedStore()
  const before = Guarded.with(ACL, {}, store)
  before.access.replace(new Map(), policy(ACL, { verifies: true, tokenKeys: new Set(['k']) }))
  const client = before.open()
  client.send(connectPacket('c', { ...PERSISTENT, username: 'device', password: bytes('token') }))
  const rules = new RuleSet([{ permission: 'readwrite', filter: 'dev/#' }])
  before.answer(before.broker.nextAuthRequest(), {
    kind: 'accepted',
    username: 'device',
    grant: new Grant({ kind: 'token', key: 'k' }, rules),
  })
  client.subscribe('dev/#', 1)
  client.publish('dev/kept', 'x', 0, 0, { retain: true })
  before.commit()
  const after = Guarded.with(ACL)
  for (const record of store.replay()) if (!record.type.startsWith('sn-')) after.broker.apply(record as never)
  after.broker.recover(0)
  after.broker.runDownRecovered(0)
  after.broker.accessChanged(0)
  const session = after.broker.sessions.get('mqtt', 'c')!
  expect([...session.subscriptions!.keys()]).toEqual(['dev/#'])
  const reader = after.connect('reader', { username: 'reader' })
  reader.subscribe('#')
  expect(reader.poll()).toEqual(['SUBACK #100', 'dev/kept=x q0 retain'])
  after.reload(`${ACL}user writer\ntopic write #\n`)
  after.connect('w', { username: 'writer' }).publish('dev/1', 'y', 1)
  expect(session.queueLength).toBe(1)
})

describe('session_ownership: whom a session belongs to', () => {
  const ASKING = { verifies: true }

  /** Logs in: a name is verified, none is anonymous. */
  function login(world: Guarded, username: string | undefined, options = PERSISTENT): TestClient {
    const client = world.open()
    client.send(connectPacket('c', { ...options, ...(username !== undefined && { username, password: bytes('x') }) }))
    const request = world.broker.nextAuthRequest()
    const grant = new Grant({ kind: 'service' }, undefined)
    if (request !== undefined) world.answer(request, { kind: 'accepted', username, grant })
    return client
  }

  const world = (sessionOwnership = true): Guarded => {
    const made = Guarded.with('topic #\nuser alice\ntopic #\nuser bob\ntopic #\n', { limits: { sessionOwnership } })
    made.access.replace(new Map(), policy('topic #\nuser alice\ntopic #\nuser bob\ntopic #\n', ASKING))
    return made
  }

  test('to the user who made it: neither another user nor an anonymous client gets it, clean start or not', () => {
    const guarded = world()
    const owner = login(guarded, 'alice')
    expect(owner.poll()[0]).toBe('CONNACK')
    for (const username of ['bob', undefined])
      for (const cleanStart of [true, false]) {
        const thief = login(guarded, username, { ...PERSISTENT, cleanStart })
        expect([username, thief.poll()[0]]).toEqual([username, 'CONNACK 135'])
      }
    expect(owner.link.closed).toBe(false)
    expect(login(guarded, 'alice').poll()[0]).toBe('CONNACK present')
  })

  test('one that nobody was verified for belongs to nobody: the devices of a site get theirs when passwords are introduced', () => {
    const guarded = world()
    expect(login(guarded, undefined).poll()[0]).toBe('CONNACK')
    expect(login(guarded, 'alice').poll()[0]).toBe('CONNACK present')
    expect(login(guarded, undefined).poll()[0]).toBe('CONNACK 135')
  })

  test('who only says the name of its owner, where nobody asks for a password, does not get it', () => {
    const guarded = world()
    login(guarded, 'alice')
    const open = policy('topic #\n')
    guarded.access.replace(new Map([['open', open]]), policy('', ASKING))
    for (const cleanStart of [true, false]) {
      const thief = guarded.open({ listener: 'open' })
      thief.send(connectPacket('c', { ...PERSISTENT, cleanStart, username: 'alice' }))
      expect(thief.poll()[0]).toBe('CONNACK 135')
    }
    expect(login(guarded, 'alice').poll()[0]).toBe('CONNACK present')
  })

  test('after a restart it is still theirs', () => {
    const store = new DelayedStore()
    const before = Guarded.with('', {}, store)
    before.access.replace(new Map(), policy('', ASKING))
    login(before, 'alice')
    before.commit()
    const after = world()
    for (const record of store.replay()) if (!record.type.startsWith('sn-')) after.broker.apply(record as never)
    after.broker.recover(0)
    after.broker.runDownRecovered(0)
    expect(login(after, undefined).poll()[0]).toBe('CONNACK 135')
    expect(login(after, 'bob').poll()[0]).toBe('CONNACK 135')
    expect(login(after, 'alice').poll()[0]).toBe('CONNACK present')
  })

  test('switched off, the client id alone counts', () => {
    const guarded = world(false)
    login(guarded, 'alice')
    expect(login(guarded, 'bob').poll()[0]).toBe('CONNACK present')
  })
})

describe('rules that change while somebody is being verified', () => {
  const entry = (text: string) => ({ password: undefined, scram: undefined, text })
  const file = (text: string): Partial<ListenerPolicy> => ({
    allowAnonymous: false,
    verifies: true,
    methods: ['SCRAM-SHA-256'],
    passwords: new Map([['alice', entry(text)]]),
  })

  test('a login with a password that is not in force any more is refused', () => {
    const world = Guarded.with('')
    world.reload('', file('old'))
    const client = world.open()
    client.send(connectPacket('c', { username: 'alice', password: bytes('x') }))
    const request = world.broker.nextAuthRequest()
    world.reload('', file('new'))
    const grant = new Grant({ kind: 'password', lines: 'old' }, undefined)
    world.answer(request, { kind: 'accepted', username: 'alice', grant })
    expect(client.poll()).toEqual(['CONNACK 135', 'CLOSE 135'])
  })

  test('the Notice of a refused login names the user, that of enhanced authentication too', () => {
    const world = Guarded.with('')
    world.reload('', file('old'))
    const wrong = { kind: 'refused', reasonCode: 0x86, reason: 'user name or password' } as const
    world.open().send(connectPacket('c', { username: 'alice', password: bytes('x') }))
    world.answer(world.broker.nextAuthRequest(), wrong)
    world.open().send(connectPacket('d', { properties: { authenticationMethod: 'SCRAM-SHA-256' } }))
    world.answer(world.broker.nextAuthRequest(), { ...wrong, username: 'bob' })
    expect(world.notices.filter(({ code }) => code === 'client-refused')).toMatchObject([
      { client: 'mqtt:c', user: 'alice' },
      { client: 'mqtt:d', user: 'bob' },
    ])
  })

  test('and so is a re-authentication', () => {
    const world = Guarded.with('')
    world.reload('', file('old'))
    const client = world.open()
    const method = { authenticationMethod: 'SCRAM-SHA-256' }
    client.send(connectPacket('c', { properties: method }))
    const grant = new Grant({ kind: 'password', lines: 'old' }, undefined)
    world.answer(world.broker.nextAuthRequest(), { kind: 'accepted', username: 'alice', grant })
    expect(client.poll()).toEqual(['CONNACK'])
    client.send({ type: PacketType.AUTH, reasonCode: 0x19, properties: method })
    const request = world.broker.nextAuthRequest()
    world.access.replace(new Map(), policy('', file('new')))
    world.answer(request, { kind: 'accepted', username: 'alice', grant })
    expect(client.poll().at(-1)).toBe('CLOSE 135')
  })
})

import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { Connect } from '../../src/mqtt/packets.ts'
import { OLD, STAYS, STAYS_OLD, World } from '../mqtt/peers.ts'

const BOTH = [
  ['3.1.1', OLD, STAYS_OLD],
  ['5.0', {}, STAYS],
] as const

describe.each(BOTH)('behaviour 25: a QoS 2 PUBLISH again before PUBREL, %s,', (_version, _fresh, stays) => {
  test('is acknowledged and not delivered again, across reconnect, takeover and restart', () => {
    const world = new World({ store: new DelayedStore() })
    const watcher = world.peer('w').subscribed('a', 2)
    const away = world.peer('away', STAYS)
    away.subscribe('a', 2)
    world.commit()
    away.lost()
    const publish = (at: World): void => {
      const peer = at.peer('p', stays)
      for (const dup of [false, true]) peer.publish('a', 'x', { qos: 2, id: 9, dup })
      at.commit()
      expect(peer.read()).toEqual(['PUBREC #9', 'PUBREC #9'])
    }
    publish(world)
    publish(world)
    expect(watcher.read()).toEqual(['a=x q2 #1'])
    const after = world.restarted()
    const later = after.peer('later').subscribed('a')
    publish(after)
    publish(after)
    expect(later.read()).toEqual([])
    expect(after.peer('away', STAYS).greeting).toBe('CONNACK present,a=x q2 #1')
    const peer = after.peer('p', stays)
    peer.ack('PUBREL', 9)
    after.commit()
    expect(peer.read()).toEqual(['PUBCOMP #9'])
    const last = after.restarted()
    const lastWatcher = last.peer('later').subscribed('a')
    const again = last.peer('p', stays)
    again.publish('a', 'y', { qos: 2, id: 9 })
    last.commit()
    expect(again.read()).toEqual(['PUBREC #9'])
    expect(lastWatcher.read()).toEqual(['a=y q0'])
  })

  test('is a new message once the session has ended', () => {
    const world = new World()
    const watcher = world.peer('w').subscribed('a')
    for (let i = 0; i < 2; i++) world.peer('p', { ...stays, cleanStart: true }).publish('a', 'x', { qos: 2, id: 9 })
    expect(watcher.read()).toEqual(['a=x q0', 'a=x q0'])
  })
})

describe('behaviour 26: a PUBREL for an id that nobody knows', () => {
  test.each([
    ['3.1', { protocolVersion: 3 }, '7002004d'],
    ['3.1.1', { protocolVersion: 4 }, '7002004d'],
    ['5.0', {}, '7003004d92'],
  ] as const)('is answered with PUBCOMP, and the conversation goes on, %s', (_version, fresh, pubcomp) => {
    const world = new World()
    const peer = world.peer('c', fresh)
    peer.ack('PUBREL', 77)
    expect(world.out(peer.connection)).toEqual([pubcomp])
    peer.publish('a', 'x', { qos: 2, id: 77 })
    peer.ack('PUBREL', 77)
    const known = pubcomp.endsWith('92') ? ' 0x10' : ''
    expect(peer.read()).toEqual([`PUBREC #77${known}`, 'PUBCOMP #77'])
  })

  test('is no error after a reconnect, when the PUBCOMP was lost: the message has arrived', () => {
    const world = new World()
    const before = world.peer('c', STAYS)
    before.publish('a', 'x', { qos: 2, id: 7 })
    before.ack('PUBREL', 7)
    before.lost()
    const peer = world.peer('c', STAYS)
    peer.ack('PUBREL', 7)
    expect(peer.read()).toEqual(['PUBCOMP #7'])
  })

  test('does not open or close the exchange of another id', () => {
    const peer = new World().peer('c')
    peer.publish('a', 'x', { qos: 2, id: 1 })
    peer.ack('PUBREL', 2)
    peer.publish('a', 'x', { qos: 2, id: 1, dup: true })
    peer.ack('PUBREL', 1)
    expect(peer.read()).toEqual(['PUBREC #1 0x10', 'PUBCOMP #2 0x92', 'PUBREC #1', 'PUBCOMP #1'])
  })
})

describe('behaviour 27: a PUBREC of 0x80 and above', () => {
  const receiving = (receiveMaximum: number): Partial<Connect> => ({
    ...STAYS,
    properties: { ...STAYS.properties, receiveMaximum },
  })

  test('frees the id and the place in the window, is answered with nothing, and nothing is sent again', () => {
    const world = new World()
    const receiver = world.peer('s', receiving(1)).subscribed('a', 2)
    const publisher = world.peer('p')
    for (const id of [1, 2, 3]) publisher.publish('a', String(id), { qos: 2, id })
    expect(receiver.read()).toEqual(['a=1 q2 #1'])
    receiver.ack('PUBREC', 1, 0x80)
    expect(receiver.read()).toEqual(['a=2 q2 #2'])
    receiver.ack('PUBREC', 2, 0x97)
    receiver.ack('PUBREC', 2, 0x97)
    expect(receiver.read()).toEqual(['a=3 q2 #3'])
    world.broker.sessions.get('mqtt', 's')!.resumePacketIds(0xffff)
    receiver.ack('PUBREC', 3, 0x83)
    publisher.publish('a', '4', { qos: 2, id: 4 })
    expect(receiver.read()).toEqual(['a=4 q2 #1'])
    receiver.lost()
    expect(world.peer('s', receiving(1)).greeting).toBe('CONNACK present,a=4 q2 #1 dup')
  })

  test('counts after a restart too', () => {
    const world = new World({ store: new DelayedStore() })
    const receiver = world.peer('s', STAYS)
    receiver.subscribe('a', 2)
    world.commit()
    world.peer('p').publish('a', '1', { qos: 2 })
    world.commit()
    receiver.ack('PUBREC', 1, 0x80)
    world.commit()
    expect(world.restarted().peer('s', STAYS).greeting).toBe('CONNACK present')
  })
})

describe.each(BOTH)('behaviour 28: an acknowledgement of the wrong kind, %s,', (_version, _fresh, stays) => {
  const inFlight = (qos: 1 | 2) => {
    const world = new World()
    const receiver = world.peer('s', stays).subscribed('a', 2)
    world.peer('p').publish('a', 'x', { qos })
    receiver.read()
    return { world, receiver }
  }

  const closed = stays === STAYS ? ['DISCONNECT 0x82', 'close'] : ['close']
  const told = (world: World): string[] =>
    world.notices.filter(({ code }) => code === 'protocol-error').map(({ reason }) => reason!.replace(/ \(.*/, ''))

  test.each([
    ['PUBACK', 1, 2, 'in flight with QoS 2', 'a=x q2 #1 dup'],
    ['PUBCOMP', 1, 2, 'in flight with QoS 2', 'a=x q2 #1 dup'],
    ['PUBREC', 1, 1, 'in flight with QoS 1', 'a=x q1 #1 dup'],
    ['PUBCOMP', 1, 1, 'in flight with QoS 1', 'a=x q1 #1 dup'],
  ] as const)('%s #%i for QoS %i ends the connection, and the message stays in flight', (ack, id, qos, why, again) => {
    const { world, receiver } = inFlight(qos)
    receiver.ack(ack, id)
    expect(receiver.read()).toEqual(closed)
    expect(told(world)).toEqual([`${ack} for packet id ${id}, ${why}`])
    expect(world.peer('s', stays).greeting).toBe(`CONNACK present,${again}`)
  })

  test('PUBACK after PUBREC ends the connection, and PUBREL is repeated', () => {
    const { world, receiver } = inFlight(2)
    receiver.ack('PUBREC', 1)
    receiver.ack('PUBACK', 1)
    expect(receiver.read()).toEqual(['PUBREL #1', ...closed])
    expect(told(world)).toEqual(['PUBACK for packet id 1, in flight with QoS 2 and released'])
    const last = world.peer('s', stays)
    expect(last.greeting).toBe('CONNACK present,PUBREL #1')
    last.ack('PUBCOMP', 1)
    last.lost()
    expect(world.peer('s', stays).greeting).toBe('CONNACK present')
  })

  test('PUBREL for QoS 1, or acknowledgements of what was never sent: the conversation goes on', () => {
    const { world, receiver } = inFlight(1)
    receiver.publish('b', 'x', { qos: 1, id: 5 })
    receiver.ack('PUBREL', 5)
    for (const type of ['PUBACK', 'PUBCOMP'] as const) receiver.ack(type, 500)
    receiver.send({ type: 12 })
    expect(receiver.read().at(-1)).toBe('PINGRESP')
    expect(world.broker.sessions.waiting().messages).toBe(1)
  })
})

describe.each(BOTH)('behaviour 29: packet ids, %s', (version, fresh, stays) => {
  test.each([
    ['PUBLISH with QoS 1', '32 07 0001 61 0000 0078'],
    ['PUBLISH with QoS 2', '34 07 0001 61 0000 0078'],
    ['PUBACK', '40 02 0000'],
    ['PUBREC', '50 02 0000'],
    ['PUBREL', '62 02 0000'],
    ['PUBCOMP', '70 02 0000'],
  ])('0 in %s ends the connection', (_name, hex) => {
    const world = new World()
    const watcher = world.peer('w').subscribed('#')
    const peer = world.peer('c', fresh)
    peer.sendHex(hex)
    expect(peer.read()).toEqual(version === '5.0' ? ['DISCONNECT 0x82', 'close'] : ['close'])
    expect(watcher.read()).toEqual([])
  })

  test('wrap at 65,535 and skip those in flight', () => {
    const world = new World()
    const receiver = world.peer('s', stays).subscribed('a', 2)
    const publisher = world.peer('p')
    const next = (qos: 1 | 2): number => {
      publisher.publish('a', 'x', { qos, id: 1 })
      publisher.ack('PUBREL', 1)
      return receiver.published()[0]!.packetId
    }
    // 1 and 3 stay in flight.
    expect([next(1), next(1), next(2)]).toEqual([1, 2, 3])
    receiver.ack('PUBACK', 2)
    world.broker.sessions.get('mqtt', 's')!.resumePacketIds(0xfffd)
    const ids: number[] = []
    for (let i = 0; i < 5; i++) {
      const id = next(i % 2 === 0 ? 1 : 2)
      ids.push(id)
      if (i % 2 === 0) receiver.ack('PUBACK', id)
    }
    expect(ids).toEqual([0xfffe, 0xffff, 2, 4, 5])
  })

  test('of a client and of the broker are independent', () => {
    const world = new World()
    const peer = world.peer('c', fresh).subscribed('a', 2)
    peer.publish('a', 'x', { qos: 2, id: 1 })
    expect(peer.read().sort()).toEqual(['PUBREC #1', 'a=x q2 #1'])
    peer.ack('PUBREC', 1)
    peer.ack('PUBREL', 1)
    expect(peer.read().sort()).toEqual(['PUBCOMP #1', 'PUBREL #1'])
  })

  test('one that a client uses for QoS 1 while its QoS 2 is open loses neither', () => {
    const world = new World()
    const watcher = world.peer('w').subscribed('a')
    const peer = world.peer('c', fresh)
    peer.publish('a', '2', { qos: 2, id: 7 })
    peer.publish('a', '1', { qos: 1, id: 7 })
    peer.publish('a', '2', { qos: 2, id: 7, dup: true })
    peer.ack('PUBREL', 7)
    expect(peer.read()).toEqual(['PUBREC #7', 'PUBACK #7', 'PUBREC #7', 'PUBCOMP #7'])
    expect(watcher.read()).toEqual(['a=2 q0', 'a=1 q0'])
  })
})

describe.each(BOTH)('behaviour 30: sending again, %s,', (_version, _fresh, stays) => {
  test('keeps the order, and sends PUBREL and not PUBLISH after PUBREC, more than once if need be', () => {
    const world = new World()
    world.peer('s', stays).subscribed('a', 2).lost()
    const publisher = world.peer('p')
    for (let id = 1; id <= 5; id++) publisher.publish('a', String(id), { qos: id === 4 ? 1 : 2, id })
    const first = world.peer('s', stays)
    for (const id of [3, 1]) first.ack('PUBREC', id)
    for (let i = 0; i < 3; i++) {
      expect(world.peer('s', stays).greeting).toBe(
        'CONNACK present,a=2 q2 #2 dup,a=4 q1 #4 dup,a=5 q2 #5 dup,PUBREL #3,PUBREL #1',
      )
    }
  })

  test('keeps the order of QoS 2 over a restart', () => {
    const world = new World({ store: new DelayedStore() })
    const first = world.peer('s', stays)
    first.subscribe('a', 2)
    world.commit()
    const publisher = world.peer('p')
    for (let id = 1; id <= 4; id++) publisher.publish('a', String(id), { qos: 2, id })
    world.commit()
    first.read()
    first.ack('PUBREC', 2)
    world.commit()
    const after = world.restarted()
    for (let i = 0; i < 2; i++) {
      expect(after.peer('s', stays).greeting).toBe('CONNACK present,a=1 q2 #1 dup,a=3 q2 #3 dup,a=4 q2 #4 dup,PUBREL #2')
    }
  })
})

describe.each(BOTH)('behaviour 31: the order of a topic, %s,', (_version, fresh, stays) => {
  const payloads = (lines: readonly string[]): string => lines.flatMap((line) => /^a=(\w)/.exec(line)?.[1] ?? []).join('')
  const MIX = [2, 0, 1, 2, 2, 0, 1, 1, 2] as const

  test('holds across QoS while the disk is slow', () => {
    const world = new World({ store: new DelayedStore() })
    const receiver = world.peer('s', stays)
    receiver.subscribe('a', 2)
    world.commit()
    receiver.read()
    const publisher = world.peer('p')
    const lines: string[] = []
    for (const [i, qos] of MIX.entries()) {
      publisher.publish('a', String(i), { qos, id: i + 1 })
      lines.push(...receiver.read())
    }
    world.commit()
    expect(payloads([...lines, ...receiver.read()])).toBe('012345678')
  })

  test('holds where the queue of one who was away goes over into what comes live', () => {
    const world = new World({ broker: { queueQos0Messages: true } })
    world.peer('s', stays).subscribed('a', 2).lost()
    const publisher = world.peer('p')
    for (let i = 0; i < 30; i++) publisher.publish('a', i.toString(36), { qos: MIX[i % 9]!, id: i + 1 })
    const receiver = world.peer('s', stays)
    const lines = receiver.greeting.split(',')
    for (let i = 30; i < 36; i++) publisher.publish('a', i.toString(36), { qos: MIX[i % 9]!, id: i + 1 })
    for (let more = lines; more.length > 0; ) {
      for (const line of more) {
        const id = Number(/#(\d+)/.exec(line)?.[1] ?? 0)
        if (line.includes(' q1 ')) receiver.ack('PUBACK', id)
        else if (line.includes(' q2 ')) receiver.ack('PUBREC', id)
        else if (line.startsWith('PUBREL')) receiver.ack('PUBCOMP', id)
      }
      more = receiver.read()
      lines.push(...more)
    }
    expect(payloads(lines)).toBe('0123456789abcdefghijklmnopqrstuvwxyz')
  })

  test('holds for each of two publishers', () => {
    const world = new World()
    const receiver = world.peer('s', fresh).subscribed('a', 2)
    const publishers = [world.peer('p', fresh), world.peer('q', fresh)]
    for (let i = 0; i < 8; i++) publishers[i % 2]!.publish('a', String(i), { qos: MIX[i]!, id: i + 1 })
    expect(payloads(receiver.read())).toBe('01234567')
  })
})

describe('behaviour 32: what is too large for a client', () => {
  const small = (maximumPacketSize: number): Partial<Connect> => ({
    ...STAYS,
    properties: { ...STAYS.properties, maximumPacketSize, receiveMaximum: 1 },
  })
  const LARGE = 'x'.repeat(100)

  test.each([0, 1, 2] as const)('is dropped, counted and told, and holds nothing up, QoS %i', (qos) => {
    const world = new World()
    const receiver = world.peer('s', small(40)).subscribed('a', 2)
    const publisher = world.peer('p')
    for (let id = 1; id <= 3; id++) publisher.publish('a', LARGE, { qos, id })
    publisher.publish('a', 'small', { qos: 1, id: 9 })
    expect(receiver.read()).toEqual([qos === 0 ? 'a=small q1 #1' : 'a=small q1 #4'])
    expect(world.connections.traffic.publishDropped).toBe(3)
    const told = world.notices.filter(({ code }) => code === 'message-dropped')
    expect(told.map(({ client }) => client)).toEqual(['mqtt:s', 'mqtt:s', 'mqtt:s'])
    expect(world.broker.sessions.waiting().messages).toBe(1)
    receiver.lost()
    expect(world.peer('s', small(40)).greeting).toBe(`CONNACK present,a=small q1 #${qos === 0 ? 1 : 4} dup`)
  })

  test('is treated so queued, retained and sent again, and stays done after a restart', () => {
    const world = new World({ store: new DelayedStore() })
    const first = world.peer('s', STAYS)
    first.subscribe('a', 2)
    world.commit()
    first.read()
    const publisher = world.peer('p')
    for (const qos of [1, 2] as const) publisher.publish('a', LARGE, { qos, id: qos, retain: true })
    world.commit()
    expect(first.read()).toHaveLength(2)
    first.lost()
    publisher.publish('a', LARGE, { qos: 2, id: 3 })
    publisher.publish('a', 'small', { qos: 2, id: 4 })
    world.commit()
    const again = world.peer('s', small(40))
    expect(again.greeting).toBe('CONNACK present,a=small q2 #4')
    again.subscribe('a', 1)
    world.commit()
    expect(again.read()).toEqual(['SUBACK #99 0x01'])
    again.ack('PUBREC', 4)
    world.commit()
    again.ack('PUBCOMP', 4)
    world.commit()
    expect(world.restarted().peer('s', STAYS).greeting).toBe('CONNACK present')
  })

  test('goes to the others, and to the same client when it takes more', () => {
    const world = new World()
    const receiver = world.peer('s', small(40)).subscribed('a', 1)
    const other = world.peer('o').subscribed('a', 1)
    const publisher = world.peer('p')
    publisher.publish('a', LARGE, { qos: 1, id: 1 })
    expect(receiver.read()).toEqual([])
    expect(other.read()).toHaveLength(1)
    receiver.lost()
    publisher.publish('a', LARGE, { qos: 1, id: 2 })
    expect(world.peer('s', STAYS).greeted).toHaveLength(1)
  })
})

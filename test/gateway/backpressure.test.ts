import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { Link } from '../../src/mqtt/link.ts'
import type { TestClient } from '../broker/harness.ts'
import { say, TestGateway } from './harness.ts'

/** A sensor `s` that may publish to 0x0401, and a reader over TCP whose queue holds eight messages. */
const withReader = (): { world: TestGateway; reader: TestClient } => {
  const world = new TestGateway({}, undefined, { limits: { maxQueuedMessages: 8, maxInflightMessages: 1 } })
  const reader = world.client('reader')
  reader.subscribe('up', 1)
  reader.poll()
  world.send('r', say.connect('s', { clean: false }), say.register('up'))
  world.sent('r')
  return { world, reader }
}

/** The reader acknowledges all that it can get. */
const drain = (world: TestGateway, reader: TestClient): void => {
  for (let out = reader.link.poll(world.now); out !== undefined; out = reader.link.poll(world.now))
    if (out.type === 0 && out.qos > 0) reader.ack(4, out.packetId)
}

/** The sensor publishes with QoS 1 until the link is held; the reader has taken a message meanwhile, so that waiting for it is worthwhile. */
const untilHeld = (world: TestGateway, reader: TestClient): void => {
  for (let msgId = 1; msgId < 50 && link(world).state === 'open'; msgId++) {
    world.send('r', say.publish(0x401, 'x', 1, msgId))
    if (msgId === 4) drain(world, reader)
  }
  expect(link(world).state).toBe('held')
  world.sent('r')
}

const link = (world: TestGateway): Link => world.gateway.client('s')!.link!

describe('a sensor whose publishes a slow reader holds up', () => {
  test('is served again once the reader has caught up, after QoS 0 in between too', () => {
    const { world, reader } = withReader()
    untilHeld(world, reader)
    world.send('r', say.publish(0x401, 'zero'))
    drain(world, reader)
    world.send('other', say.ping())
    expect(link(world).state).toBe('open')
    world.send('r', say.publish(0x401, 'y', 1, 60), say.subscribe('down', 1, 61), say.unsubscribe('down', 62))
    expect(world.sent('r')).toEqual(['PUBACK 0401 #60', 'SUBACK 0402 #61 q1', 'UNSUBACK #62'])
  })

  test('is served after a CONNECT that continues its session', () => {
    const { world, reader } = withReader()
    untilHeld(world, reader)
    world.send('r', say.publish(0x401, 'zero'))
    drain(world, reader)
    world.send('r', say.connect('s', { clean: false }), say.publish(0x401, 'y', 1, 60))
    expect(world.sent('r')).toEqual(['CONNACK', 'PUBACK 0401 #60'])
  })

  test('gets PUBCOMP for what it has begun, once there is room', () => {
    const { world, reader } = withReader()
    untilHeld(world, reader)
    world.send('r', say.publish(0x401, 'zero'))
    expect(world.sent('r')).toEqual([])
    drain(world, reader)
    world.send('r', say.publish(0x401, 'y', 2, 60), say.pubrel(60))
    expect(world.sent('r')).toEqual(['PUBREC #60', 'PUBCOMP #60'])
  })
})

test('a link whose answers wait for the store, as many as may wait, takes no more requests until some have left', () => {
  const world = new TestGateway({}, new DelayedStore())
  world.send('r', say.connect('s', { clean: false }))
  world.settle()
  world.sent('r')
  world.send('r', say.subscribe('a/#', 1, 1))
  for (let msgId = 2; msgId <= 1000; msgId++) world.send('r', say.unsubscribe('b', msgId))
  world.send('r', say.subscribe('a/#', 1, 1001))
  expect(world.sent('r')).toEqual(['SUBACK 0000 #1001 q0 rc1'])
  expect(link(world).state).toBe('held')
  world.settle()
  expect(link(world).state).toBe('open')
  world.sent('r')
  world.send('r', say.subscribe('a/#', 1, 1002))
  world.settle()
  expect(world.sent('r')).toEqual(['SUBACK 0000 #1002 q1'])
})

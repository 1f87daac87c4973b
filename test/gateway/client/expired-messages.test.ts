import { expect, test } from 'vitest'
import { Publish } from '../../../src/mqtt/publish.ts'
import { MsgType } from '../../../src/mqttsn/messages.ts'
import { say, TestGateway } from '../harness.ts'

const HOUR = 3_600_000

test.each([0, 1, 2] as const)('a message with QoS %i that expires before it was ever sent is not sent any more', (qos) => {
  const world = new TestGateway()
  world.send('r', say.connect('s', { clean: false, duration: 0 }), say.subscribe('a/#', 2, 8))
  const publisher = world.client('p')
  publisher.link.send(world.now, Publish.of('a/x', Buffer.from('old'), qos, false, qos, { messageExpiryInterval: 5 }))
  world.send('other', say.ping())
  expect(world.sent('r')).toContainEqual(expect.stringContaining('REGISTER 0401=a/x'))
  world.send('r', say.disconnect(7200))
  world.sent('r')
  world.advance(HOUR)
  world.send('r', say.ping('s'))
  for (const message of world.messages('r')) {
    expect(message.type).not.toBe(MsgType.PUBLISH)
    if (message.type === MsgType.REGISTER) world.send('r', say.regack(message.topicId, message.msgId))
  }
  expect(world.sent('r')).toEqual([])
  expect(world.notices).toContainEqual(
    expect.objectContaining({ code: 'message-dropped', level: 'debug', client: 'sn:s', reason: 'expired on a/x' }),
  )
  // What comes next is not held up.
  world.publish('a/x', 'new', 1)
  world.send('r', say.ping('s'))
  for (const message of world.messages('r'))
    if (message.type === MsgType.REGISTER) world.send('r', say.regack(message.topicId, message.msgId))
  expect(world.sent('r').join()).toContain('=new')
})

test('one that has left is repeated until it is acknowledged, even if it expires meanwhile', () => {
  const world = new TestGateway()
  world.send('r', say.connect('s', { clean: false, duration: 0 }), say.subscribe('ab', 1, 8))
  const publisher = world.client('p')
  publisher.link.send(world.now, Publish.of('ab', Buffer.from('old'), 1, false, 1, { messageExpiryInterval: 5 }))
  world.send('other', say.ping())
  world.sent('r')
  world.advance(10_001)
  expect(world.sent('r').join()).toContain('=old #1 q1 dup')
})

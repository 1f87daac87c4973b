import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { say, TestGateway } from './harness.ts'

const LASTING = { clean: false }

/** A sensor that connects, does something, and goes. */
function visit(world: TestGateway, route: string, clientId: string, ...does: ReturnType<typeof say.disconnect>[]): string[] {
  world.send(route, say.connect(clientId, LASTING), ...does, say.disconnect())
  return world.sent(route)
}

describe('where there is no room for one more sensor', () => {
  test('one that is gone and was never used makes room, with a notice', () => {
    const world = new TestGateway({ maxSessions: 2, maxSessionsKey: 'max_sn_sessions' })
    visit(world, '192.0.2.1:1', 'a')
    visit(world, '192.0.2.1:2', 'b')
    expect(visit(world, '192.0.2.2:1', 'new')[0]).toBe('CONNACK')
    expect([world.gateway.client('a'), world.gateway.clientCount, world.broker.sessions.count('sn')]).toEqual([undefined, 2, 2])
    expect(world.notices.find(({ code }) => code === 'session-expired')).toMatchObject({
      client: 'sn:a',
      limit: 'max_sn_sessions',
    })
  })

  test.each([
    ['has a topic id', say.register('a/b')],
    ['has a subscription', say.subscribe('a/b')],
  ])('one that %s stays, and the newcomer is told congestion', (_, does) => {
    const world = new TestGateway({ maxSessions: 1, maxSessionsKey: 'max_sn_sessions' })
    visit(world, '192.0.2.1:1', 'a', does)
    expect(visit(world, '192.0.2.2:1', 'new')[0]).toBe('CONNACK rc1')
    expect(world.notices.find(({ code }) => code === 'limit-reached')).toMatchObject({ limit: 'max_sn_sessions' })
  })

  test('one that is connected, asleep or has come back stays', () => {
    const world = new TestGateway({ maxSessions: 3 })
    world.send('192.0.2.1:1', say.connect('active', LASTING))
    world.send('192.0.2.1:2', say.connect('asleep', LASTING), say.disconnect(60))
    for (let i = 0; i < 2; i++) visit(world, '192.0.2.1:3', 'back')
    expect(visit(world, '192.0.2.2:1', 'new')[0]).toBe('CONNACK rc1')
  })

  test('the search goes on where it stopped, a bounded part for each newcomer', () => {
    const world = new TestGateway({ maxSessions: 250 })
    for (let i = 0; i < 249; i++) world.send(`192.0.2.1:${i + 1}`, say.connect(`s${i}`, LASTING))
    visit(world, '192.0.2.1:999', 'unused')
    const answers = [1, 2, 3].map((i) => visit(world, `192.0.2.2:${i}`, `new${i}`)[0])
    expect(answers).toEqual(['CONNACK rc1', 'CONNACK rc1', 'CONNACK'])
  })

  test('a restart knows that it is gone', () => {
    const store = new DelayedStore()
    const world = new TestGateway({ maxSessions: 1 }, store)
    world.send('192.0.2.1:1', say.connect('a', LASTING))
    store.commit()
    world.send('192.0.2.1:1', say.disconnect())
    store.commit()
    world.send('192.0.2.2:1', say.connect('new', LASTING))
    store.commit()
    const clients = [...store.crash({ folded: store.durable }).replay()].flatMap((record) =>
      record.type === 'sn-client' ? record.clientId : [],
    )
    expect(clients).not.toContain('a')
  })
})

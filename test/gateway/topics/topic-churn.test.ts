import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { type Message, MsgType } from '../../../src/mqttsn/messages.ts'
import { say, TestGateway } from '../harness.ts'

/** What a sensor with a table of its own hears: each message under the topic that its table has for the id. */
class Table {
  readonly heard: string[] = []
  readonly topics = new Map<number, string>()
  readonly #world: TestGateway
  #msgId = 100

  constructor(world: TestGateway) {
    this.#world = world
  }

  /** Answers all that has come. */
  take(): void {
    for (let messages = this.#world.messages('r'); messages.length > 0; messages = this.#world.messages('r'))
      for (const message of messages) this.#take(message)
  }

  register(topicName: string): number | undefined {
    this.#world.send('r', say.register(topicName, ++this.#msgId))
    const answer = this.#world.messages('r').find(({ type }) => type === MsgType.REGACK)
    if (answer?.type !== MsgType.REGACK || answer.returnCode !== 0) return undefined
    this.topics.set(answer.topicId, topicName)
    return answer.topicId
  }

  #take(message: Message): void {
    if (message.type === MsgType.REGISTER) {
      this.topics.set(message.topicId, message.topicName)
      this.#world.send('r', say.regack(message.topicId, message.msgId))
    } else if (message.type === MsgType.PUBLISH) {
      this.heard.push(`${this.topics.get(message.topicId)}=${Buffer.from(message.data).toString()}`)
      if (message.qos === 1) this.#world.send('r', say.puback(message.topicId, message.msgId))
    }
  }
}

/** A sensor that is subscribed to t/#, at a gateway with six topic ids. */
const few = (options = {}, store?: DelayedStore): { world: TestGateway; table: Table } => {
  const world = new TestGateway({ topicIds: { from: 0x401, to: 0x406 }, ...options }, store)
  for (const message of [say.connect('s', { clean: false }), say.subscribe('t/#', 1)]) {
    world.send('r', message)
    if (store !== undefined) world.settle()
  }
  world.sent('r')
  return { world, table: new Table(world) }
}

describe('topic ids that have run out', () => {
  test('more than 65,535 names in one session: every message arrives under its own name', () => {
    const world = new TestGateway({ topicsPerClient: 1000 })
    world.send('r', say.connect('s', { clean: false }), say.subscribe('t/#', 0), say.register('own', 2))
    world.sent('r')
    const table = new Table(world)
    const publisher = world.client('p')
    for (let i = 0; i < 67_000; i++) {
      publisher.publish(`t/${i}`, `${i}`, 0)
      world.send('nobody', { type: MsgType.PINGRESP })
      table.take()
    }
    expect(table.heard.length).toBe(67_000)
    expect(table.heard.filter((each, i) => each !== `t/${i}=${i}`)).toEqual([])
    expect(world.codes()).not.toContain('message-dropped')
    // What the sensor has asked for stays, and what it asks for now is to be had.
    expect([table.topics.get(0x401), world.gateway.client('s')!.registry.nameOf(0x401)]).toEqual([undefined, 'own'])
    expect(table.register('late')).toBeGreaterThan(0x401)
  }, 120_000)

  test('those that were offered are given again, the oldest first, and used only after REGACK', () => {
    const { world } = few({ topicsPerClient: 2 })
    const registers: string[] = []
    for (let i = 0; i < 9; i++) {
      world.publish(`t/${i}`, 'x', 0)
      const [register, ...others] = world.sent('r')
      expect(others).toEqual([])
      registers.push(register!.slice(9, 17))
      // Nothing but the REGISTER: without its answer nothing follows.
      const topicId = Number.parseInt(register!.slice(9, 13), 16)
      world.send('r', say.regack(topicId, i + 1))
      expect(world.sent('r')).toEqual([`PUBLISH ${register!.slice(9, 13)}=x q0`])
    }
    expect(registers).toEqual([
      '0401=t/0',
      '0402=t/1',
      '0403=t/2',
      '0404=t/3',
      '0401=t/4',
      '0402=t/5',
      '0403=t/6',
      '0404=t/7',
      '0401=t/8',
    ])
  })

  test('one that the sensor has asked for, by REGISTER or SUBSCRIBE, keeps its topic, also if it was offered before', () => {
    const { world, table } = few()
    world.publish('t/0', 'x')
    table.take()
    expect(table.register('t/0')).toBe(0x401)
    expect(table.register('own')).toBe(0x402)
    world.send('r', say.subscribe('sub', 1))
    expect(world.sent('r')).toEqual(['SUBACK 0403 #9 q1'])
    table.topics.set(0x403, 'sub')
    for (let i = 1; i < 30; i++) {
      world.publish(`t/${i}`, 'x')
      table.take()
    }
    const { registry } = world.gateway.client('s')!
    expect([0x401, 0x402, 0x403].map((id) => registry.nameOf(id))).toEqual(['t/0', 'own', 'sub'])
    expect(table.heard).toEqual(Array.from({ length: 30 }, (_, i) => `t/${i}=x`))
  })

  test('REGISTER and SUBSCRIBE are refused with 0x03 and a notice, and no message is misrouted', () => {
    const { world, table } = few()
    for (let i = 0; i < 6; i++) expect(table.register(`own/${i}`)).toBe(0x401 + i)
    world.send('r', say.register('more', 1), say.subscribe('other', 1, 2))
    expect(world.sent('r')).toEqual(['REGACK 0000 #1 rc3', 'SUBACK 0000 #2 q0 rc3'])
    const told = world.notices.filter(({ code }) => code === 'limit-reached')
    expect(told.map(({ client, reason }) => [client, reason])).toEqual([
      ['sn:s', 'no topic id for more: all numbers are in use'],
      ['sn:s', 'no topic id for other: all numbers are in use'],
    ])
    world.publish('t/1', 'x')
    expect(world.sent('r')).toEqual([])
    expect(world.codes()).toContain('message-dropped')
    const watcher = world.client('w')
    watcher.subscribe('own/#', 0)
    watcher.poll()
    world.send('r', say.publish(0x403, 'y'))
    expect(watcher.poll()).toEqual(['own/2=y q0'])
  })

  test('an id that the sensor is being told does not give way', () => {
    const { world } = few({ topicsPerClient: 1 })
    world.publish('t/0', 'x')
    expect(world.sent('r')).toEqual(['REGISTER 0401=t/0 #2'])
    world.send('r', say.register('own', 5))
    expect(world.sent('r')).toEqual(['REGACK 0000 #5 rc1'])
    world.send('r', say.regack(0x401, 2), say.puback(0x401, 1), say.register('own', 5))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1', 'REGACK 0402 #5'])
  })

  test('a late copy of an old REGISTER, which the sensor obeys and answers, is followed by a REGISTER before the next message', () => {
    const { world, table } = few({ topicsPerClient: 2 })
    for (let i = 0; i < 5; i++) {
      world.publish(`t/${i}`, 'x', 0)
      table.take()
    }
    expect(table.topics.get(0x401)).toBe('t/4')
    // The radio brings the first REGISTER once more.
    table.topics.set(0x401, 't/0')
    world.send('r', say.regack(0x401, 1))
    world.publish('t/4', 'y', 0)
    table.take()
    expect(table.heard.at(-1)).toBe('t/4=y')
  })

  test('a sensor that has not acknowledged the new name is not taken to mean it', () => {
    const { world, table } = few({ topicsPerClient: 2 })
    const watcher = world.client('w')
    watcher.subscribe('t/#', 0)
    for (let i = 0; i < 4; i++) {
      world.publish(`t/${i}`, 'x')
      table.take()
    }
    watcher.poll()
    world.publish('t/4', 'x')
    expect(world.sent('r')).toEqual([expect.stringMatching(/^REGISTER 0401=t\/4/)])
    watcher.poll()
    // It means t/0.
    world.send('r', say.publish(0x401, 'mine', 1, 7))
    expect(world.sent('r')).toEqual(['PUBACK 0401 #7 rc2'])
    expect(watcher.poll()).toEqual([])
    // It registers t/4 itself, and gets a number that never meant anything else.
    expect(table.register('t/4')).toBe(0x405)
  })

  test.for([1, 2] as const)('a copy from before the new name is not published under it (QoS %i)', (qos) => {
    const { world, table } = few({ topicsPerClient: 2 })
    const watcher = world.client('w')
    watcher.subscribe('t/#', 0)
    world.publish('t/0', 'x', 0)
    table.take()
    watcher.poll()
    world.send('r', say.publish(0x401, 'mine', qos, 7))
    // The answer is lost on its way.
    table.take()
    expect(watcher.poll()).toEqual(['t/0=mine q0'])
    for (let i = 1; i < 5; i++) {
      world.publish(`t/${i}`, 'x', 0)
      table.take()
    }
    expect(table.topics.get(0x401)).toBe('t/4')
    watcher.poll()
    world.send('r', { ...say.publish(0x401, 'mine', qos, 7), dup: true })
    expect([world.sent('r'), watcher.poll()]).toEqual([['PUBACK 0401 #7 rc2'], []])
    // The sensor registers the topic that it means.
    const id = table.register('t/0')!
    world.send('r', { ...say.publish(id, 'mine', qos, 7), dup: true })
    expect(watcher.poll()).toEqual(qos === 1 ? ['t/0=mine q0'] : [])
    world.sent('r')
    // What it publishes under the new name is accepted, and so are copies of that.
    world.advance(1)
    for (const dup of [false, true]) world.send('r', { ...say.publish(0x401, 'new', 2, 8), dup })
    table.take()
    expect(watcher.poll()).toEqual(['t/4=new q0'])
    world.advance(60_001)
    world.send('r', { ...say.publish(0x401, 'later', qos, 9), dup: true })
    expect(watcher.poll()).toEqual(['t/4=later q0'])
  })

  test('a crash between REGISTER and REGACK misroutes nothing', () => {
    const { world } = few({ topicsPerClient: 2 }, new DelayedStore())
    for (let i = 0; i < 5; i++) {
      world.publish(`t/${i}`, 'x')
      world.settle()
      const [register] = world.sent('r')
      if (i === 4) expect(register).toMatch(/^REGISTER 0401=t\/4/)
      else {
        const topicId = Number.parseInt(register!.slice(9, 13), 16)
        world.send('r', say.regack(topicId, Number(register!.split('#')[1])), say.puback(topicId, i + 1))
        world.settle()
        world.sent('r')
      }
    }
    const after = world.restarted()
    after.settle()
    after.publish('t/4', 'y')
    after.settle()
    expect(after.sent('r')).toEqual([expect.stringMatching(/^REGISTER 0401=t\/4/)])
    after.send('r', say.publish(0x401, 'mine', 1, 7))
    expect(after.sent('r')).toEqual(['PUBACK 0401 #7 rc2'])
  })

  test('what the sensor has asked for, and what was offered, is the same after a restart', () => {
    const { world, table } = few({}, new DelayedStore())
    world.send('r', say.register('own', 1))
    world.settle()
    world.sent('r')
    world.publish('t/0', 'x', 0)
    world.settle()
    world.sent('r')
    expect(table.heard).toEqual([])
    const after = world.restarted()
    const { registry } = after.gateway.client('s')!
    expect([registry.isAsked(0x401), registry.isAsked(0x402)]).toEqual([true, false])
    expect(registry.leastRecentlyUsed(new Set())).toBe(0x402)
  })
})

describe('tables of one sensor over years', () => {
  test('refused subscriptions use no topic ids up', () => {
    const world = new TestGateway({ topicIds: { from: 0x401, to: 0x406 } }, undefined, {
      limits: { maxSubscriptionsPerSession: 1 },
    })
    world.send('r', say.connect('s', { clean: false }), say.subscribe('t/#', 1))
    world.sent('r')
    for (let i = 1; i <= 20; i++) {
      world.send('r', say.subscribe(`no/${i}`, 1, i))
      expect(world.sent('r')).toEqual([expect.stringMatching(/^SUBACK 0000 #\d+ q0 rc[13]$/)])
    }
    const table = new Table(world)
    expect(table.register('own')).toBeDefined()
    world.publish('t/1', 'x')
    table.take()
    expect(table.heard).toEqual(['t/1=x'])
  })

  test('of the names that it refuses the newest are remembered', () => {
    const world = new TestGateway({ topicsPerClient: 100 })
    world.send('r', say.connect('s', { clean: false }), say.subscribe('t/#', 0))
    world.sent('r')
    for (let i = 1; i <= 1001; i++) {
      world.publish(`t/${i}`, 'x', 0)
      const [register] = world.sent('r')
      world.send('r', say.regack(Number.parseInt(register!.slice(9, 13), 16), i, 3))
    }
    world.publish('t/1001', 'x', 0)
    expect(world.sent('r')).toEqual([])
    world.publish('t/1', 'x', 0)
    expect(world.sent('r')).toEqual([expect.stringMatching(/^REGISTER/)])
  })
})

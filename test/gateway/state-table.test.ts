import { describe, expect, test } from 'vitest'
import { STATE_TABLE, STATES, type State } from '../../src/gateway/state-table.ts'
import { type Message, MsgType } from '../../src/mqttsn/messages.ts'
import { say, TestGateway } from './harness.ts'

/** How a client gets into each state; `awake` with a message that it has not acknowledged. */
const WAYS: Record<State, (world: TestGateway) => void> = {
  willTopic: (world) => world.send('r', say.connect('s', { will: true })),
  willMsg: (world) => world.send('r', say.connect('s', { will: true }), say.willTopic('t')),
  active: (world) => world.send('r', say.connect('s', { clean: false }), say.subscribe('a')),
  asleep: (world) => world.send('r', say.connect('s', { clean: false }), say.subscribe('a'), say.disconnect(600)),
  awake: (world) => {
    world.send('r', say.connect('s', { clean: false }), say.subscribe('a'), say.disconnect(600))
    world.publish('a', 'x')
    world.send('r', say.ping('s'))
  },
  disconnected: (world) => world.send('r', say.connect('s', { clean: false }), say.disconnect()),
  lost: (world) => {
    world.send('r', say.connect('s', { clean: false, duration: 1 }))
    world.advance(2000)
  },
}

const anyOf = (type: number): Message => {
  const fields = {
    type,
    gwId: 1,
    duration: undefined,
    radius: 0,
    gwAddr: undefined,
    will: false,
    cleanSession: false,
    protocolId: 1,
    clientId: undefined,
    returnCode: 0,
    topic: 't',
    qos: 0,
    retain: false,
    message: new Uint8Array(1),
    topicId: 0x401,
    msgId: 1,
    topicName: 'a',
    dup: false,
    topicIdType: 'normal',
    data: new Uint8Array(1),
  }
  if (type === MsgType.CONNECT) Object.assign(fields, { clientId: 's', duration: 60 })
  if (type === MsgType.ADVERTISE) Object.assign(fields, { duration: 60 })
  return fields as never
}

describe('the state table', () => {
  for (const state of STATES) {
    test(`has a reaction to every message in ${state}, which leaves a defined state and answers within bounds`, () => {
      for (const type of Object.values(MsgType)) {
        const world = new TestGateway()
        WAYS[state](world)
        const client = world.gateway.client('s')!
        expect(client.state).toBe(state)
        world.sent('r')
        world.send('r', anyOf(type))
        const reaction = STATE_TABLE[type][state]
        expect(reaction).toBeDefined()
        expect(STATES).toContain(client.state)
        const sent = world.sent('r')
        expect(sent.length).toBeLessThanOrEqual(2)
        if (reaction === 'stranger' || reaction === 'goodbye' || reaction === 'disconnect') expect(sent).toContain('DISCONNECT')
        if (reaction === 'ignore' && type !== MsgType.SEARCHGW) {
          expect(sent).toEqual([])
          expect(client.state).toBe(state)
        }
        world.advance(1e7)
        expect(STATES).toContain(client.state)
      }
    })
  }
})

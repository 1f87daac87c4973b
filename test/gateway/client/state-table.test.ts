import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import type { Awaiting } from '../../../src/gateway/client/exchange.ts'
import { STATE_TABLE, STATES } from '../../../src/gateway/client/state-table.ts'
import { type Message, MsgType } from '../../../src/mqttsn/messages.ts'
import { say, TestGateway } from '../harness.ts'

interface Cell {
  readonly next?: string
  readonly out?: readonly string[]
  readonly up?: readonly string[]
  readonly why?: string
  readonly rule?: string
}

interface Table {
  readonly groups: Readonly<Record<string, readonly string[]>>
  readonly rows: Readonly<Record<string, Readonly<Record<string, Cell>>>>
}

const { groups, rows } = parse(readFileSync(new URL('expected-table.yaml', import.meta.url), 'utf8')) as Table

const connect = say.connect('s', { clean: false, duration: 3600 })
const connectWithWill = say.connect('s', { clean: false, duration: 3600, will: true })
const active = (world: TestGateway): void => world.send('r', connect, say.subscribe('a', 2), say.register('b', 8))

/** How the client `s` gets into each state. */
const WAYS: Readonly<Record<string, (world: TestGateway) => void>> = {
  willTopic: (world) => world.send('r', connectWithWill),
  willMsg: (world) => world.send('r', connectWithWill, say.willTopic('gone')),
  willTopicAgain: (world) => {
    active(world)
    world.send('r', connectWithWill)
  },
  willMsgAgain: (world) => {
    active(world)
    world.send('r', connectWithWill, say.willTopic('gone'))
  },
  active,
  registering: (world) => {
    active(world)
    world.send('r', say.subscribe('t/#'))
    world.publish('t/x', 'x')
  },
  publishing: (world) => {
    active(world)
    world.publish('a', 'x')
  },
  receiving: (world) => {
    active(world)
    world.publish('a', 'x', 2)
  },
  releasing: (world) => {
    active(world)
    world.publish('a', 'x', 2)
    world.send('r', say.pubrec(1))
  },
  asleep: (world) => {
    active(world)
    world.send('r', say.disconnect(7200))
  },
  awake: (world) => {
    active(world)
    world.send('r', say.disconnect(7200))
    world.publish('a', 'x')
    world.send('r', say.ping('s'))
  },
  disconnected: (world) => {
    active(world)
    world.send('r', say.disconnect())
  },
  lost: (world) => {
    active(world)
    world.advance(3_961_000)
  },
}

const publish = (qos: -1 | 0 | 1 | 2): Message =>
  qos === -1 ? say.publish(1, 'up', -1, 0, 'predefined') : say.publish(0x402, 'up', qos, qos > 0 ? 7 : 0)
const only = (type: MsgType): Message => ({ type, gwId: 1, duration: 60, returnCode: 0, qos: 0, topicId: 1, msgId: 1 }) as never

/** What happens in each row. REGACK and its like answer what is open in `registering`, which is 0403 with message id 2. */
const EVENTS: Readonly<Record<string, Message | ((world: TestGateway) => void)>> = {
  CONNECT: connect,
  'CONNECT clean': say.connect('s', { duration: 3600 }),
  'CONNECT will': connectWithWill,
  'CONNECT of another protocol': say.connect('s', { clean: false, protocolId: 2 }),
  WILLTOPIC: say.willTopic('gone'),
  'WILLTOPIC empty': say.willTopic(undefined),
  'WILLTOPIC with a wildcard': say.willTopic('gone/#'),
  WILLMSG: say.willMsg('bye'),
  DISCONNECT: say.disconnect(),
  'DISCONNECT with a duration': say.disconnect(600),
  WILLTOPICUPD: say.willTopicUpdate('new'),
  'WILLTOPICUPD empty': say.willTopicUpdate(undefined),
  'WILLMSGUPD without a will': say.willMsgUpdate('bye'),
  REGISTER: say.register('c', 7),
  'REGISTER of a name that has an id': say.register('b', 7),
  'REGISTER of a wildcard': say.register('c/#', 7),
  'PUBLISH q0': publish(0),
  'PUBLISH q1': publish(1),
  'PUBLISH q2': publish(2),
  'PUBLISH q-1': publish(-1),
  'PUBLISH with an unknown id': say.publish(0x999, 'up', 1, 7),
  PUBREL: say.pubrel(7),
  SUBSCRIBE: say.subscribe('b', 1, 7),
  'SUBSCRIBE to a wildcard': say.subscribe('c/#', 1, 7),
  'SUBSCRIBE to an unknown predefined id': say.subscribeId('predefined', 99, 1, 7),
  UNSUBSCRIBE: say.unsubscribe('a', 7),
  PINGREQ: say.ping(),
  'PINGREQ with the client id': say.ping('s'),
  REGACK: say.regack(0x403, 2),
  'REGACK with another message id': say.regack(0x403, 99),
  'REGACK that refuses': say.regack(0x403, 2, 3),
  'REGACK that tells congestion': say.regack(0x403, 2, 1),
  PUBACK: say.puback(0x401, 1),
  'PUBACK with another message id': say.puback(0x401, 99),
  'PUBACK that does not know the id': say.puback(0x401, 1, 2),
  'PUBACK that tells congestion': say.puback(0x401, 1, 1),
  'PUBACK that refuses': say.puback(0x401, 1, 3),
  PUBREC: say.pubrec(1),
  PUBCOMP: say.pubcomp(1),
  PINGRESP: { type: MsgType.PINGRESP },
  SEARCHGW: { type: MsgType.SEARCHGW, radius: 0 },
  ADVERTISE: only(MsgType.ADVERTISE),
  GWINFO: { type: MsgType.GWINFO, gwId: 1, gwAddr: undefined },
  CONNACK: only(MsgType.CONNACK),
  WILLTOPICREQ: only(MsgType.WILLTOPICREQ),
  WILLMSGREQ: only(MsgType.WILLMSGREQ),
  SUBACK: only(MsgType.SUBACK),
  UNSUBACK: only(MsgType.UNSUBACK),
  WILLTOPICRESP: only(MsgType.WILLTOPICRESP),
  WILLMSGRESP: only(MsgType.WILLMSGRESP),
  'a message for it': (world) => world.publish('a', 'new'),
  T_retry: (world) => world.advance(10_000),
  N_retry: (world) => world.advance(40_000),
  silence: (world) => world.advance(11_000_000),
}

const OPEN: Readonly<Record<Awaiting, string>> = {
  REGACK: 'registering',
  PUBACK: 'publishing',
  PUBREC: 'receiving',
  PUBCOMP: 'releasing',
}

/** The state by the names of the table. */
function stateOf(world: TestGateway): string {
  const client = world.gateway.client('s')
  if (client === undefined) return 'gone'
  const { state, outbound, link } = client
  if (state === 'willTopic' || state === 'willMsg') return link === undefined ? state : `${state}Again`
  const [first] = outbound.exchanges.open
  return state === 'active' && first !== undefined ? OPEN[first.awaiting] : state
}

/** The cells of a row, by state. */
function cellsOf(row: Readonly<Record<string, Cell>>): Map<string, Cell> {
  const cells = new Map<string, Cell>()
  for (const [name, cell] of Object.entries(row)) {
    for (const state of groups[name] ?? [name]) {
      if (cells.has(state)) throw new Error(`${state} is defined twice`)
      cells.set(state, cell)
    }
  }
  return cells
}

describe('the expected table', () => {
  const states = Object.keys(WAYS)

  test('is total: a row for every message and timer, a cell for every state, and a reason where nothing happens', () => {
    expect(Object.keys(rows)).toEqual(Object.keys(EVENTS))
    const named = new Set(Object.keys(rows).map((row) => row.split(' ')[0]))
    expect([...named].filter((name) => name === name?.toUpperCase()).sort()).toEqual(
      [...Object.keys(MsgType), 'WILLMSGUPD'].filter((name, i, all) => all.indexOf(name) === i).sort(),
    )
    for (const [name, row] of Object.entries(rows)) {
      const cells = cellsOf(row)
      expect([name, [...cells.keys()].sort()]).toEqual([name, [...states].sort()])
      for (const [state, { next, out, up, why, rule }] of cells) {
        const quiet = next === undefined && out === undefined && up === undefined
        expect([name, state, why !== undefined]).toEqual([name, state, quiet])
        // A section of the text, or a ruling.
        expect([name, state, rule]).toEqual([name, state, expect.stringMatching(/^(\d(\.\d+)+|A([1-9]|[12]\d|3[0-2]))$/)])
      }
    }
  })

  test('names every state of the program', () => {
    expect(STATES.filter((state) => !states.includes(state))).toEqual([])
    for (const type of Object.values(MsgType)) expect(Object.keys(STATE_TABLE[type]).sort()).toEqual([...STATES].sort())
  })
})

describe.each(Object.keys(rows))('%s', (name) => {
  test.each([...cellsOf(rows[name]!)])('in %s', (state, { next = state, out = [], up = [] }) => {
    const world = new TestGateway({}, undefined, { spies: true })
    WAYS[state]!(world)
    expect(stateOf(world)).toBe(state)
    world.sent('r')
    world.up()
    const event = EVENTS[name]!
    if (typeof event === 'function') event(world)
    else world.send('r', event)
    expect({ next: stateOf(world), out: world.sent('r'), up: world.up() }).toEqual({ next, out, up })
  })
})

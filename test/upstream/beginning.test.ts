import { describe, expect, test } from 'vitest'
import { ByteWriter } from '../../src/base/bytes.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import { type Packet, PacketType } from '../../src/mqtt/packets.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { bridge, Pair } from './bridge-world.ts'

const OPTIONS = { bridges: [bridge(['up/# out 2', 'down/# in 2'])] }
const MARK = '$bridge/new'

/** The far side keeps a session of the bridge from before its data directory was lost, with receipts of QoS 2 that are not released. */
function withReceipts(pair: Pair): void {
  const old = pair.far.open()
  const send = (packet: Packet) => {
    const writer = new ByteWriter()
    encodePacket(writer, packet, 5)
    pair.far.server.handle(pair.now, { kind: 'chunk', connection: old, bytes: writer.toBytes() })
    pair.run()
  }
  send({
    ...{ type: PacketType.CONNECT, protocolVersion: 5, bridge: false, clientId: 'site.head', cleanStart: false, keepAlive: 0 },
    ...{ will: undefined, username: undefined, password: undefined, properties: { sessionExpiryInterval: 0xffff_ffff } },
  })
  for (let packetId = 1; packetId < 10; packetId++) {
    const message = Publish.of('up/a', Buffer.from(`old ${packetId}`))
    message.qos = 2
    message.packetId = packetId
    send(message)
  }
  pair.far.server.handle(pair.now, { kind: 'closed', connection: old, reason: 'lost' })
  pair.run()
}

const isMarked = ({ near }: Pair): boolean => near.server.broker.sessions.byKey('mqtt:bridge:head')!.subscriptions!.has(MARK)

describe('a local session that is new', () => {
  test('the process is restarted before the far side is reached: it begins a new session there all the same', () => {
    const pair = new Pair([])
    withReceipts(pair)
    const far = pair.far.client('f').subscribe('up/#')
    pair.down()
    pair.near.start(OPTIONS)
    pair.run()
    pair.near.crash(OPTIONS)
    pair.near.client('n').publish('up/a', 'new', 2)
    pair.up()
    expect(far.heard()).toEqual(['up/a=new q2'])
    expect(isMarked(pair)).toBe(false)
  })

  test('nothing passes until it is stored that the far side has begun one', () => {
    const pair = new Pair([])
    const far = pair.far.client('f').subscribe('up/#')
    pair.down()
    pair.near.start(OPTIONS)
    const near = pair.near.client('n').subscribe('down/#')
    near.publish('up/a', '1', 2)
    pair.commits = false
    pair.up()
    far.publish('down/a', '2', 1)
    expect([far.heard(), near.heard()]).toEqual([[], []])
    // The mark is still there: the session is begun once more, and nothing is doubled by that.
    pair.near.crash(OPTIONS)
    pair.commits = true
    pair.advance(3000)
    expect(far.heard()).toEqual(['up/a=1 q2'])
    expect(isMarked(pair)).toBe(false)
    // From now on the session goes on.
    const session = pair.far.server.broker.sessions.byKey('mqtt:site.head')
    pair.near.crash(OPTIONS)
    pair.advance(3000)
    expect(pair.far.server.broker.sessions.byKey('mqtt:site.head')).toBe(session)
  })

  test('the local session is opened again while the mark is taken away: the far session goes on', () => {
    const pair = new Pair([])
    pair.down()
    pair.near.start(OPTIONS)
    pair.run()
    pair.commits = false
    pair.up()
    const session = pair.far.server.broker.sessions.byKey('mqtt:site.head')!
    pair.near.server.broker.close(pair.now, pair.near.server.broker.sessions.byKey('mqtt:bridge:head')!.link!, 0x98)
    pair.commits = true
    pair.run()
    pair.advance(3000)
    expect(pair.far.server.broker.sessions.byKey('mqtt:site.head')).toBe(session)
    expect(isMarked(pair)).toBe(false)
    const far = pair.far.client('f').subscribe('up/#')
    pair.near.client('n').publish('up/a', '1', 2)
    expect(far.heard()).toEqual(['up/a=1 q2'])
  })
})

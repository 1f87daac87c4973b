import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { type Access, OPEN_ACCESS } from '../../src/broker/access.ts'
import { Broker } from '../../src/broker/broker.ts'
import { Connections } from '../../src/mqtt/connections.ts'
import { MemoryStore } from '../../src/store/store.ts'
import { RawClient, TestListener } from '../mqtt/io/test-listener.ts'
import { Wire } from '../mqtt/wire.ts'
import { MIB, reachableBytes } from './heap.ts'

const CONNECT_5 = '100e00044d5154540502000000000163'
const CONNACK_5 = /^20..0000/

/** A packet as hex, with its length of less than 128. */
const packet = (first: number, body: string): string => {
  const hex = body.replaceAll(' ', '')
  return Buffer.from([first, hex.length / 2]).toString('hex') + hex
}

/** Streams in front of a broker, of which nothing is remembered. */
class Streams {
  readonly #broker = new Broker({ store: new MemoryStore(), clock: { epoch: 0 }, notice: () => {}, random: () => 0.5 })
  readonly connections = new Connections(this.#broker, {}, () => {})
  closed = 0
  #next = 1

  open(hex: string): number {
    const connection = this.#next++
    this.connections.open(0, connection, { peer: 'test', listener: 'mqtt' })
    this.connections.chunk(0, connection, Buffer.from(hex, 'hex'))
    for (let link = this.#broker.nextReadyLink(); link !== undefined; link = this.#broker.nextReadyLink())
      this.connections.linkReady(0, link)
    for (let out = this.connections.poll(); out !== undefined; out = this.connections.poll())
      if (out.kind === 'close') this.closed++
    return connection
  }
}

describe('what a stranger may make the broker hold', () => {
  test('lesson 1: a length that is announced takes no memory, and what is no CONNECT is closed at its first byte', () => {
    const streams = new Streams()
    for (const hex of ['10ffffff7f', '30ffffff7f', '30', '00', 'ff']) streams.open(hex)
    expect(streams.closed).toBe(5)
    const before = reachableBytes()
    // 64 KiB, the most that a CONNECT may have, of which five bytes come.
    for (let i = 0; i < 5000; i++) streams.open('10fcff0300')
    expect(streams.connections.size).toBe(5000)
    expect(reachableBytes() - before).toBeLessThan(30 * MIB)
    expect(streams.connections.size).toBe(5000)
  })

  test('lesson 2: rejected CONNECTs leave nothing behind, however they are wrong', () => {
    const streams = new Streams()
    // Ends of CONNECT bodies, behind the protocol's name.
    const kinds = [
      // A will whose properties are cut off, one with QoS 3, and one on a wildcard; a reserved flag; a name that is no UTF-8.
      ...['05 06 0000 00 000163 05 0101', '05 1e 0000 00 000163 00 000177 000178', '05 06 0000 00 000163 00 000123 000178'],
      ...['05 03 0000 00 000163', '05 02 0000 00 0001ff'],
      // Level 9; 3.1.1 without an id and without a clean session; a property twice, one that is none, one of another packet.
      ...['09 02 0000 000163', '04 00 0000 0000', '05 02 0000 0a 1100000001 1100000001 000163', '05 02 0000 02 9900 000163'],
      ...['05 02 0000 03 230001 000163', '05 02 0000 00 000163 00'],
    ].map((end) => packet(0x10, `0004 4d515454 ${end}`))
    const flood = (): void => {
      for (let i = 0; i < 2000; i++) for (const hex of kinds) streams.open(hex)
    }
    flood()
    const before = reachableBytes()
    streams.closed = 0
    flood()
    expect(streams.closed).toBe(2000 * kinds.length)
    expect(streams.connections.size).toBe(0)
    expect(reachableBytes() - before).toBeLessThan(MIB)
  })

  test('lesson 5: nobody holds a place with a long keep alive or by saying its CONNECT byte by byte', () => {
    const wire = new Wire({ maxKeepAlive: 60, connectTimeoutMs: 10_000 })
    const five = wire.connect({ keepAlive: 65_535 })
    expect(wire.packets(five)).toMatchObject([{ type: 2, properties: { serverKeepAlive: 60 } }])
    const never = wire.connect({ keepAlive: 0 })
    expect(wire.packets(never)).toMatchObject([{ type: 2, properties: { serverKeepAlive: 60 } }])
    for (const keepAlive of [65_535, 0]) {
      const four = wire.connect({ protocolVersion: 4, keepAlive })
      expect(wire.packets(four)).toMatchObject([{ type: 2, reasonCode: 0x85 }, 'close'])
    }
    wire.advance(90_000)
    expect(wire.packets(five).at(-1)).toBe('close')
    const slow = wire.open()
    for (const hex of CONNECT_5.match(/../g)!) {
      wire.sendHex(slow, hex)
      wire.advance(1000)
    }
    expect(wire.out(slow)).toEqual(['close'])
  })
})

describe('what comes out of turn', () => {
  const refused = [
    ...['101000044d51545405020000023a000001 63', '100e00044d5154540503000000000163', '100c00044d515454040000000000'],
    ...['100e00044d5154540902000000000163', '101600044d515454050200000915000378797a1600010100000163'],
  ].map((hex) => hex.replace(' ', ''))

  test('lesson 6: after a CONNACK that refuses comes the end', () => {
    const access: Access = { ...OPEN_ACCESS, connect: (_info, { clientId }) => (clientId === 'no' ? 0x87 : 0) }
    const wire = new Wire({}, { access })
    for (const protocolVersion of [3, 4, 5] as const) {
      const out = wire.packets(wire.connect({ clientId: 'no', protocolVersion }))
      expect(out).toMatchObject([{ type: 2, reasonCode: 0x87 }, 'close'])
    }
    for (const hex of refused) {
      const connection = wire.open()
      wire.sendHex(connection, hex)
      expect(wire.out(connection).at(-1)).toBe('close')
    }
    expect(wire.connections.size).toBe(0)
  })

  test('lesson 6: within a second, even if the peer neither reads nor closes', async () => {
    const roost = await TestListener.open()
    const client = await RawClient.connect({ port: roost.port, host: '127.0.0.1', allowHalfOpen: true })
    client.socket.pause()
    const started = performance.now()
    client.socket.write(Buffer.from('100c00044d515454040000000000', 'hex'))
    // What is written to a socket that is gone is answered with a reset.
    const writing = setInterval(() => client.socket.write(Buffer.from('c000', 'hex')), 20)
    await client.closed
    clearInterval(writing)
    expect(performance.now() - started).toBeLessThan(2500)
    await roost.close()
  })

  /** One packet of each type, in the form of MQTT 5.0. */
  const TYPES: readonly string[] = [
    ...['0000', CONNECT_5, '2003000000', '300400016100', '40020001', '50020001', '62020001', '70020001'],
    ...['820700010000016100', '900400010000', 'a20600010000 0161', 'b00400010000', 'c000', 'd000', 'e000', 'f000'],
  ].map((hex) => hex.replace(' ', ''))

  test('lesson 7: every type of packet before CONNECT', () => {
    const wire = new Wire()
    for (const [type, hex] of TYPES.entries()) {
      const connection = wire.open()
      wire.sendHex(connection, hex)
      if (type === 1) expect(wire.out(connection)).toEqual([expect.stringMatching(CONNACK_5)])
      else expect(wire.out(connection)).toEqual(['close'])
    }
    expect(wire.broker.stats.publishReceived).toBe(0)
  })

  test('lesson 7: every type of packet while enhanced authentication is going on', () => {
    for (const hex of TYPES) {
      const wire = new Wire({}, { access: { ...OPEN_ACCESS, connect: () => 'ask' } })
      const connection = wire.connect({ clientId: 'c', properties: { authenticationMethod: 'M' } })
      const { link, step } = wire.broker.nextAuthRequest()!
      wire.broker.authenticated(0, link, step, { kind: 'continue', data: undefined })
      wire.run()
      expect(wire.packets(connection)).toMatchObject(['pause', { type: 15, reasonCode: 0x18 }, 'resume'])
      wire.sendHex(connection, hex)
      const out = wire.packets(connection)
      expect(out.at(-1)).toBe('close')
      // Nothing but a CONNACK that refuses may come before the end.
      const refused = (one: unknown): boolean => typeof one === 'object' && (one as { reasonCode: number }).reasonCode >= 0x80
      expect(out.slice(0, -1).filter((one) => !refused(one))).toEqual([])
      expect(wire.broker.stats.publishReceived).toBe(0)
      expect(wire.broker.sessions.size).toBe(0)
    }
  })

  test('lesson 7: every type of packet after CONNACK', () => {
    const answers: Record<number, unknown[]> = {
      3: [],
      4: [],
      5: ['6203000192'],
      6: ['7003000192'],
      7: [],
      8: ['900400010000'],
      10: ['b00400010011'],
      12: ['d000'],
      14: ['close'],
    }
    for (const [type, hex] of TYPES.entries()) {
      const wire = new Wire()
      const connection = wire.connect({ clientId: 'c' })
      wire.out(connection)
      wire.sendHex(connection, hex)
      const out = wire.out(connection)
      expect(out, `type ${type}`).toEqual(answers[type] ?? [expect.stringMatching(/^e0..8[12]/), 'close'])
    }
  })
})

describe('lengths', () => {
  test('lesson 22: what lies about a length is malformed', () => {
    const table: [string, RegExp][] = [
      // Five bytes of length, one that is not minimal, properties beyond the packet, a string beyond it, a topic beyond it.
      ['c0ffffffff01', /^e0..81/],
      ['c08000', /^e0..81/],
      ['3004000161 7f', /^e0..81/],
      ['30050001 61 01 01', /^e0..81/],
      ['3003ffff61', /^e0..81/],
      ['300600016183808080', /^e0..81/],
      ['8206000100ffff00', /^e0..81/],
    ]
    for (const [hex, told] of table) {
      const wire = new Wire()
      const connection = wire.connect()
      wire.out(connection)
      wire.sendHex(connection, hex)
      expect(wire.out(connection), hex).toEqual([expect.stringMatching(told), 'close'])
    }
  })

  const CONVERSATION = `${CONNECT_5}820700010000016101320700016100 0500 78c000e000`.replace(' ', '').replace(' ', '')

  test('lesson 22: a stream that is cut anywhere says the same', () => {
    const bytes = CONVERSATION.match(/../g)!
    const answers = new Set<string>()
    for (let cut = 1; cut < bytes.length; cut++) {
      const wire = new Wire()
      const connection = wire.open()
      wire.sendHex(connection, bytes.slice(0, cut).join(''))
      wire.sendHex(connection, bytes.slice(cut).join(''))
      // A delivery may be overtaken by what was asked later, and by the end.
      answers.add(JSON.stringify(wire.packets(connection).filter((one) => typeof one === 'string' || one.type !== 3)))
    }
    expect(answers.size).toBe(1)
  })

  test('lesson 22: and so do WebSocket messages that are cut anywhere', async () => {
    const roost = await TestListener.open({ protocol: 'websockets' })
    const bytes = Buffer.from(CONVERSATION, 'hex')
    const answers = new Set<string>()
    await Promise.all(
      Array.from({ length: bytes.length }, async (_, cut) => {
        const ws = new WebSocket(`ws://127.0.0.1:${roost.port}`, 'mqtt')
        let hex = ''
        ws.on('message', (data: Buffer) => {
          hex += data.toString('hex')
        })
        await once(ws, 'open')
        // The client ids differ, so that nobody takes over.
        const own = Buffer.from(bytes)
        own[15] = 0x30 + cut
        for (const part of [own.subarray(0, cut), own.subarray(cut)]) if (part.length > 0) ws.send(part)
        await once(ws, 'close')
        answers.add(hex.replace('320700016100010078', ''))
      }),
    )
    await roost.close()
    expect([...answers]).toEqual([expect.stringMatching(/^20.*d000$/)])
  })
})

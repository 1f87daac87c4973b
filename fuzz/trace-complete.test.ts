import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Packet } from '../src/mqtt/packets.ts'
import { Publish, type QoS } from '../src/mqtt/publish.ts'
import { encodedMessage } from '../src/mqttsn/encode.ts'
import { type Message, MsgType } from '../src/mqttsn/messages.ts'
import { traceLine } from '../src/trace/event.ts'
import { connectPacket } from '../test/broker/harness.ts'
import { TracedServer } from '../test/trace/traced-server.ts'
import { message } from './messages.ts'
import { encoded } from './packets.ts'
import { runs } from './runs.ts'

const CLIENTS = [
  [1, 3],
  [2, 4],
  [3, 5],
  [4, 5],
] as const
const SENSOR = '10.0.0.9:1000'
/** Those of 16 KiB and more are shared by all sockets. */
const SIZES = [0, 1, 30, 300, 20_000]

const client = fc.constantFrom(...CLIENTS)
const qos = fc.constantFrom<QoS>(0, 1, 2)
const level = fc.constantFrom('a', 'bb', 'a-topic-that-is-worth-an-alias')
const topic = fc.tuple(level, level).map((levels) => levels.join('/'))
const filter = fc.oneof(topic, fc.constantFrom('#', '+/a', 'a/#'))
const act = fc.oneof(
  fc.record({ kind: fc.constant('subscribe' as const), client, filter, qos }),
  fc.record({ kind: fc.constant('publish' as const), client, topic, qos, size: fc.constantFrom(...SIZES), retain: fc.boolean() }),
  fc.record({ kind: fc.constant('acknowledge' as const), client, packetId: fc.integer({ min: 1, max: 5 }) }),
  fc.record({ kind: fc.constant('sensor' as const), message }),
  fc.record({ kind: fc.constant('together' as const), client, topic, count: fc.integer({ min: 2, max: 9 }) }),
)

test('a trace holds every packet that is read and written, whole and in order', () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 40 }), (acts) => {
      const world = new TracedServer({ payloads: true })
      const seen = new Map<string, string>()
      world.watch({
        seen: (event) => {
          const key = event.way + (event.protocol === 'mqtt' ? event.connection : 'sn')
          seen.set(key, (seen.get(key) ?? '') + Buffer.from(event.bytes).toString('hex'))
          expect(traceLine(event).startsWith('malformed')).toBe(false)
        },
      })
      const said = new Map<number, string>()
      const say = (id: number, version: 3 | 4 | 5, ...packets: Packet[]): void => {
        const bytes = Buffer.concat(packets.map((packet) => encoded(packet, version)))
        said.set(id, (said.get(id) ?? '') + bytes.toString('hex'))
        world.bytes(id, bytes)
      }
      let datagrams = ''
      const sn = (one: Message): void => {
        datagrams += Buffer.from(encodedMessage(one)).toString('hex')
        world.sn(SENSOR, one)
      }
      for (const [id, version] of CLIENTS) {
        world.open(id, version)
        say(
          id,
          version,
          connectPacket(`c${id}`, { protocolVersion: version, properties: version === 5 ? { topicAliasMaximum: 2 } : {} }),
        )
      }
      sn({ type: MsgType.CONNECT, will: false, cleanSession: true, protocolId: 1, duration: 60, clientId: 's' })
      let packetId = 0
      for (const one of acts) {
        packetId++
        if (one.kind === 'sensor') sn(one.message)
        else {
          const [id, version] = one.client
          if (one.kind === 'subscribe') {
            const subscription = {
              filter: one.filter,
              qos: one.qos,
              noLocal: false,
              retainAsPublished: false,
              retainHandling: 0 as const,
            }
            say(id, version, { type: 8, packetId, subscriptions: [subscription], properties: {} })
          } else if (one.kind === 'publish') {
            const id1 = one.qos === 0 ? 0 : packetId
            say(id, version, Publish.of(one.topic, Buffer.alloc(one.size, 'x'), one.qos, one.retain, id1))
          } else if (one.kind === 'acknowledge')
            say(id, version, { type: 4, packetId: one.packetId, reasonCode: 0, properties: {} })
          else say(id, version, ...Array.from({ length: one.count }, () => Publish.of(one.topic, Buffer.from('y'))))
        }
      }
      for (const [id] of CLIENTS) {
        // A client that breaks a rule is not read any further.
        expect(said.get(id)!.startsWith(seen.get(`->${id}`)!)).toBe(true)
        expect(seen.get(`<-${id}`) ?? '').toBe(world.written(id))
      }
      expect([seen.get('->sn'), seen.get('<-sn') ?? '']).toEqual([datagrams, world.datagrams.join('')])
    }),
    runs(150),
  )
})

import { afterEach, expect, test } from 'vitest'
import { describeWithMosquittoBroker, MosquittoBroker } from '../interop/mosquitto-broker.ts'
import { MqttJs, type Received } from '../interop/mqttjs.ts'
import { RoostEnd } from './ends.ts'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function broker(): Promise<MosquittoBroker> {
  const started = await MosquittoBroker.start('allow_anonymous true')
  ends.push(() => started.stop())
  return started
}

/** With MQTT 5.0, whose subscriptions can ask for RETAIN as it was published. */
async function client(port: number): Promise<MqttJs> {
  const js = await MqttJs.connect(port, { protocolVersion: 5 })
  ends.push(() => js.client.end(true))
  return js
}

const subscribe = (js: MqttJs, filter: string) => js.client.subscribeAsync(filter, { qos: 2, rap: true })
const shown = ({ topic, text, qos, retain }: Received): string => `${topic} "${text}" ${qos}${retain ? ' retained' : ''}`

/** One Roost with a bridge to each of two brokers: what is under `all/` passes through, both ways. */
async function between(first: number, second: number, version: string): Promise<RoostEnd> {
  const bridge = (name: string, port: number): string[] => [
    ...[`  - name: ${name}`, `    address: mqtt://127.0.0.1:${port}`, `    protocol_version: ${version}`],
    ...["    topics: ['all/# both 2']", '    restart_timeout: 1 2'],
  ]
  const roost = await RoostEnd.start(['bridges:', ...bridge('first', first), ...bridge('second', second), ''].join('\n'))
  ends.push(() => roost.stop())
  return roost
}

describeWithMosquittoBroker('two Mosquittos with a Roost between them', () => {
  test.for(['mqttv50', 'mqttv311'])(
    'every QoS, retained messages and their deletion, both ways, each once (%s)',
    { timeout: 60_000 },
    async (version) => {
      const [first, second] = [await broker(), await broker()]
      const [here, there] = [await client(first.port), await client(second.port)]
      // Before the bridges are there: retained messages are passed on when they have subscribed.
      await here.client.publishAsync('all/old', 'from before', { qos: 1, retain: true })
      const roost = await between(first.port, second.port, version)
      const middle = await client(roost.port)
      for (const js of [here, middle, there]) await subscribe(js, 'all/#')
      await expect.poll(() => there.unread.length, { timeout: 20_000 }).toBe(1)
      expect((await there.next()).text).toBe('from before')
      for (const js of [here, middle]) expect((await js.next()).text).toBe('from before')

      for (const [from, to] of [
        [here, there],
        [there, here],
      ] as const) {
        // The other direction may take a moment longer to be there.
        await expect
          .poll(async () => {
            await from.client.publishAsync('all/probe', '', { qos: 0 })
            return to.unread.some(({ topic }) => topic === 'all/probe')
          }, POLL)
          .toBe(true)
        const expected: string[] = []
        for (const qos of [0, 1, 2] as const)
          for (const retain of [false, true]) {
            await from.client.publishAsync(`all/${qos}`, `${qos}`, { qos, retain })
            expected.push(`all/${qos} "${qos}" ${qos}${retain ? ' retained' : ''}`)
          }
        // The deletion of what is retained: an empty message with RETAIN.
        for (const qos of [0, 1, 2] as const) {
          await from.client.publishAsync(`all/${qos}`, '', { qos, retain: true })
          expected.push(`all/${qos} "" ${qos} retained`)
        }
        await from.client.publishAsync('all/last', 'last', { qos: 2 })
        for (const js of [to, middle, from]) await expect.poll(() => js.unread.at(-1)?.topic, POLL).toBe('all/last')
        for (const js of [to, middle, from]) {
          const got: Received[] = []
          while (js.unread.length > 0) got.push(await js.next())
          const messages = got.filter(({ topic }) => topic !== 'all/probe' && topic !== 'all/last').map(shown)
          // Nothing twice: neither broker gets back what it has sent.
          expect(messages.sort()).toEqual([...expected].sort())
        }
      }
      // Nothing is retained any more, at any of the three, but the one from before.
      for (const port of [first.port, roost.port, second.port]) {
        const late = await client(port)
        await subscribe(late, 'all/#')
        await late.client.publishAsync('all/end', '', { qos: 2 })
        await expect.poll(() => late.unread.some(({ topic }) => topic === 'all/end'), POLL).toBe(true)
        expect(late.unread.filter(({ retain }) => retain).map(shown)).toEqual([expect.stringContaining('all/old')])
      }
    },
  )
})

const POLL = { timeout: 20_000, interval: 50 }

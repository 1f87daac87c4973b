import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { MosquittoSub, mosquittoPub } from './mosquitto.ts'
import { describeWithMosquittoBroker, MosquittoBroker } from './mosquitto-broker.ts'
import { StartedProcess } from './started-process.ts'

let roost: StartedProcess
const ends: { stop: () => Promise<unknown> }[] = []

beforeAll(async () => {
  roost = await StartedProcess.start('--memory', '--log-level', 'debug')
})
afterAll(() => roost.stop())
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end.stop()
})

/** A real Mosquitto with a bridge to Roost, as its manual configures one, and what it has beyond that. */
async function bridged(...lines: string[]): Promise<MosquittoBroker> {
  const broker = await MosquittoBroker.start(
    'allow_anonymous true',
    'connection b1',
    `address 127.0.0.1:${roost.mqttPort}`,
    'remote_clientid house.b1',
    'restart_timeout 1',
    'topic # both 1',
    ...lines,
  )
  ends.push(broker)
  await roost.logged(/client-connected.*house\.b1/)
  return broker
}

async function subscribed(port: number, ...flags: string[]): Promise<MosquittoSub> {
  const sub = await MosquittoSub.start(port, '-q', '1', ...flags)
  ends.push(sub)
  return sub
}

/** Everything that has come by the time that a last message comes the same way. */
async function until(sub: MosquittoSub, last: string): Promise<string[]> {
  const seen: string[] = []
  for (let line = await sub.next(); line !== last; line = await sub.next()) seen.push(line)
  return seen
}

describeWithMosquittoBroker("Mosquitto's bridge", () => {
  test.each(['mqttv311', 'mqttv31'])(
    'carries each message once in both directions, retained ones as such (%s)',
    async (version) => {
      const broker = await bridged(`bridge_protocol_version ${version}`)
      const here = await subscribed(roost.mqttPort, '-t', 'room/#')
      const there = await subscribed(broker.port, '-t', 'room/#')
      await mosquittoPub(roost.mqttPort, '-t', 'room/up', '-m', 'from roost', '-q', '1', '-r')
      expect(await there.next()).toBe('room/up from roost')
      await mosquittoPub(broker.port, '-t', 'room/down', '-m', 'from mosquitto', '-q', '1', '-r')
      await mosquittoPub(broker.port, '-t', 'room/down', '-m', 'last', '-q', '1')
      expect(await until(there, 'room/down last')).toEqual(['room/down from mosquitto'])
      expect(await until(here, 'room/down last')).toEqual(['room/up from roost', 'room/down from mosquitto'])
      // RETAIN has come along both ways.
      const kept = await subscribed(broker.port, '-t', 'room/#', '--retained-only')
      expect([await kept.next(), await kept.next()].sort()).toEqual(['room/down from mosquitto', 'room/up from roost'])
      await mosquittoPub(roost.mqttPort, '-t', 'room/up', '-n', '-r')
      await mosquittoPub(broker.port, '-t', 'room/down', '-n', '-r', '-q', '1')
    },
  )

  test('says its state under $SYS, retained, and its will says that it is gone', async () => {
    const state = '$SYS/broker/connection/house.b1/state'
    const broker = await bridged()
    const watcher = await subscribed(roost.mqttPort, '-t', '$SYS/broker/connection/#')
    await until(watcher, `${state} 1`)
    await broker.kill()
    expect(await watcher.next()).toBe(`${state} 0`)
  })
})

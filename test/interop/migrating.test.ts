import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'
import { afterEach, expect, test } from 'vitest'
import { describeWithMosquittoBroker, MosquittoBroker } from './mosquitto-broker.ts'
import { StartedProcess } from './started-process.ts'

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
})

async function connected(port: number, options: IClientOptions): Promise<MqttClient> {
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0, ...options })
  cleanUp.push(() => client.endAsync(true))
  client.on('error', () => {})
  return client
}

/** Topics of the messages up to one that is published after a client was taken over. */
async function afterTakeover(port: number, options: IClientOptions): Promise<string[]> {
  const topics: string[] = []
  const reader = await connected(port, {})
  const ended = new Promise<void>((resolve) => {
    reader.on('message', (topic) => {
      topics.push(topic)
      if (topic === 'w/end') resolve()
    })
  })
  await reader.subscribeAsync('w/#', { qos: 1 })
  await connected(port, { ...options, clientId: 'one', will: { topic: 'w/will', payload: 'gone', qos: 1, retain: false } })
  const next = await connected(port, { ...options, clientId: 'one' })
  await next.publishAsync('w/end', '', { qos: 1 })
  await ended
  return topics
}

// docs/migrating.md says so.
describeWithMosquittoBroker('where Roost follows the specification and Mosquitto does not', () => {
  test.each<[string, IClientOptions, string[]]>([
    ['a persistent session of 3.1.1', { protocolVersion: 4, clean: false }, []],
    ['a persistent session of 5.0', { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 100 } }, []],
    ['a clean session of 3.1.1', { protocolVersion: 4 }, ['w/will']],
  ])('the will of a client that is taken over: %s', async (_what, options, theirs) => {
    const mosquitto = await MosquittoBroker.start('allow_anonymous true')
    cleanUp.push(() => mosquitto.stop())
    const roost = await StartedProcess.start('--memory')
    cleanUp.push(() => roost.stop())
    expect(await afterTakeover(mosquitto.port, options)).toEqual([...theirs, 'w/end'])
    expect(await afterTakeover(roost.mqttPort, options)).toEqual(['w/will', 'w/end'])
  })
})

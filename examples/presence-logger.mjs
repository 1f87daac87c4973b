// A log of who is there: a line of JSON for each client that connects, leaves or is lost, and for each sensor that sleeps or wakes,
// with how long the state before has lasted.
//
//   npm install ./roost-mqtt-*.tgz
//   node presence-logger.mjs >> presence.jsonl
//
// A sensor to try it with, which sleeps and wakes:
//   npx --no-install roost sn sleep -i valve -t site/valve --sleep 10

import { start } from 'roost-mqtt'

const { PORT = 1883, SN_PORT = 1884 } = process.env
const roost = await start({ port: Number(PORT), snPort: Number(SN_PORT) })

/** Of each client its state, and when that began. Sensors that are lost stay in it, as they stay in the broker. */
const states = new Map()

function note(state, { kind, clientId, reason, duration }) {
  const now = Date.now()
  const id = `${kind}:${clientId}`
  const before = states.get(id)
  states.set(id, { state, since: now })
  const lasted = before && { was: before.state, seconds: Math.round((now - before.since) / 1000) }
  console.log(JSON.stringify({ at: new Date(now).toISOString(), client: id, state, ...lasted, reason, sleeps: duration }))
  // MQTT clients come with ever new ids, and would fill the memory of a program that runs for years.
  if (kind === 'mqtt' && (state === 'disconnected' || state === 'lost')) states.delete(id)
}

for (const state of ['connected', 'disconnected', 'lost', 'asleep', 'awake']) roost.on(state, (client) => note(state, client))
console.error(`watching ${roost.urls.mqtt} and ${roost.urls.sn}`)

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => roost.stop())

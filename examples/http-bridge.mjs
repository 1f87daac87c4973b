// A bridge to HTTP: each message of a topic filter becomes a POST to a web server. It is acknowledged to the broker only once the
// server has taken it, so while the server is slow or away, messages wait in the queue of this subscription, and no more than one
// request is under way. When 1,000 are waiting, the broker drops the next ones and says so in its log. What waits when this
// program ends is lost: to keep it, connect an MQTT client with a session that lasts, and give start a dataDir.
//
//   npm install ./roost-mqtt-*.tgz
//   node http-bridge.mjs http://127.0.0.1:8080/readings 'site/#'

import { setTimeout as sleep } from 'node:timers/promises'
import { start } from 'roost-mqtt'

const [url = 'http://127.0.0.1:8080/readings', filter = 'site/#'] = process.argv.slice(2)
const { PORT = 1883, SN_PORT = 1884 } = process.env
const RETRY_MS = { first: 100, longest: 30_000 }
const ANSWER_MS = 10_000

const roost = await start({ port: Number(PORT), snPort: Number(SN_PORT), log: console })
const stopping = new AbortController()

/** Posts a message, again and again until the server takes it or says that it never will. */
async function forward({ topic, payload, properties }) {
  for (let wait = RETRY_MS.first; ; wait = Math.min(2 * wait, RETRY_MS.longest)) {
    const why = await post(topic, payload, properties.contentType)
    if (why === undefined || stopping.signal.aborted) return
    console.warn(`${topic}: ${why}, again in ${wait} ms`)
    await sleep(wait, undefined, { signal: stopping.signal }).catch(() => {})
  }
}

/** Returns why it has to be tried again; undefined if the matter is settled. */
async function post(topic, body, contentType = 'application/octet-stream') {
  try {
    const headers = { 'content-type': contentType, 'x-mqtt-topic': encodeURIComponent(topic) }
    const signal = AbortSignal.any([AbortSignal.timeout(ANSWER_MS), stopping.signal])
    const answer = await fetch(url, { method: 'POST', body, headers, signal })
    await answer.body?.cancel()
    if (answer.ok) return undefined
    if (answer.status >= 500 || answer.status === 429) return `HTTP ${answer.status}`
    console.error(`${topic}: the server refuses it, HTTP ${answer.status}`)
    return undefined
  } catch (error) {
    return error.cause?.code ?? error.message
  }
}

await roost.subscribe(filter, forward, { qos: 1, maxQueued: 1_000 })
console.log(`${filter} from ${roost.urls.mqtt} and ${roost.urls.sn} to ${url}`)

for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => {
    roost.stop()
    stopping.abort()
  })

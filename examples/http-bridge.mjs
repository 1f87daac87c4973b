// A bridge to HTTP: each message of a topic filter becomes a POST to a web server, in order, one at a time.
//
// Guaranteed from its first start on: a message of QoS 1 or 2 that the broker has acknowledged is posted at least once, whatever
// crashes or is stopped in between: this program, its machine or the web server. It waits on the disk, in ./http-bridge-data, and
// is acknowledged to the broker once the server has answered with success. After a crash, the last ones may be posted twice.
// Not guaranteed: messages of QoS 0; those that the server refuses for good (4xx other than 429), which are logged and dropped;
// and those beyond MAX_QUEUED waiting ones, which the broker drops with a line in its log (queue-full).
//
// The store needs Node.js 22.13 or later, or the optional package better-sqlite3.
//
//   npm install ./roost-mqtt-*.tgz
//   node http-bridge.mjs http://127.0.0.1:8080/readings 'site/#' ./http-bridge-data

import { setTimeout as sleep } from 'node:timers/promises'
import { start } from 'roost-mqtt'

const [url = 'http://127.0.0.1:8080/readings', filter = 'site/#', dataDir = './http-bridge-data'] = process.argv.slice(2)
const { PORT = 1883, SN_PORT = 1884 } = process.env
const RETRY_MS = { first: 100, longest: 30_000 }
const ANSWER_MS = 10_000
const MAX_QUEUED = 1_000

const roost = await start({ port: Number(PORT), snPort: Number(SN_PORT), dataDir, log: console })
const stopping = new AbortController()

/**
 * Posts a message, again and again until the server takes it or says that it never will. Throws when the program is to stop: then the
 * message waits for the next start.
 */
async function forward({ topic, payload, properties }) {
  for (let wait = RETRY_MS.first; ; wait = Math.min(2 * wait, RETRY_MS.longest)) {
    const why = await post(topic, payload, properties.contentType)
    if (why === undefined) return
    stopping.signal.throwIfAborted()
    console.warn(`${topic}: ${why}, again in ${wait} ms`)
    await sleep(wait, undefined, { signal: stopping.signal })
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

await roost.subscribe(filter, forward, { qos: 1, clientId: 'http-bridge', maxQueued: MAX_QUEUED })
console.log(`${filter} from ${roost.urls.mqtt} and ${roost.urls.sn} to ${url}`)

for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => {
    roost.stop()
    stopping.abort()
  })

// How long a start takes with many stored sessions: makes a store, starts `serve` on it, and waits until its listeners open.
// `node bench/sessions.mjs --count 1000000`; every session has a subscription, and every tenth a waiting message.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { SqliteStore } from '../dist/store/io/sqlite-store.js'

const { values } = parseArgs({ options: { count: { type: 'string', default: '1000000' }, dir: { type: 'string' } } })
const COUNT = Number(values.count)
const dir = values.dir ?? mkdtempSync(join(tmpdir(), 'roost-sessions-'))
const seconds = (since) => ((performance.now() - since) / 1000).toFixed(1)

const options = { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }
const owner = { username: undefined, listener: 'mqtt', verified: false }
const message = { topic: 'site/1/command', payload: Buffer.alloc(64, 120), qos: 1, retain: false, from: 'mqtt:control' }

/** Room in the store's buffer, or the commits that make it. */
function appended(store, record) {
  return store.append(record) !== 'full'
}

async function generate() {
  const store = await SqliteStore.open(dir, {
    onDurable: () => {},
    onFailed: (error) => process.stderr.write(`${error}\n`),
    onRecovered: () => {},
  })
  const at = Date.now()
  for (let i = 0; i < COUNT; i++) {
    const key = `mqtt:device-${i}`
    const records = [
      { type: 'session', key, expirySeconds: 86_400 * 30, will: null, owner },
      { type: 'subscribe', key, filter: `site/${i % 1000}/device/${i}/#`, options },
      ...(i % 10 === 0 ? [{ type: 'message', id: i + 1, message, deliveries: [{ key, qos: 1, retain: false }] }] : []),
      { type: 'detached', key, at, expirySeconds: 86_400 * 30, will: false },
    ]
    for (const record of records) while (!appended(store, record)) await new Promise(setImmediate)
    if (i % 1000 === 0) await new Promise(setImmediate)
  }
  await store.close()
}

async function start() {
  const began = performance.now()
  const child = spawn(
    process.execPath,
    ['dist/main.js', 'serve', '--data-dir', dir, '--port', '0', '--sn-port', '0', '--http-port', '0'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  let text = ''
  for await (const chunk of child.stdout) {
    text += chunk
    if (text.includes('MQTT-SN gateway')) break
  }
  const took = seconds(began)
  // Clock ticks of 10 ms, user and system.
  const ticks = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1].split(' ')
  const cpu = ((Number(ticks[11]) + Number(ticks[12])) / 100).toFixed(1)
  const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]
  child.kill('SIGKILL')
  await new Promise((resolve) => child.once('exit', resolve))
  return { took, cpu, rss: Math.round(Number(rss) / 1024) }
}

const began = performance.now()
await generate()
process.stdout.write(
  `${COUNT} sessions generated in ${seconds(began)} s, ${Math.round(statSync(join(dir, 'roost.db')).size / 2 ** 20)} MiB\n`,
)
for (const what of ['first start, which folds what is left of the log', 'second start']) {
  const { took, cpu, rss } = await start()
  process.stdout.write(`${what}: listening after ${took} s (${cpu} s of CPU), ${rss} MiB resident\n`)
}
if (values.dir === undefined) rmSync(dir, { recursive: true })

// Starts brokers in a process of its own, and prints which handles they have left. The only argument: memory, durable or failed.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getActiveResourcesInfo, stdout } from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from 'mqtt'
import { start } from '../../dist/index.js'

const [, , mode] = process.argv
const dir = mkdtempSync(join(tmpdir(), 'roost-handles-'))

/** Sockets, threads and timers that keep the process alive; not standard output. */
const handles = () => getActiveResourcesInfo().filter((name) => !/^(PipeWrap|TTYWrap|FSReqCallback|CloseReq)$/.test(name))

async function use(roost) {
  const { urls } = roost
  const got = []
  await roost.subscribe('#', ({ payload }) => got.push(String(payload)), { qos: 2 })
  const messages = await roost.subscribe('#', { qos: 1 })
  const client = await mqtt.connectAsync(urls.mqtt, { reconnectPeriod: 0 })
  await client.publishAsync('from/client', urls.mqtt, { qos: 2, retain: true })
  await roost.publish('from/program', urls.sn, { qos: 1 })
  const own = [urls.mqtt, urls.sn]
  for (const expected of own) assert.equal(String((await messages.next()).value.payload), expected)
  while (got.length < own.length) await sleep(5)
  assert.deepEqual(got, own)
  assert.deepEqual(
    Array.from(roost.retained(), ({ payload }) => String(payload)),
    [urls.mqtt],
  )
  client.end(true)
}

async function twenty(options) {
  const all = await Promise.all(Array.from({ length: 20 }, (_, i) => start({ port: 0, snPort: 0, ...options(i) })))
  assert.equal(new Set(all.flatMap(({ ports }) => [ports.mqtt, ports.sn])).size, 40)
  const open = handles().length
  await Promise.all(all.map(use))
  await Promise.all(all.map((roost) => roost.stop()))
  return open
}

/** Each fails at another point of the start. */
async function failed() {
  const server = createServer().listen(0, '127.0.0.1')
  await sleep(20)
  const { port } = server.address()
  const holder = await start({ port: 0, snPort: 0, dataDir: join(dir, 'held') })
  const wrong = [
    { port },
    { listeners: [{ port: 0 }, { port }] },
    { httpPort: port },
    { snPort: holder.ports.sn },
    { snPort: undefined, snListeners: [{ port: 0 }, { port: holder.ports.sn }] },
    { dataDir: join(dir, 'held') },
    { dataDir: '/dev/null' },
    { port, dataDir: join(dir, 'own'), traceFile: join(dir, 'trace') },
    { prt: 1 },
  ]
  const errors = []
  for (const options of wrong) {
    const more = options.listeners === undefined ? { port: 0 } : {}
    errors.push(
      await start({ ...more, snPort: 0, ...options }).then(
        () => 'started',
        (error) => `${error.constructor.name}: ${error.message}`,
      ),
    )
  }
  const open = handles().length
  await holder.stop()
  server.close()
  return { open, errors, port, snPort: holder.ports.sn }
}

const before = handles()
const result =
  mode === 'failed'
    ? await failed()
    : { open: await twenty((i) => (mode === 'durable' ? { dataDir: join(dir, String(i)) } : {})) }
// A worker's thread ends a moment after its store is closed.
for (let left = 200; handles().length > before.length && left > 0; left--) await sleep(10).then(() => {})
rmSync(dir, { recursive: true })
stdout.write(JSON.stringify({ ...result, before, after: handles() }))

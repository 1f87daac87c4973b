// Writes the store of this version, for later versions to open: `npm run build && node test/store/released/write.mjs`, once for each
// release. It is what a started Roost leaves behind after real clients and a sensor, without anything that expires.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import mqtt from 'mqtt'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const MAIN = join(HERE, '../../../dist/main.js')
const { version } = JSON.parse(readFileSync(join(HERE, '../../../package.json'), 'utf8'))
const target = join(HERE, version)
if (existsSync(target)) throw new Error(`${target} is there already: the store of a released version stays as it is`)

const dir = mkdtempSync(join(tmpdir(), 'roost-released-'))
const roost = (...argv) => execFileSync(process.execPath, [MAIN, ...argv], { encoding: 'utf8' })

const flags = ['--port', '0', '--sn-port', '0', '--http', 'false', '--log-format', 'json', '--data-dir', join(dir, 'data')]
const child = spawn(process.execPath, [MAIN, 'serve', ...flags], { stdio: ['ignore', 'pipe', 'inherit'] })
const ports = {}
for await (const text of createInterface({ input: child.stdout })) {
  const line = JSON.parse(text)
  ports.mqtt ??= line.mqtt?.port
  ports.sn ??= line.sn?.port
  if (line.msg.startsWith('State is kept')) break
}

const connect = (clientId, more = {}) =>
  mqtt.connectAsync(`mqtt://127.0.0.1:${ports.mqtt}`, {
    ...{ clientId, protocolVersion: 5, clean: false, reconnectPeriod: 0 },
    ...{ properties: { sessionExpiryInterval: 0xffff_ffff }, ...more },
  })

const away = await connect('away', { username: 'ann' })
await away.subscribeAsync('site/#', { qos: 2, nl: true, rap: true, properties: { subscriptionIdentifier: 7 } })
await away.subscribeAsync('$share/group/jobs/+', { qos: 1 })
await away.endAsync()
const will = { topic: 'site/will', payload: Buffer.from('gone'), qos: 1, properties: { willDelayInterval: 1_000_000_000 } }
const willing = await connect('willing', { will })
const publisher = await connect('publisher', { properties: { sessionExpiryInterval: 0 } })
await publisher.publishAsync('site/a', 'one', { qos: 1 })
await publisher.publishAsync('site/b', 'two', {
  qos: 2,
  properties: { userProperties: { unit: 'C' }, contentType: 'text/plain' },
})
await publisher.publishAsync('site/c', 'kept', { qos: 1, retain: true })
await publisher.publishAsync('jobs/1', 'job', { qos: 1 })
roost('sn', 'pub', '-p', String(ports.sn), '-i', 'sensor', '-t', 'site/sensor', '-m', '21.5', '-q', '1')
// Its connection breaks.
willing.stream.destroy()
await publisher.endAsync()
child.kill()
await once(child, 'exit')

roost('backup', join(dir, 'copy'), '--data-dir', join(dir, 'data'))
mkdirSync(target)
writeFileSync(join(target, 'roost.db.gz'), gzipSync(readFileSync(join(dir, 'copy/roost.db')), { level: 9 }))
rmSync(dir, { recursive: true })

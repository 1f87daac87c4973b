// A storm of logins, and what clients that are connected feel of it: the started process with a durable store and a password file whose hashes
// have the default cost, over real sockets. `npm run bench:logins` prints how long PUBACKs took before and during the storm; NOTES.md has figures.
import { spawn } from 'node:child_process'
import { pbkdf2, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as openTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { parseArgs, promisify } from 'node:util'
import { DEFAULT_ITERATIONS } from '../dist/access/password-file.js'
import { ByteWriter } from '../dist/base/bytes.js'
import { encodePacket } from '../dist/mqtt/encode.js'
import { Publish } from '../dist/mqtt/publish.js'

const { values } = parseArgs({
  options: {
    logins: { type: 'string', default: '500' },
    publishers: { type: 'string', default: '20' },
    iterations: { type: 'string', default: String(DEFAULT_ITERATIONS) },
    calm: { type: 'string', default: '3' },
  },
})
const LOGINS = Number(values.logins)
const PUBLISHERS = Number(values.publishers)
/** Milliseconds from a client's PUBACK to its next PUBLISH. */
const PAUSE_MS = 20

const encode = (packet) => {
  const writer = new ByteWriter()
  encodePacket(writer, packet, 4)
  return Buffer.from(writer.toBytes())
}
const connectPacket = (clientId, more) =>
  encode({
    type: 1,
    protocolVersion: 4,
    bridge: false,
    clientId,
    cleanStart: true,
    keepAlive: 0,
    will: undefined,
    username: clientId,
    password: Buffer.from(`password of ${clientId}`),
    properties: {},
    ...more,
  })

const derive = promisify(pbkdf2)
async function passwordLine(name) {
  const salt = randomBytes(12)
  const hash = await derive(`password of ${name}`, salt, Number(values.iterations), 64, 'sha512')
  return `${name}:$7$${values.iterations}$${salt.toString('base64')}$${hash.toString('base64')}\n`
}

async function start(directory) {
  const passwords = join(directory, 'passwords')
  const names = [...Array(LOGINS).keys()].map((i) => `device-${i}`)
  const lines = await Promise.all([...names, ...steady].map(passwordLine))
  writeFileSync(passwords, lines.join(''), { mode: 0o600 })
  const main = new URL('../dist/main.js', import.meta.url).pathname
  const serve = ['serve', '--port', '0', '--sn-port', '0', '--http-port', '0', '--log-format', 'json']
  const files = ['--data-dir', join(directory, 'data'), '--password-file', passwords]
  const argv = [main, ...serve, '--connect-timeout-seconds', '600', ...files]
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  let port = 0
  for await (const text of createInterface({ input: child.stdout })) {
    const line = JSON.parse(text)
    port = line.mqtt?.port ?? port
    if (line.msg.startsWith('State is kept')) break
  }
  child.stdout.resume()
  return { child, port }
}

/** A socket that is let in, and with what delay. */
async function login(port, name, more = {}) {
  const socket = openTcp({ port, host: '127.0.0.1', noDelay: true })
  const asked = performance.now()
  socket.write(connectPacket(name, more))
  const [connack] = await once(socket, 'data')
  if (connack.toString('hex', 0, 1) !== '20' || connack[3] !== 0) throw new Error(`${name}: ${connack.toString('hex')}`)
  return { socket, ms: performance.now() - asked }
}

/** Publishes with QoS 1 again and again; each PUBACK's delay goes to `record`. */
function publish(socket, topic, record) {
  const packet = encode(Publish.of(topic, Buffer.alloc(64, 'x'), 1, false, 1, {}))
  let sent = 0
  const send = () => {
    sent = performance.now()
    socket.write(packet)
  }
  socket.on('data', () => {
    record(performance.now() - sent)
    setTimeout(send, PAUSE_MS)
  })
  send()
}

const percentile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]
function tell(what, delays) {
  const sorted = delays.toSorted((a, b) => a - b)
  const [p50, p99, worst] = [percentile(sorted, 0.5), percentile(sorted, 0.99), sorted.at(-1)].map((ms) => ms.toFixed(1))
  process.stdout.write(`${what}: ${sorted.length} PUBACKs, p50 ${p50} ms, p99 ${p99} ms, max ${worst} ms\n`)
}

const steady = ['reader', ...[...Array(PUBLISHERS).keys()].map((i) => `publisher-${i}`)]
const directory = mkdtempSync(join(tmpdir(), 'roost-logins-'))
process.stdout.write(`hashing ${LOGINS + steady.length} passwords with ${values.iterations} rounds\n`)
const { child, port } = await start(directory)
try {
  // A session that lasts: every message has to be on the disk before its PUBACK.
  const reader = await login(port, 'reader', { cleanStart: false })
  reader.socket.write(Buffer.from('8206000100016101', 'hex'))
  await once(reader.socket, 'data')
  reader.socket.on('data', (chunk) => acknowledge(reader.socket, chunk))
  let record = () => {}
  for (const name of steady.slice(1)) publish((await login(port, name)).socket, 'a', (ms) => record(ms))

  const calm = []
  record = (ms) => calm.push(ms)
  await new Promise((resolve) => setTimeout(resolve, Number(values.calm) * 1000))
  tell('before', calm)

  const storm = []
  record = (ms) => storm.push(ms)
  const began = performance.now()
  const logins = await Promise.all([...Array(LOGINS).keys()].map((i) => login(port, `device-${i}`)))
  const seconds = (performance.now() - began) / 1000
  record = () => {}
  tell('during', storm)
  const sorted = logins.map(({ ms }) => ms).toSorted((a, b) => a - b)
  const median = (percentile(sorted, 0.5) / 1000).toFixed(1)
  process.stdout.write(`${LOGINS} logins at once: ${seconds.toFixed(1)} s, the median ${median} s\n`)
  for (const { socket } of logins) socket.destroy()

  const again = performance.now()
  await Promise.all([...Array(LOGINS).keys()].map((i) => login(port, `device-${i}`)))
  process.stdout.write(`the same once more: ${((performance.now() - again) / 1000).toFixed(2)} s\n`)
} finally {
  child.kill()
  await once(child, 'exit')
  rmSync(directory, { recursive: true })
}
process.exit()

/** PUBACK for every PUBLISH with QoS 1 to topic `a` in a chunk, whole packets or not. */
function acknowledge(socket, chunk) {
  socket.rest = socket.rest === undefined ? chunk : Buffer.concat([socket.rest, chunk])
  while (socket.rest.length >= 2 && socket.rest.length >= 2 + socket.rest[1]) {
    const { rest } = socket
    if (rest[0] >> 4 === 3) socket.write(Buffer.from([0x40, 2, rest[5], rest[6]]))
    socket.rest = rest.subarray(2 + rest[1])
  }
}

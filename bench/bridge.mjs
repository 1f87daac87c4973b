// What a bridge costs: QoS 1 messages of 64 bytes from a publisher through a started Roost to the far side, per CPU-second of that Roost, and
// a backlog that drains when the far side comes, with the memory it takes. `npm run bench:bridge -- [options]`; Linux.
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { freePort } from './free-port.mjs'
import { startFlags } from './start-flags.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const HELP = `npm run bench:bridge -- [options]
  --messages N   through a bridge that is connected (default 200000)
  --backlog N    that wait for the far side (default 1000000; 0 for none)
  --far NAME     sink (acknowledges and forgets, the default), mosquitto, or roost
  --memory       no store on the disk
  --collect      collects garbage ten times while the backlog drains, and tells what is in use then; figures of CPU say nothing
  --check        exit code 1 below 30,000 messages a CPU-second, or if memory grows while the backlog drains
                 (with --collect: what is in use, without: what is resident)
  --profile DIR  a CPU profile of the bridging process
`
const PAYLOAD_BYTES = 64
const WINDOW = 256
const TOPICS = 100
/** Samples with --collect. */
const STEPS = 10
/** Messages a CPU-second. */
const LEAST = 30_000
/** By which share of the backlog resident memory may grow while it drains: V8 collects what was sent when so much has come together. */
const GROWTH = 0.5
/** The same with --collect: nothing but what is in use, which is a window of messages. */
const LIVE_GROWTH = 0.05
/** Without any progress, ms. */
const PATIENCE_MS = 30_000

const string = (text) => Buffer.concat([Buffer.from([text.length >> 8, text.length & 255]), Buffer.from(text)])
/** Up to 16,383 bytes. */
function packet(type, ...parts) {
  const body = Buffer.concat(parts)
  const size = body.length < 128 ? [body.length] : [(body.length & 127) | 128, body.length >> 7]
  return Buffer.concat([Buffer.from([type, ...size]), body])
}

/** Calls `onPacket(type, bytes, bodyStart, end)` for each packet of a socket. */
function readPackets(socket, onPacket, onChunkEnd = () => {}) {
  let rest = Buffer.alloc(0)
  socket.on('data', (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let at = 0
    while (bytes.length - at >= 2) {
      let length = 0
      let head = at + 1
      for (let shift = 0; head < bytes.length; shift += 7) {
        const digit = bytes[head++]
        length |= (digit & 127) << shift
        if (digit < 128) break
      }
      if (bytes[head - 1] >= 128 || bytes.length - head < length) break
      onPacket(bytes[at], bytes, head, head + length)
      at = head + length
    }
    rest = bytes.subarray(at)
    onChunkEnd()
  })
}

/** Everything that was started ends with this process, however that ends. */
const children = new Set()
function started(child) {
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

// --- The far side, in a process of its own

function sink(port) {
  let received = 0
  let open = 0
  const server = createServer((socket) => {
    open++
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('close', () => open--)
    let version = 4
    const out = []
    const answer = (type, bytes, body) => {
      const kind = type >> 4
      const end = version === 5 ? [0] : []
      if (kind === 1) {
        version = bytes[body + 6] & 0x7f
        out.push(Buffer.from(version === 5 ? [0x20, 3, 0, 0, 0] : [0x20, 2, 0, 0]))
      } else if (kind === 3) {
        received++
        const id = body + 2 + bytes.readUInt16BE(body)
        if ((type >> 1) & 3) out.push(Buffer.from([0x40, 2, bytes[id], bytes[id + 1]]))
      } else if (kind === 8 || kind === 10)
        out.push(
          Buffer.from([kind === 8 ? 0x90 : 0xb0, 3 + end.length, bytes[body], bytes[body + 1], ...end, kind === 8 ? 1 : 0]),
        )
      else if (kind === 12) out.push(Buffer.from([0xd0, 0]))
    }
    readPackets(socket, answer, () => {
      if (out.length > 0) socket.write(Buffer.concat(out.splice(0)))
    })
  })
  server.listen(port, '127.0.0.1', () => process.send({ port: server.address().port }))
  process.on('message', () => process.send({ received, open }))
}

/** Something that takes what the bridge sends. `taken` is undefined where nobody can say; then the publisher's count is taken. */
class Far {
  constructor(name) {
    this.name = name
    this.dir = mkdtempSync(join(tmpdir(), 'roost-bench-far-'))
  }

  async start(port) {
    this.port = port
    if (this.name === 'sink') {
      this.child = started(fork(fileURLToPath(import.meta.url), ['--role', 'sink', '--port', `${port}`]))
      await once(this.child, 'message')
      return
    }
    if (this.name === 'mosquitto') {
      const conf = join(this.dir, 'mosquitto.conf')
      writeFileSync(conf, `user root\nlistener ${port} 127.0.0.1\nallow_anonymous true\n`)
      this.child = started(spawn('/usr/sbin/mosquitto', ['-c', conf], { stdio: 'ignore' }))
    } else {
      const argv = [
        ...startFlags(ROOT),
        join(ROOT, 'dist/main.js'),
        'serve',
        '--port',
        `${port}`,
        '--sn-port',
        '0',
        '--http',
        'false',
        '--memory',
      ]
      this.child = started(spawn(process.execPath, argv, { stdio: 'ignore' }))
    }
    this.child.once('error', (error) => fail(`${this.name}: ${error.message}`))
    this.watcher = await watch(port)
  }

  async received() {
    if (this.name !== 'sink') return this.watcher.count
    this.child.send('count')
    const [{ received }] = await once(this.child, 'message')
    return received
  }

  stop() {
    this.watcher?.socket.destroy()
    this.child?.kill('SIGKILL')
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** Counts what arrives at a broker, with QoS 0. */
async function watch(port) {
  const watcher = { count: 0, socket: undefined }
  for (const until = Date.now() + 20_000; ; await sleep(50)) {
    const socket = connect(port, '127.0.0.1')
    if (await Promise.race([once(socket, 'connect').then(() => true), once(socket, 'error').then(() => false)])) {
      watcher.socket = socket
      break
    }
    if (Date.now() > until) fail('the far side does not listen')
  }
  const subscribed = new Promise((resolve) => {
    readPackets(watcher.socket, (type) => {
      if (type >> 4 === 9) resolve()
      else if (type >> 4 === 3) watcher.count++
    })
  })
  watcher.socket.on('error', () => {})
  watcher.socket.write(packet(0x10, string('MQTT'), Buffer.from([4, 2, 0, 0]), string('watcher')))
  watcher.socket.write(packet(0x82, Buffer.from([0, 1]), string('bench/#'), Buffer.from([0])))
  await subscribed
  return watcher
}

// --- The bridging process

const fail = (text) => {
  process.stderr.write(`${text}\n`)
  process.exit(2)
}

class Bridge {
  constructor(dir, child, port) {
    this.dir = dir
    this.child = child
    this.port = port
  }

  static async start(farPort, { memory, profile, collect }) {
    const dir = mkdtempSync(join(tmpdir(), 'roost-bench-bridge-'))
    const config = join(dir, 'roost.yaml')
    writeFileSync(
      config,
      [
        'max_queued_messages: 0',
        'max_queued_bytes: 0',
        'bridges:',
        '  - name: far',
        `    address: mqtt://127.0.0.1:${farPort}`,
        '    topics: ["bench/# out 1"]',
        '    restart_timeout: 1 1',
        '',
      ].join('\n'),
    )
    const argv = [
      ...startFlags(ROOT),
      ...(profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]),
      ...(collect ? ['--expose-gc', '--import', new URL('collect.mjs', import.meta.url).href] : []),
      join(ROOT, 'dist/main.js'),
      'serve',
      ...['--config', config, '--port', '0', '--sn-port', '0', '--http', 'false', '--log-format', 'json'],
      ...(memory ? ['--memory'] : ['--data-dir', join(dir, 'data')]),
    ]
    const stdio = ['ignore', 'pipe', 'inherit', ...(collect ? ['ipc'] : [])]
    const child = started(spawn(process.execPath, argv, { stdio }))
    child.once('exit', (code) => code !== null && code !== 0 && fail(`Roost ended with ${code}`))
    const port = await new Promise((resolve) => {
      let text = ''
      child.stdout.on('data', (chunk) => {
        text += chunk
        const found = /"mqtt":\{[^}]*"port":(\d+)/.exec(text)
        if (found !== null && text.includes('State is kept')) resolve(Number(found[1]))
      })
    })
    return new Bridge(dir, child, port)
  }

  /** All threads, seconds. */
  get cpu() {
    const ticks = readFileSync(`/proc/${this.child.pid}/stat`, 'utf8').split(') ')[1].split(' ')
    return (Number(ticks[11]) + Number(ticks[12])) / 100
  }

  /** What is in use after a collection. */
  async liveMib() {
    this.child.send('collect')
    const [{ live }] = await once(this.child, 'message')
    return live / 1024 / 1024
  }

  get residentMib() {
    return Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${this.child.pid}/status`, 'utf8'))[1]) / 1024
  }

  async stop() {
    this.child.kill('SIGTERM')
    await once(this.child, 'exit')
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** Publishes so many messages with QoS 1, at most a window of them unacknowledged; ends with the last PUBACK. */
async function publish(port, messages) {
  const socket = connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  const payload = Buffer.alloc(PAYLOAD_BYTES, 'x')
  const topics = Array.from({ length: TOPICS }, (_, i) => string(`bench/${i}`))
  let sent = 0
  let acknowledged = 0
  const done = new Promise((resolve) => {
    const fill = () => {
      const out = []
      for (; sent < messages && sent - acknowledged < WINDOW; sent++) {
        const id = (sent % 65_535) + 1
        out.push(packet(0x32, topics[sent % TOPICS], Buffer.from([id >> 8, id & 255]), payload))
      }
      if (out.length > 0) socket.write(Buffer.concat(out))
      if (acknowledged >= messages) resolve()
    }
    readPackets(
      socket,
      (type) => {
        if (type >> 4 === 4) acknowledged++
      },
      fill,
    )
  })
  socket.write(packet(0x10, string('MQTT'), Buffer.from([4, 2, 0, 0]), string('publisher')))
  await done
  socket.destroy()
}

/** Until so many have arrived; `look` sees every sample. */
async function arrived(far, messages, look = async () => {}) {
  let before = -1
  for (let until = Date.now() + PATIENCE_MS; ; await sleep(50)) {
    const received = await far.received()
    await look(received)
    if (received >= messages) return
    if (received > before) until = Date.now() + PATIENCE_MS
    before = received
    if (Date.now() > until) fail(`${received} of ${messages} messages have arrived, and no more come`)
  }
}

const number = (value) => Math.round(value).toLocaleString('en-US')

async function flow(far, farPort, options) {
  await far.start(farPort)
  const bridge = await Bridge.start(farPort, options)
  const { messages } = options
  // Until the bridge is connected, and the code is compiled.
  const warmUp = Math.min(messages, 20_000)
  await publish(bridge.port, warmUp)
  await arrived(far, warmUp)
  const began = { cpu: bridge.cpu, at: performance.now() }
  await publish(bridge.port, messages)
  await arrived(far, warmUp + messages)
  const cpu = bridge.cpu - began.cpu
  const seconds = (performance.now() - began.at) / 1000
  const rate = messages / cpu
  process.stdout.write(
    `${number(messages)} messages to ${far.name}: ${number(rate)} per CPU-second of the bridging process, ${seconds.toFixed(1)} s, ${number(messages / seconds)} a second\n`,
  )
  await bridge.stop()
  return rate
}

async function backlog(far, farPort, options) {
  const { backlog, collect } = options
  const bridge = await Bridge.start(farPort, options)
  const empty = bridge.residentMib
  const live = { empty: collect ? await bridge.liveMib() : 0, full: 0, steps: [] }
  await publish(bridge.port, backlog)
  await sleep(1000)
  if (collect) live.full = await bridge.liveMib()
  const full = bridge.residentMib
  const cpu = bridge.cpu
  const at = performance.now()
  await far.start(farPort)
  let most = full
  await arrived(far, backlog, async (received) => {
    most = Math.max(most, bridge.residentMib)
    if (collect && received < backlog && received >= (backlog * (live.steps.length + 1)) / STEPS)
      live.steps.push(await bridge.liveMib())
  })
  const seconds = (performance.now() - at) / 1000
  const growth = most - full
  process.stdout.write(
    `backlog of ${number(backlog)}: drained in ${seconds.toFixed(1)} s and ${(bridge.cpu - cpu).toFixed(1)} s of CPU; resident ${number(empty)} MiB empty, ${number(full)} MiB full, at most ${growth.toFixed(1)} MiB more while it drained\n`,
  )
  if (!collect) {
    await bridge.stop()
    return growth / (full - empty)
  }
  const after = await bridge.liveMib()
  process.stdout.write(
    `in use after collections: ${live.empty.toFixed(1)} MiB empty, ${live.full.toFixed(1)} MiB full, ${live.steps.map((mib) => mib.toFixed(1)).join(', ')} while it drained, ${after.toFixed(1)} MiB drained\n`,
  )
  await bridge.stop()
  return (Math.max(live.full, ...live.steps) - live.full) / (live.full - live.empty)
}

function given() {
  const text = { type: 'string' }
  const flag = { type: 'boolean', default: false }
  const options = {
    messages: { ...text, default: '200000' },
    backlog: { ...text, default: '1000000' },
    far: { ...text, default: 'sink' },
    memory: flag,
    collect: flag,
    check: flag,
    help: flag,
    profile: text,
    role: text,
    port: text,
  }
  try {
    const { values } = parseArgs({ options })
    for (const name of ['messages', 'backlog']) {
      values[name] = Number(values[name])
      if (!Number.isInteger(values[name]) || values[name] < 0) throw new Error(`--${name}: expected a number of messages`)
    }
    if (!['sink', 'mosquitto', 'roost'].includes(values.far)) throw new Error(`--far ${values.far}: sink, mosquitto or roost`)
    return values
  } catch (error) {
    return fail(error.message.split('\n')[0])
  }
}

const options = given()
if (options.role === 'sink') sink(Number(options.port))
else if (options.help) process.stdout.write(HELP)
else {
  const farPort = await freePort()
  const problems = []
  for (const measure of [options.messages > 0 && flow, options.backlog > 0 && backlog]) {
    if (measure === false) continue
    const far = new Far(options.far)
    try {
      const found = await measure(far, farPort, options)
      if (measure === flow && found < LEAST)
        problems.push(`${number(found)} messages a CPU-second are fewer than ${number(LEAST)}`)
      if (measure === backlog && found > (options.collect ? LIVE_GROWTH : GROWTH))
        problems.push(`memory grew by ${Math.round(100 * found)} % of the backlog while it drained`)
    } finally {
      far.stop()
    }
  }
  if (options.check && problems.length > 0) {
    process.stderr.write(`failed: ${problems.join('; ')}\n`)
    process.exitCode = 1
  }
}

// What "acknowledged means durable" costs: 100 publishers with 16 QoS 1 messages on their way each, to 100 persistent QoS 1 subscribers, one
// for each publisher, (a) connected and (b) away; memory mode and the durable store, each against a process started fresh.
// `node bench/durability.mjs [--messages 1000] [--strace]`; --strace counts and times syncs, which slows everything else down.
// `node bench/durability.mjs --against DIR [--rounds 11]` alternates with another checkout that has been built, in both orders, and prints the medians.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '900' },
    strace: { type: 'boolean', default: false },
    against: { type: 'string' },
    rounds: { type: 'string', default: '11' },
  },
})
const PAIRS = 100
const WINDOW = 16
/** Of each publisher; a queue holds 1,000 by default. */
const MESSAGES = Number(values.messages)
const PAYLOAD_BYTES = 64
const PAUSES = fileURLToPath(new URL('pauses.mjs', import.meta.url))
const HERE = fileURLToPath(new URL('../', import.meta.url))

const string = (text) => Buffer.concat([Buffer.from([text.length >> 8, text.length & 255]), Buffer.from(text)])
const packet = (type, ...parts) => {
  const body = Buffer.concat(parts)
  return Buffer.concat([
    Buffer.from(body.length < 128 ? [type, body.length] : [type, (body.length & 127) | 128, body.length >> 7]),
    body,
  ])
}
const connectPacket = (clientId) => packet(0x10, string('MQTT'), Buffer.from([4, 0, 0, 0]), string(clientId))

/** An MQTT 3.1.1 client that hands out whole packets. */
class Client {
  constructor(port, clientId, onPacket) {
    this.socket = connect(port, '127.0.0.1')
    this.socket.setNoDelay(true)
    let rest = Buffer.alloc(0)
    this.connected = new Promise((resolve) => {
      this.socket.on('data', (chunk) => {
        const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
        let at = 0
        for (;;) {
          if (bytes.length - at < 2) break
          const long = bytes[at + 1] >= 128
          if (long && bytes.length - at < 3) break
          const head = long ? 3 : 2
          const length = long ? (bytes[at + 1] & 127) | (bytes[at + 2] << 7) : bytes[at + 1]
          if (bytes.length - at < head + length) break
          if (bytes[at] === 0x20) resolve()
          else onPacket(bytes[at], bytes, at + head)
          at += head + length
        }
        rest = bytes.subarray(at)
        this.flush()
      })
    })
    this.out = []
    this.socket.write(connectPacket(clientId))
  }

  send(bytes) {
    this.out.push(bytes)
  }

  flush() {
    if (this.out.length > 0) this.socket.write(Buffer.concat(this.out.splice(0)))
  }
}

async function start(args, dir, checkout) {
  const traced = values.strace && dir !== undefined
  const node = [
    process.execPath,
    '--import',
    PAUSES,
    join(checkout, 'dist/main.js'),
    'serve',
    '--port',
    '0',
    '--sn-port',
    '0',
    ...(existsSync(join(checkout, 'dist/http')) ? ['--http-port', '0'] : []),
    '--log-format',
    'json',
    ...args,
  ]
  const argv = traced ? ['strace', '-f', '-T', '-e', 'trace=fsync,fdatasync,msync', '-o', join(dir, 'trace'), ...node] : node
  const child = spawn(argv[0], argv.slice(1), {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, PAUSES_FILE: join(dir ?? tmpdir(), `pauses-${process.pid}`) },
  })
  const port = await new Promise((resolve) => {
    let text = ''
    child.stdout.on('data', (chunk) => {
      text += chunk
      const found = /"port":(\d+)/.exec(text)
      if (found !== null && text.includes('State is kept')) resolve(Number(found[1]))
    })
  })
  const pid = traced
    ? Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ')[0])
    : child.pid
  return { child, pid, port, pausesFile: join(dir ?? tmpdir(), `pauses-${process.pid}`) }
}

function usage(pid) {
  const ticks = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  const written = /write_bytes: (\d+)/.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]
  return { cpuMs: (Number(ticks[11]) + Number(ticks[12])) * 10, written: Number(written) }
}

async function run(args, connected, dir, checkout = HERE) {
  const server = await start(args, dir, checkout)
  const puback = (high, low) => Buffer.from([0x40, 2, high, low])
  let delivered = 0
  let settled = () => {}
  const total = PAIRS * MESSAGES
  const subscribers = Array.from({ length: PAIRS }, (_, i) => {
    let subscribed
    const ready = new Promise((resolve) => {
      subscribed = resolve
    })
    const client = new Client(server.port, `s${i}`, (type, bytes, at) => {
      if (type === 0x90) subscribed()
      if ((type & 0xf0) !== 0x30) return
      const id = at + 2 + ((bytes[at] << 8) | bytes[at + 1])
      client.send(puback(bytes[id], bytes[id + 1]))
      if (++delivered === total) settled()
    })
    client.ready = ready
    return client
  })
  await Promise.all(subscribers.map(({ connected: done }) => done))
  for (const [i, client] of subscribers.entries()) {
    client.send(packet(0x82, Buffer.from([0, 1]), string(`p/${i}`), Buffer.from([1])))
    client.flush()
  }
  await Promise.all(subscribers.map(({ ready }) => ready))
  if (!connected) for (const { socket } of subscribers) socket.destroy()
  await new Promise((resolve) => setTimeout(resolve, 300))
  process.kill(server.pid, 'SIGUSR2')
  const before = usage(server.pid)
  const began = performance.now()
  let acknowledged = 0
  const latencies = []
  await new Promise((resolve) => {
    settled = () => {
      if (acknowledged === total && (!connected || delivered === total)) resolve()
    }
    for (let i = 0; i < PAIRS; i++) {
      let next = 1
      const sentAt = new Map()
      const payload = Buffer.alloc(PAYLOAD_BYTES, 120)
      const publish = () => {
        sentAt.set(next, performance.now())
        client.send(packet(0x32, string(`p/${i}`), Buffer.from([next >> 8, next & 255]), payload))
        next++
      }
      const client = new Client(server.port, `p${i}`, (type, bytes, at) => {
        if (type !== 0x40) return
        const id = (bytes[at] << 8) | bytes[at + 1]
        latencies.push(performance.now() - sentAt.get(id))
        sentAt.delete(id)
        acknowledged++
        if (next <= MESSAGES) publish()
        if (acknowledged === total) settled()
      })
      client.connected.then(() => {
        while (next <= WINDOW) publish()
        client.flush()
      })
    }
  })
  const seconds = (performance.now() - began) / 1000
  const after = usage(server.pid)
  process.kill(server.pid, 'SIGTERM')
  await new Promise((resolve) => server.child.once('exit', resolve))
  const pauseMs = existsSync(server.pausesFile) ? Number(readFileSync(server.pausesFile, 'utf8')) : Number.NaN
  latencies.sort((a, b) => a - b)
  return {
    cpuUs: ((after.cpuMs - before.cpuMs) * 1000) / total,
    perSecond: total / seconds,
    writtenPerByte: (after.written - before.written) / (total * PAYLOAD_BYTES),
    pauseMs,
    p50: latencies[latencies.length >> 1],
    p99: latencies[Math.floor(latencies.length * 0.99)],
    max: latencies.at(-1),
    syncs: dir !== undefined && values.strace ? syncsOf(join(dir, 'trace')) : undefined,
  }
}

/** How often the disk was waited for, and how long (ms). */
function syncsOf(file) {
  const times = Array.from(readFileSync(file, 'utf8').matchAll(/sync.*<([\d.]+)>$/gm), ([, time]) => Number(time) * 1000).sort(
    (a, b) => a - b,
  )
  return { count: times.length, p50: times[times.length >> 1], p99: times[Math.floor(times.length * 0.99)] }
}

const line = (what, { cpuUs, perSecond, writtenPerByte, pauseMs, p50, p99, max, syncs }) => {
  const parts = [
    `${cpuUs.toFixed(1)} us CPU per message`,
    `${Math.round(perSecond)} messages/s`,
    `PUBACK p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, max ${max.toFixed(1)} ms`,
    `longest pause of the event loop ${pauseMs.toFixed(1)} ms`,
  ]
  if (writtenPerByte > 0) parts.push(`${writtenPerByte.toFixed(1)} bytes written per payload byte`)
  if (syncs !== undefined) {
    const { count, p50: half, p99: most } = syncs
    parts.push(
      `${count} fsyncs, ${((PAIRS * MESSAGES) / count).toFixed(0)} messages each, p50 ${half?.toFixed(2)} ms, p99 ${most?.toFixed(2)} ms`,
    )
  }
  process.stdout.write(`${what.padEnd(22)} ${parts.join('; ')}\n`)
}

async function durable(durability, connected, checkout) {
  const dir = mkdtempSync(join(tmpdir(), 'roost-durability-'))
  try {
    return await run(['--data-dir', join(dir, 'data'), '--durability', durability], connected, dir, checkout)
  } finally {
    rmSync(dir, { recursive: true })
  }
}

const WHERE = [
  ['connected', true],
  ['away', false],
]

async function alone() {
  for (const [where, connected] of WHERE) {
    const memory = await run(['--memory'], connected)
    line(`memory, ${where}`, memory)
    for (const durability of ['fsync', 'process']) {
      const figures = await durable(durability, connected, HERE)
      line(`${durability}, ${where}`, figures)
      process.stdout.write(`${' '.repeat(22)} ${(figures.cpuUs / memory.cpuUs).toFixed(2)} times the CPU of memory mode\n`)
    }
  }
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]

/** Each figure's median of this checkout and of the other, and the median of the ratios of the pairs. */
async function against(other) {
  const figures = ['cpuUs', 'writtenPerByte', 'p50', 'p99', 'max', 'pauseMs', 'perSecond']
  for (const [where, connected] of WHERE) {
    const pairs = []
    for (let round = 0; round < Number(values.rounds); round++) {
      const order = round % 2 === 0 ? [HERE, other] : [other, HERE]
      const results = new Map()
      for (const checkout of order) results.set(checkout, await durable('fsync', connected, checkout))
      pairs.push([results.get(HERE), results.get(other)])
    }
    process.stdout.write(`fsync, ${where}, ${pairs.length} alternations\n`)
    for (const figure of figures) {
      const [mine, theirs] = [0, 1].map((i) => median(pairs.map((pair) => pair[i][figure])))
      const ratio = median(pairs.map(([a, b]) => a[figure] / b[figure]))
      process.stdout.write(
        `  ${figure.padEnd(15)} ${mine.toFixed(1).padStart(9)} against ${theirs.toFixed(1).padStart(9)}, ratio ${ratio.toFixed(2)}\n`,
      )
    }
  }
}

await (values.against === undefined ? alone() : against(values.against))

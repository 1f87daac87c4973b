// Sleeping sensors at a gateway in front of a cluster: each has an MQTT session of its own there. N sensors behind forwarders connect,
// subscribe to a topic of their own and fall asleep; then all are woken at a steady rate for one message each, published at the cluster.
// `npm run bench:upstream -- --help`. Needs gcc, and nats-server or mosquitto, on Linux.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectAsync } from 'mqtt'
import { count, Expectations, MIB, main, mib, milliseconds, optionsOf, print, Roost, run, Sensors, UsageError } from './fleet.mjs'
import { freePort } from './free-port.mjs'

const HELP = `npm run bench:upstream -- [options]
  --sensors N             sensors (default 10000)
  --cluster NAME          nats (three nodes, the default), nats-1 (a single node), or mosquitto
  --consumer-replicas N   of each sensor's subscription at NATS (default: as many as nodes)
  --sleepers keep|park    what becomes of a sleeper's connection (default keep)
  --rate N                wakes a second at most (default 100)
  --window N              messages that the cluster has not acknowledged, at most (default 8)
  --at-a-time N           sensors that are connecting at a time (default 64)
  --dials-per-second N    connections to the cluster that are begun each second (default: Roost's own)
  --connect-minutes N     after which no other sensor connects; the rest is done with those that have (default 6)
  --wake-minutes N        after which no other sensor is woken (default 3)
  --max-rss-mib N         exit code 1 if the resident memory of all sleeping sensors is larger, after a collection (default 250)
A lost message, or a sensor less than wanted, is always exit code 1.
`
/** For a cluster that has just been started, ms. */
const PATIENCE_MS = 60_000
/** One attempt of a client to be served, ms. */
const ATTEMPT_MS = 2_500
/** Files that a gateway has open besides its connections. */
const OTHER_FILES = 100
/** Until the gateway is silent again, ms: the streams of sleepers end with \`park\`, and the collector sees garbage that is old. */
const SETTLE_MS = 3_000

/** Lines of each node's log that are printed when something went wrong. */
const COMPLAINTS = 5

const NUMBERS = {
  sensors: 10_000,
  rate: 100,
  'at-a-time': 64,
  window: 8,
  'connect-minutes': 6,
  'wake-minutes': 3,
  'dials-per-second': undefined,
  'consumer-replicas': undefined,
  'max-rss-mib': 250,
}

function parseOptions() {
  const texts = { cluster: { type: 'string', default: 'nats' }, sleepers: { type: 'string', default: 'keep' } }
  const values = optionsOf(NUMBERS, texts)
  if (!['nats', 'nats-1', 'mosquitto'].includes(values.cluster))
    throw new UsageError(`--cluster ${values.cluster}: nats, nats-1 or mosquitto`)
  if (values.window > 500) throw new UsageError(`--window ${values.window}: at most 500`)
  if (!['keep', 'park'].includes(values.sleepers)) throw new UsageError(`--sleepers ${values.sleepers}: keep or park`)
  const [, limit] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
  const needed = values.sensors + OTHER_FILES
  if (Number(limit) < needed)
    throw new UsageError(
      `${values.sensors} connections need ${needed} open files, and ulimit -n is ${limit}: raise it, or lower --sensors`,
    )
  return values
}

/** Of a process, in bytes: what is resident, and what of that is no mapped file. */
function resident(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const [rss, anonymous] = ['VmRSS', 'RssAnon'].map(
    (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)[1]) * 1024,
  )
  return { rss, anonymous }
}

/** Brokers in a temporary folder of their own. */
class Cluster {
  ports = []
  #children = []
  #dir = mkdtempSync(join(tmpdir(), 'roost-bench-cluster-'))

  constructor({ cluster, 'consumer-replicas': replicas }) {
    this.name = cluster
    this.replicas = replicas
    // Whatever ends this process.
    process.once('exit', () => {
      for (const child of this.#children) child.kill('SIGKILL')
      rmSync(this.#dir, { recursive: true, force: true })
    })
  }

  async start() {
    if (this.name === 'mosquitto') await this.#mosquitto()
    else await this.#nats(this.name === 'nats' ? 3 : 1)
    await Promise.all(this.ports.map(untilServing))
  }

  /** With sessions on the disk, and no limit of what waits for one. */
  async #mosquitto() {
    const port = await freePort()
    const lines = ['user root', `listener ${port} 127.0.0.1`, 'allow_anonymous true', 'set_tcp_nodelay true']
    lines.push('persistence true', 'autosave_interval 60', 'max_queued_messages 0')
    const program = existsSync('/usr/sbin/mosquitto') ? '/usr/sbin/mosquitto' : 'mosquitto'
    this.#spawn(program, 'mosquitto', lines, port)
  }

  async #nats(size) {
    const nodes = []
    for (let i = 0; i < size; i++) nodes.push({ mqtt: await freePort(), clients: await freePort(), routes: await freePort() })
    const routes = nodes.map(({ routes: port }) => `"nats://127.0.0.1:${port}"`).join(', ')
    const replicas = this.replicas === undefined ? '' : `, consumer_replicas: ${this.replicas}`
    for (const [i, { mqtt, clients, routes: port }] of nodes.entries()) {
      const name = `n${i + 1}`
      const lines = [
        `server_name: ${name}`,
        `listen: "127.0.0.1:${clients}"`,
        `jetstream { store_dir: "${join(this.#dir, name)}" }`,
        `mqtt { listen: "127.0.0.1:${mqtt}", ack_wait: "30s", max_ack_pending: 100${replicas} }`,
      ]
      if (size > 1) lines.push(`cluster { name: roost, listen: "127.0.0.1:${port}", routes: [${routes}] }`)
      this.#spawn('nats-server', name, lines, mqtt)
    }
  }

  #spawn(program, name, lines, port) {
    const conf = join(this.#dir, `${name}.conf`)
    writeFileSync(conf, [...lines, ''].join('\n'))
    const log = openSync(join(this.#dir, `${name}.log`), 'w')
    const child = spawn(program, ['-c', conf], { cwd: this.#dir, stdio: ['ignore', log, log] })
    closeSync(log)
    child.once('error', (error) => process.stderr.write(`${program}: ${error.message}\n`))
    this.#children.push(child)
    this.ports.push(port)
  }

  /** What it takes of the machine itself. */
  get costs() {
    const nodes = this.#children.map(({ pid }) => `${cpuSeconds(pid).toFixed(1)} s of CPU and ${mib(resident(pid).rss)}`)
    return nodes.join('; ')
  }

  /** Prints what it has complained about: each node's last words. */
  complain() {
    for (const name of readdirSync(this.#dir).filter((each) => each.endsWith('.log'))) {
      const lines = readFileSync(join(this.#dir, name), 'utf8')
        .split('\n')
        .filter((line) => /\[(ERR|WRN|FTL)\]|error/i.test(line))
      for (const line of lines.slice(-COMPLAINTS)) process.stderr.write(`${name}: ${line}\n`)
    }
  }

  async stop() {
    for (const child of this.#children) child.kill('SIGKILL')
    await Promise.all(this.#children.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'exit')))
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

/** That a process has run, with all its threads. */
function cpuSeconds(pid) {
  const [, , ...fields] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  // Clock ticks of 10 ms, user and system.
  return (Number(fields[9]) + Number(fields[10])) / 100
}

/** Waits until a client of this port gets what it has published: one of three that has just started accepts connections, and serves nobody. */
async function untilServing(port) {
  for (const until = performance.now() + PATIENCE_MS; ; await sleep(100)) {
    const client = await connectAsync(
      `mqtt://127.0.0.1:${port}`,
      { reconnectPeriod: 0, connectTimeout: ATTEMPT_MS },
      false,
    ).catch(() => undefined)
    if (client !== undefined) {
      const isServed = await Promise.race([served(client, `probe/${port}`), sleep(ATTEMPT_MS, false)])
      client.end(true)
      if (isServed) return
    }
    if (performance.now() > until) throw new Error(`port ${port} serves no client within ${PATIENCE_MS / 1000} s`)
  }
}

async function served(client, topic) {
  const came = new Promise((resolve) => {
    client.on('message', () => resolve(true))
    for (const event of ['close', 'error']) client.on(event, () => resolve(false))
  })
  await client.subscribeAsync(topic, { qos: 1 }).catch(() => {})
  await client.publishAsync(topic, 'x', { qos: 1 }).catch(() => {})
  return came
}

function start(options, cluster, dir) {
  const { sensors, sleepers, 'dials-per-second': dials } = options
  const lines = [
    `data_dir: ${join(dir, 'data')}`,
    'upstream:',
    `  targets: [${cluster.ports.map((port) => `mqtt://127.0.0.1:${port}`).join(', ')}]`,
    '  round_robin: true',
    '  connect_timeout_seconds: 60',
    `  sleepers: ${sleepers}`,
  ]
  if (dials !== undefined) lines.push(`  dials_per_second: ${dials}`)
  writeFileSync(join(dir, 'roost.yaml'), [...lines, ''].join('\n'))
  // All sensors have one address.
  const limits = `--max-sn-sessions ${sensors + 1000} --max-sessions-per-address ${sensors + 1000}`
  return new Roost(['--config', join(dir, 'roost.yaml'), ...limits.split(' ')])
}

/** Prints what the sleeping sensors take. */
async function remembered(roost, empty, sensors) {
  const resting = { ...(await roost.ask('collect')), ...resident(roost.child.pid) }
  const { rss, anonymous, heapUsed, external } = resting
  const each = (part) => count((resting[part] - empty[part]) / sensors)
  print(
    'memory',
    `RSS ${mib(rss)}, of which anonymous ${mib(anonymous)}; heap ${mib(heapUsed)}, outside it ${mib(external)}; after a collection`,
  )
  print(
    '',
    `each sensor ${each('rss')} bytes of RSS, ${each('heapUsed')} of heap; without sensors RSS ${mib(empty.rss)}, heap ${mib(empty.heapUsed)}`,
  )
  return rss / MIB
}

async function measure(options, expect) {
  const { sensors: wanted, sleepers } = options
  const nodes = { nats: 'three nodes of NATS', 'nats-1': 'one node of NATS', mosquitto: 'Mosquitto' }[options.cluster]
  print(
    'start',
    `${count(wanted)} sensors in front of ${nodes}, sleepers: ${sleepers}; ${cpus().length} cores, Node.js ${process.versions.node}`,
  )
  const dir = mkdtempSync(join(tmpdir(), 'roost-bench-upstream-'))
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }))
  const cluster = new Cluster(options)
  let roost
  let sensors
  try {
    await cluster.start()
    roost = start(options, cluster, dir)
    await roost.listening()
    const empty = { ...(await roost.ask('collect')), ...resident(roost.child.pid) }
    const [connects, wakes] = [options['connect-minutes'], options['wake-minutes']].map((minutes) => minutes * 60)
    const bounds = `-g -w ${options.window} -S ${connects} -W ${wakes}`
    sensors = new Sensors(options, roost, cluster.ports[0], bounds.split(' '))
    const connected = await run('connect', roost, sensors, ({ asleep, refused, retried, seconds }, ran) => {
      const rates = `${count(asleep / seconds)} a second, ${count(asleep / ran)} a CPU second of Roost`
      return `${count(asleep)} asleep, ${rates}, refused ${refused} times, ${retried} requests sent again`
    })
    const { asleep, begun } = connected
    print('cluster', cluster.costs)
    expect.that(asleep === wanted, `${asleep} of ${wanted} sensors fell asleep`)
    if (asleep < begun) return
    await sleep(SETTLE_MS)
    expect.atMost('max-rss-mib', await remembered(roost, empty, asleep), 'RSS in MiB')

    const woken = await run('wake', roost, sensors, ({ woken, retried, late, behindMs, loadUse }) => {
      const load = `the generator used ${(100 * loadUse).toFixed(0)} % of a core and was at most ${behindMs.toFixed(0)} ms late`
      return `${count(woken)} woken, ${retried} requests sent again, ${late} messages late for their wake; ${load}`
    })
    const { begun: due, expected, lost, misplaced, repeated, lostConnections } = woken
    if (lostConnections > 0) print('', `the cluster closed the publisher's connection ${lostConnections} times`)
    print('', milliseconds(woken.single))
    print(
      'messages',
      `${count(expected)} expected, ${count(expected - lost)} received, ${misplaced} misplaced, ${repeated} received twice`,
    )
    print('cluster', cluster.costs)
    expect.that(due === asleep, `only ${due} of ${asleep} sensors were woken in ${options['wake-minutes']} minutes`)
    expect.that(woken.woken === due, `${due - woken.woken} sensors were not answered`)
    expect.that(lost === 0 && misplaced === 0, `${lost} messages lost, ${misplaced} misplaced`)
    await sleep(SETTLE_MS)
    expect.atMost('max-rss-mib', await remembered(roost, empty, asleep), 'RSS in MiB after the wakes')
  } catch (error) {
    cluster.complain()
    throw error
  } finally {
    sensors?.child.kill()
    await roost?.stop()
    await cluster.stop()
  }
}

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))
await main('bench:upstream', async () => {
  const options = parseOptions()
  const expect = new Expectations(options)
  if (options.help) process.stdout.write(HELP)
  else await measure(options, expect)
  return expect.failures
})

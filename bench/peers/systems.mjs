// The systems that are measured: where their programs are, which version they report, and how they are started for one run.
import { spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { startFlags } from '../start-flags.mjs'

const FIRST_PORT = 25_880
const PORTS = 3

const onPath = (name) =>
  [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
    .map((dir) => join(dir, name))
    .find((file) => existsSync(file))

const firstLine = (argv, pattern) => {
  const { stdout, stderr } = spawnSync(argv[0], argv.slice(1), { encoding: 'utf8', timeout: 3000 })
  return pattern.exec(`${stdout}${stderr}`)?.[1]
}

const mosquittoConfig = ({ mqtt }, more) =>
  `listener ${mqtt} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_type error\n${more}`
const mosquitto = (more) => (program, run) =>
  run.spawn([program, '-c', run.file('mosquitto.conf', mosquittoConfig(run.ports, more))])
const mosquittoVersion = (program) => firstLine([program, '-h'], /version (\S+)/)

const flashmq = (more) => (program, run) => {
  const listen = `listen {\n  protocol mqtt\n  port ${run.ports.mqtt}\n  inet_protocol ip4\n  inet4_bind_address 127.0.0.1\n${more}}\n`
  const log = `log_file ${join(run.dir, 'flashmq.log')}\n`
  const limits = 'thread_count 1\nallow_anonymous true\nclient_max_write_buffer_size 16777216\n'
  run.spawn([program, '--config-file', run.file('flashmq.conf', log + limits + listen)])
}
const flashmqVersion = (program) => firstLine([program, '--version'], /Version (\S+)/)

const rsmbConfig = ({ mqtt, sn }) =>
  `max_inflight_messages 20\nmax_queued_messages 10000\nlistener ${mqtt} 127.0.0.1\nlistener ${sn} 127.0.0.1 mqtts\n`

function paho(program, run) {
  const broker = onPath('mosquitto')
  if (broker === undefined) throw new Error('the Paho gateway needs Mosquitto')
  mosquitto('')(broker, run)
  const settings = {
    GatewayID: 1,
    GatewayName: 'gateway',
    MaxNumberOfClients: 20_000,
    KeepAlive: 900,
    BrokerName: '127.0.0.1',
    BrokerPortNo: run.ports.mqtt,
    BrokerSecurePortNo: 8883,
    AggregatingGateway: 'NO',
    'QoS-1': 'NO',
    Forwarder: 'NO',
    PredefinedTopic: 'NO',
    ClientAuthentication: 'NO',
    ClientsList: run.file('clients.conf', ''),
    GatewayPortNo: run.ports.sn,
    MulticastPortNo: run.ports.multicast,
    MulticastIP: '225.1.1.1',
    MulticastTTL: 1,
    ShearedMemory: 'NO',
  }
  const text = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`)
  run.spawn([program, '-f', run.file('gateway.conf', text.join(''))])
}

/** In memory mode, as the peers. */
function roost(checkout, run) {
  const ports = ['--port', run.ports.mqtt, '--sn-port', run.ports.sn, ...httpFlags(checkout)]
  run.spawn([
    process.execPath,
    ...startFlags(checkout),
    join(checkout, 'dist/main.js'),
    'serve',
    '--memory',
    '--log-level',
    'error',
    ...ports,
  ])
}
/** Its HTTP service on a free port; an older checkout has none. */
const httpFlags = (checkout) => (existsSync(join(checkout, 'dist/http')) ? ['--http-port', '0'] : [])
const roostVersion = (checkout) => {
  const commit = spawnSync('git', ['-C', checkout, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).stdout.trim()
  const { version } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8'))
  return commit === '' ? version : `${version} (${commit})`
}

/**
 * `option` and `variable` name the program where it cannot be found by PATH; `speaks`: the protocols of its scenarios;
 * `cannot`: scenarios that it does not complete.
 */
export const SYSTEMS = {
  roost: { title: 'Roost', option: 'roost', isCheckout: true, speaks: ['mqtt', 'sn'], version: roostVersion, start: roost },
  other: {
    title: 'Roost, other checkout',
    option: 'other',
    isCheckout: true,
    speaks: ['mqtt', 'sn'],
    version: roostVersion,
    start: roost,
  },
  mosquitto: { title: 'Mosquitto', program: 'mosquitto', speaks: ['mqtt'], version: mosquittoVersion, start: mosquitto('') },
  'mosquitto-new': {
    title: 'Mosquitto',
    option: 'mosquitto-new',
    variable: 'MOSQUITTO_NEW',
    speaks: ['mqtt'],
    version: mosquittoVersion,
    start: mosquitto(''),
  },
  flashmq: {
    title: 'FlashMQ',
    program: 'flashmq',
    option: 'flashmq',
    variable: 'FLASHMQ',
    speaks: ['mqtt'],
    version: flashmqVersion,
    start: flashmq(''),
  },
  'flashmq-nodelay': {
    title: 'FlashMQ',
    setting: 'tcp_nodelay',
    program: 'flashmq',
    option: 'flashmq',
    variable: 'FLASHMQ',
    speaks: ['mqtt'],
    version: flashmqVersion,
    start: flashmq('  tcp_nodelay true\n'),
  },
  rsmb: {
    title: 'RSMB',
    option: 'rsmb',
    variable: 'RSMB',
    speaks: ['sn'],
    // It lists no sleeping client that it has messages for.
    cannot: ['sn-sleep-q1', 'sn-sleep-q0'],
    // It reports its version only at startup, and ends at once without the file Messages beside it.
    version: (program) => rsmbVersion(program),
    start: (program, run) => run.spawn([program, run.file('rsmb.conf', rsmbConfig(run.ports))], dirname(program)),
  },
  paho: {
    title: 'Paho gateway with Mosquitto',
    option: 'paho',
    variable: 'PAHO_GATEWAY',
    speaks: ['sn'],
    // It crashes at startup with QoS-1=YES.
    cannot: ['sn-qm1'],
    version: () => undefined,
    start: paho,
    listensLateMs: 1200,
  },
}

function rsmbVersion(program) {
  const dir = mkdtempSync(join(tmpdir(), 'roost-peers-'))
  const config = join(dir, 'rsmb.conf')
  writeFileSync(config, rsmbConfig({ mqtt: FIRST_PORT, sn: FIRST_PORT + 1 }))
  const { stdout } = spawnSync(program, [config], { cwd: dirname(program), encoding: 'utf8', timeout: 500 })
  rmSync(dir, { recursive: true })
  return /Version ([\d.]+)/.exec(stdout)?.[1]
}

/** Where a system's program (or checkout) is. Returns a text if it is missing, and throws if one is named that does not exist. */
export function locate(name, options) {
  const { program, option, variable, isCheckout } = SYSTEMS[name]
  const named = options[option] ?? process.env[variable]
  if (named !== undefined) {
    const path = resolve(named)
    if (!existsSync(isCheckout ? join(path, 'dist/main.js') : path)) throw new Error(`${name}: ${named} does not exist`)
    return { path }
  }
  const path = program === undefined ? undefined : onPath(program)
  if (path !== undefined) return { path }
  if (isCheckout) return { missing: `--${option} DIR` }
  const otherwise = option === undefined ? '' : `--${option} FILE or ${variable}=FILE`
  return { missing: [program === undefined ? '' : `${program} on PATH`, otherwise].filter((each) => each !== '').join(', ') }
}

const isFree = async (port) => {
  const server = createServer().listen(port, '127.0.0.1')
  const socket = createSocket('udp4').bind(port, '127.0.0.1')
  const ready = Promise.all([once(server, 'listening'), once(socket, 'listening')])
  try {
    await ready
    return true
  } catch {
    return false
  } finally {
    server.close()
    try {
      socket.close()
    } catch {}
  }
}

let nextPort = FIRST_PORT
async function freePorts() {
  for (;;) {
    const first = nextPort
    nextPort = nextPort + PORTS > FIRST_PORT + 200 ? FIRST_PORT : nextPort + PORTS
    const free = await Promise.all([0, 1, 2].map((i) => isFree(first + i)))
    if (free.every(Boolean)) return { mqtt: first, sn: first + 1, multicast: first + 2 }
  }
}

/** A system, started on one core with ports and a folder of its own. */
export class Run {
  children = []
  ports
  #core

  constructor(core) {
    this.#core = core
    this.dir = mkdtempSync(join(tmpdir(), 'roost-peers-'))
  }

  file(name, text) {
    const path = join(this.dir, name)
    writeFileSync(path, text)
    return path
  }

  spawn(argv, cwd = this.dir) {
    this.children.push(spawn('taskset', ['-c', this.#core, ...argv.map(String)], { cwd, stdio: 'ignore' }))
  }

  async start(name, path) {
    const { start, listensLateMs = 300 } = SYSTEMS[name]
    this.ports = await freePorts()
    start(path, this)
    for (const end = Date.now() + 20_000; !(await answers(this.ports.mqtt)); await delay(30)) {
      this.#check(name)
      if (Date.now() > end) throw new Error(`${name} does not listen`)
    }
    await delay(listensLateMs)
    this.#check(name)
  }

  #check(name) {
    const ended = this.children.find(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null)
    if (ended !== undefined) throw new Error(`${name} ended with ${ended.exitCode ?? ended.signalCode}`)
  }

  get pids() {
    return this.children.map(({ pid }) => pid)
  }

  async stop() {
    for (const child of this.children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) continue
      const exited = once(child, 'exit')
      child.kill()
      const timer = setTimeout(() => child.kill('SIGKILL'), 1500)
      await exited
      clearTimeout(timer)
    }
    rmSync(this.dir, { recursive: true, force: true })
  }
}

const answers = (port) =>
  new Promise((settle) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => settle(true)).once('error', () => settle(false))
    socket.once('connect', () => socket.destroy())
  })

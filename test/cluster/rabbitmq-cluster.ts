import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../interop/mosquitto-broker.ts'
import { type Cluster, type ClusterNode, describeWith, untilServing } from './cluster.ts'
import { Wire } from './wire.ts'

/** Where Debian has the script that runs as whoever calls it; the one in PATH changes to the user rabbitmq. */
const PROGRAM = '/usr/lib/rabbitmq/bin/rabbitmq-server'
/** Until a client is served at a node that has just been started, ms. */
const PATIENCE_MS = 120_000

/** For tests that need Debian's rabbitmq-server, which is not installed for CI. */
export const describeWithRabbitMq = describeWith('epmd', 'rabbitmq-server', false)

class RabbitMqNode implements ClusterNode {
  readonly name: string
  readonly port: number
  readonly #env: NodeJS.ProcessEnv
  #child: ChildProcess | undefined

  constructor(name: string, port: number, env: NodeJS.ProcessEnv) {
    this.name = name
    this.port = port
    this.#env = env
  }

  async restart(): Promise<void> {
    // Its own process group: the script, the virtual machine and its helpers end together.
    this.#child = spawn(PROGRAM, [], { stdio: 'ignore', env: this.#env, detached: true })
    await untilServing(this.port, PATIENCE_MS)
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    process.kill(-child.pid!, 'SIGKILL')
    await exited
  }
}

export interface RabbitMqOptions {
  /** Of the queues of sessions. Classic ones are lost with their node. */
  readonly queues?: 'quorum' | 'classic'
}

/**
 * Three nodes of RabbitMQ with a port mapper of their own. Its MQTT is 3.1.1; it grants QoS 1 at most, and answers a PUBLISH with QoS 2 with PUBACK.
 */
export class RabbitMqCluster implements Cluster {
  readonly name = 'RabbitMQ'
  readonly version = 4
  readonly maximumQos = 1
  readonly keepsOrder = true
  /** A session is its queue, which the first SUBSCRIBE declares. */
  readonly sessionsNeedSubscription = true
  /** docs/scale-out.md, RabbitMQ. */
  readonly wire: Wire
  readonly nodes: readonly RabbitMqNode[]
  readonly #dir: string
  readonly #epmd: ChildProcess

  private constructor(dir: string, epmd: ChildProcess, nodes: readonly RabbitMqNode[], wire: Wire) {
    this.wire = wire
    this.#dir = dir
    this.#epmd = epmd
    this.nodes = nodes
  }

  static async start({ queues = 'quorum' }: RabbitMqOptions = {}): Promise<RabbitMqCluster> {
    const dir = mkdtempSync(join(tmpdir(), 'roost-rabbitmq-'))
    const epmdPort = await freePort()
    const epmd = spawn('epmd', ['-address', '127.0.0.1', '-port', `${epmdPort}`], { stdio: 'ignore' })
    writeFileSync(join(dir, 'enabled_plugins'), '[rabbitmq_mqtt].\n')
    writeFileSync(join(dir, 'advanced.config'), `[{rabbitmq_mqtt,[{durable_queue_type,${queues}}]}].\n`)
    const nodes: RabbitMqNode[] = []
    const wire = new Wire()
    for (let i = 1; i <= 3; i++) nodes.push(await prepared(dir, i, epmdPort, wire))
    const cluster = new RabbitMqCluster(dir, epmd, nodes, wire)
    try {
      // One after the other: nodes that are started together may never find a leader for the client ids.
      for (const node of nodes) await node.restart()
    } catch (error) {
      await cluster.stop()
      throw error
    }
    return cluster
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()))
    this.wire.stop()
    this.#epmd.kill('SIGKILL')
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

async function prepared(dir: string, i: number, epmdPort: number, wire: Wire): Promise<RabbitMqNode> {
  const name = `r${i}@localhost`
  const port = await freePort()
  const peers = [1, 2, 3].map((n) => `cluster_formation.classic_config.nodes.${n} = r${n}@localhost`)
  const lines = [
    `mqtt.listeners.tcp.1 = 127.0.0.1:${port}`,
    'mqtt.subscription_ttl = 86400000',
    'cluster_formation.peer_discovery_backend = classic_config',
    ...peers,
    'cluster_partition_handling = pause_minority',
  ]
  writeFileSync(join(dir, `r${i}.conf`), [...lines, ''].join('\n'))
  // Erlang's schedulers spin while they wait, which three nodes on one machine cannot afford.
  const schedulers = '+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none'
  return new RabbitMqNode(name, await wire.relay(name, port), {
    PATH: process.env.PATH,
    HOME: dir,
    ERL_EPMD_PORT: `${epmdPort}`,
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: name,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: `${await freePort()}`,
    RABBITMQ_DIST_PORT: `${await freePort()}`,
    RABBITMQ_MNESIA_BASE: join(dir, 'mnesia'),
    RABBITMQ_LOG_BASE: join(dir, 'log'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(dir, 'enabled_plugins'),
    RABBITMQ_CONFIG_FILE: join(dir, `r${i}.conf`),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(dir, 'advanced.config'),
    RABBITMQ_PID_FILE: join(dir, `r${i}.pid`),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `-kernel inet_dist_use_interface {127,0,0,1} ${schedulers}`,
  })
}

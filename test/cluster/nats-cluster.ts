import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../interop/mosquitto-broker.ts'
import { type Cluster, type ClusterNode, describeWith, untilServing } from './cluster.ts'

/** Until a client is served at a node that has just been started, ms. */
const PATIENCE_MS = 60_000

/** For tests that need Debian's nats-server. */
export const describeWithNats = describeWith('nats-server', 'nats-server')

class NatsNode implements ClusterNode {
  readonly name: string
  readonly port: number
  readonly #conf: string
  child: ChildProcess | undefined

  constructor(dir: string, name: string, port: number, lines: readonly string[]) {
    this.name = name
    this.port = port
    this.#conf = join(dir, `${name}.conf`)
    writeFileSync(this.#conf, [...lines, ''].join('\n'))
  }

  /** Without waiting until anybody is served: the first of three nodes serves nobody. */
  spawn(): void {
    this.child = spawn('nats-server', ['-c', this.#conf], { stdio: 'ignore' })
  }

  async restart(): Promise<void> {
    this.spawn()
    await untilServing(this.port, PATIENCE_MS)
  }

  async kill(): Promise<void> {
    const { child } = this
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
}

export interface NatsOptions {
  readonly nodes: number
  /** Until an unacknowledged message is sent again, seconds. */
  readonly ackWaitSeconds?: number
}

/**
 * nats-server with JetStream. Its MQTT is 3.1.1 with QoS 0 and 1: at a PUBLISH with QoS 2 it closes the connection. An unacknowledged message comes
 * again after `ack_wait`, over a connection that stays, too, and newer ones overtake it.
 */
export class NatsCluster implements Cluster {
  readonly name = 'NATS'
  readonly version = 4
  readonly maximumQos = 1
  readonly keepsOrder = false
  readonly nodes: readonly NatsNode[]
  readonly #dir: string

  private constructor(dir: string, nodes: readonly NatsNode[]) {
    this.#dir = dir
    this.nodes = nodes
  }

  static async start({ nodes: count, ackWaitSeconds = 2 }: NatsOptions): Promise<NatsCluster> {
    const dir = mkdtempSync(join(tmpdir(), 'roost-nats-'))
    const ports: { mqtt: number; clients: number; routes: number }[] = []
    for (let i = 0; i < count; i++) ports.push({ mqtt: await freePort(), clients: await freePort(), routes: await freePort() })
    const routes = ports.map((port) => `"nats://127.0.0.1:${port.routes}"`).join(', ')
    const nodes = ports.map(({ mqtt, clients, routes: cluster }, i) => {
      const name = `n${i + 1}`
      const lines = [
        `server_name: ${name}`,
        `listen: "127.0.0.1:${clients}"`,
        `jetstream { store_dir: "${join(dir, name)}" }`,
        `mqtt { listen: "127.0.0.1:${mqtt}", ack_wait: "${ackWaitSeconds}s", max_ack_pending: 100 }`,
      ]
      if (count > 1) lines.push(`cluster { name: roost, listen: "127.0.0.1:${cluster}", routes: [${routes}] }`)
      return new NatsNode(dir, name, mqtt, lines)
    })
    const cluster = new NatsCluster(dir, nodes)
    for (const node of nodes) node.spawn()
    await Promise.all(nodes.map(({ port }) => untilServing(port, PATIENCE_MS)))
    return cluster
  }

  /** Resident memory of its nodes, bytes. */
  get residentBytes(): number[] {
    return this.nodes.map(({ child }) => residentBytes(child!.pid!))
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()))
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

/** Of a process of this machine (Linux). */
export function residentBytes(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) * 1024
}

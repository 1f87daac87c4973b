import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../interop/mosquitto-broker.ts'
import { type Cluster, type ClusterNode, describeWith, untilServing } from './cluster.ts'
import { NatsWitness, traceOf } from './nats-witness.ts'

/** Until a client is served at a node that has just been started, ms. */
const PATIENCE_MS = 60_000
/** So many times `ack_wait` without a delivery, and what is unacknowledged should have come again long ago. */
const STALLED_WAITS = 5

/** Of `/jsz`, what is read here. */
interface JetStream {
  readonly now: string
  readonly account_details?: readonly { readonly stream_detail?: readonly { readonly consumer_detail?: readonly Consumer[] }[] }[]
}

interface Consumer {
  readonly cluster?: { readonly leader?: string }
  readonly delivered: { readonly last_active?: string }
  readonly num_ack_pending: number
  /** Somebody is subscribed. */
  readonly push_bound?: boolean
}

/** For tests that need Debian's nats-server. */
export const describeWithNats = describeWith('nats-server', 'nats-server')

class NatsNode implements ClusterNode {
  readonly name: string
  readonly port: number
  readonly #monitor: number
  readonly #conf: string
  child: ChildProcess | undefined

  constructor(dir: string, name: string, { mqtt, monitor }: { mqtt: number; monitor: number }, lines: readonly string[]) {
    this.name = name
    this.port = mqtt
    this.#monitor = monitor
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

  /**
   * Consumers that this node leads, and that have stopped: subscribed, with unacknowledged messages, and nothing was delivered for so many
   * milliseconds.
   */
  async stalled(ms: number): Promise<number> {
    const query = 'accounts=true&streams=true&consumers=true'
    const { now, account_details = [] } = (await (
      await fetch(`http://127.0.0.1:${this.#monitor}/jsz?${query}`)
    ).json()) as JetStream
    const streams = account_details.flatMap(({ stream_detail = [] }) => stream_detail)
    const consumers = streams.flatMap(({ consumer_detail = [] }) => consumer_detail)
    return consumers.filter(({ cluster, delivered: { last_active = now }, num_ack_pending, push_bound }) => {
      const isOwed = cluster?.leader === this.name && push_bound === true && num_ack_pending > 0
      return isOwed && Date.parse(now) - Date.parse(last_active) > ms
    }).length
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
  /** What JetStream is asked to store is watched, for messages that are missing. */
  readonly witnessed?: boolean
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

  readonly #ackWaitMs: number
  #witnesses: readonly NatsWitness[] = []

  private constructor(dir: string, nodes: readonly NatsNode[], ackWaitSeconds: number) {
    this.#dir = dir
    this.nodes = nodes
    this.#ackWaitMs = ackWaitSeconds * 1000
  }

  static async start({ nodes: count, ackWaitSeconds = 2, witnessed = false }: NatsOptions): Promise<NatsCluster> {
    const dir = mkdtempSync(join(tmpdir(), 'roost-nats-'))
    const ports: { mqtt: number; clients: number; routes: number; monitor: number }[] = []
    for (let i = 0; i < count; i++)
      ports.push({ mqtt: await freePort(), clients: await freePort(), routes: await freePort(), monitor: await freePort() })
    const routes = ports.map((port) => `"nats://127.0.0.1:${port.routes}"`).join(', ')
    const nodes = ports.map(({ mqtt, clients, routes: cluster, monitor }, i) => {
      const name = `n${i + 1}`
      const lines = [
        `server_name: ${name}`,
        `listen: "127.0.0.1:${clients}"`,
        `http: "127.0.0.1:${monitor}"`,
        `jetstream { store_dir: "${join(dir, name)}" }`,
        `mqtt { listen: "127.0.0.1:${mqtt}", ack_wait: "${ackWaitSeconds}s", max_ack_pending: 100 }`,
      ]
      if (count > 1) lines.push(`cluster { name: roost, listen: "127.0.0.1:${cluster}", routes: [${routes}] }`)
      return new NatsNode(dir, name, { mqtt, monitor }, lines)
    })
    const cluster = new NatsCluster(dir, nodes, ackWaitSeconds)
    for (const node of nodes) node.spawn()
    try {
      await Promise.all(nodes.map(({ port }) => untilServing(port, PATIENCE_MS)))
    } catch (error) {
      await cluster.stop()
      throw error
    }
    if (witnessed) cluster.#witnesses = ports.map(({ clients }) => new NatsWitness(clients))
    return cluster
  }

  /** Nodes whose consumers have stopped, as texts: nats-server 2.9.10 may come to that after another node was killed. */
  async stalled(): Promise<string[]> {
    const ms = STALLED_WAITS * this.#ackWaitMs
    const counts = await Promise.all(this.nodes.map((node) => node.stalled(ms)))
    const texts = counts.map((count, i) => `NATS: ${count} consumers that ${this.nodes[i]!.name} leads have stopped`)
    return texts.filter((_, i) => counts[i]! > 0)
  }

  /** What passed inside since the last time. */
  traces(texts: readonly string[]): string[] {
    const passed = this.#witnesses.flatMap((witness) => witness.passed)
    for (const witness of this.#witnesses) witness.passed = []
    return texts.flatMap((text) => traceOf(text, passed))
  }

  /** Resident memory of its nodes, bytes. */
  get residentBytes(): number[] {
    return this.nodes.map(({ child }) => residentBytes(child!.pid!))
  }

  async stop(): Promise<void> {
    for (const witness of this.#witnesses) witness.stop()
    await Promise.all(this.nodes.map((node) => node.kill()))
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

/** Of a process of this machine (Linux). */
export function residentBytes(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) * 1024
}

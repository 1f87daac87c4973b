import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectAsync } from 'mqtt'
import { describe } from 'vitest'
import type { Wire } from './wire.ts'

/** One node, on its port for as long as the cluster lives. */
export interface ClusterNode {
  readonly name: string
  /** For MQTT. */
  readonly port: number
  /** Without a word to anybody. */
  kill(): Promise<void>
  /** Comes back with what it has stored. Resolves once clients are served again. */
  restart(): Promise<void>
}

/** Brokers that gateways stand in front of. */
export interface Cluster {
  readonly name: string
  readonly nodes: readonly ClusterNode[]
  readonly version: 4 | 5
  /** The highest QoS with which it delivers. */
  readonly maximumQos: 1 | 2
  /** First deliveries keep the order of their publisher, whatever dies. */
  readonly keepsOrder: boolean
  /** CONNACK says that there is no session if nothing is subscribed in it. */
  readonly sessionsNeedSubscription?: true
  /** It changes the order itself now and then: what it has sent tells when. */
  readonly wire?: Wire
  /** What has stopped delivering there, as texts. */
  stalled?(): Promise<string[]>
  /** What became of these messages there since it was last asked, as texts. */
  traces?(texts: readonly string[]): string[]
  /** For good: no process and no file remains. */
  stop(): Promise<void>
}

/** One attempt of a client to be served, ms. */
const ATTEMPT_MS = 2_500
let probes = 0

/**
 * Waits until a client can connect at this port, subscribe, and receive what it has published. A port that listens is not enough: a cluster without
 * a majority accepts connections, and refuses sessions or leaves them without an answer.
 */
export async function untilServing(port: number, patienceMs: number): Promise<void> {
  const until = performance.now() + patienceMs
  for (;;) {
    try {
      await served(port)
      return
    } catch (error) {
      if (performance.now() > until) throw new Error(`nobody is served at port ${port}: ${(error as Error).message}`)
      await sleep(100)
    }
  }
}

async function served(port: number): Promise<void> {
  const clientId = `probe-${process.pid}-${probes++}`
  const options = { clientId, protocolVersion: 4, reconnectPeriod: 0, connectTimeout: ATTEMPT_MS } as const
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`, options, false)
  try {
    const came = new Promise<boolean>((resolve) => {
      client.on('message', () => resolve(true))
      client.on('close', () => resolve(false))
      client.on('error', () => resolve(false))
    })
    const talk = async (): Promise<boolean> => {
      await client.subscribeAsync(`probe/${clientId}`, { qos: 1 })
      await client.publishAsync(`probe/${clientId}`, 'x', { qos: 1 })
      return came
    }
    if (!(await Promise.race([talk(), sleep(ATTEMPT_MS, false)]))) throw new Error('no answer')
  } finally {
    client.end(true)
  }
}

/** `describe` for tests that need a program of the system. CI has all of them. */
export function describeWith(program: string, debian: string, isNeededInCi = true): typeof describe.skip {
  const isMissing = spawnSync(program, ['--version']).error !== undefined
  if (isMissing && isNeededInCi && process.env.CI === 'true') throw new Error(`${program} is not installed, and CI skips nothing`)
  if (isMissing) process.stderr.write(`skipped: tests with ${program}, which is not installed (Debian: ${debian})\n`)
  return describe.skipIf(isMissing)
}

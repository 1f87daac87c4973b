import { connect, type MqttClient } from 'mqtt'
import type { Ledger, Sent } from '../../fuzz/sim/ledger.ts'

/** Until it connects again, and for one attempt, ms. */
const RECONNECT_MS = 50
const ATTEMPT_MS = 3_000

/** What TCP clients need to know of the run. */
export interface ClientRun {
  readonly ledger: Ledger
  violated(what: string): void
}

export interface ClusterClientOptions {
  readonly clientId: string
  readonly version: 4 | 5
  /** Of all nodes, which it tries in turn. */
  readonly ports: readonly number[]
  readonly subscribes?: { readonly filter: string; readonly qos: 0 | 1 | 2 }
  /** CONNACK is not to be believed when it says that there is no session. */
  readonly hasNoSession?: boolean
}

/** A program at the cluster with a lasting session, made of MQTT.js, that goes to another node when its own dies. */
export class ClusterClient {
  readonly client: MqttClient
  readonly clientId: string
  /** Published and not acknowledged. */
  open = 0
  isSubscribed = false
  readonly #run: ClientRun
  #known = false

  constructor(run: ClientRun, { clientId, version, ports, subscribes, hasNoSession = false }: ClusterClientOptions) {
    this.#run = run
    this.clientId = clientId
    this.client = connect({
      servers: ports.map((port) => ({ host: '127.0.0.1', port, protocol: 'mqtt' as const })),
      clientId,
      protocolVersion: version,
      clean: false,
      resubscribe: false,
      reconnectPeriod: RECONNECT_MS,
      connectTimeout: ATTEMPT_MS,
      keepalive: 5,
      ...(version === 5 && { properties: { sessionExpiryInterval: 86_400 } }),
    })
    this.client.on('error', () => {})
    this.client.on('connect', ({ sessionPresent }) => {
      if (this.#known && !sessionPresent && !hasNoSession) run.violated(`${clientId} lost its session`)
      if (!this.isSubscribed && subscribes !== undefined) this.#subscribe(subscribes.filter, subscribes.qos)
      this.#known = true
    })
    this.client.on('message', (_, payload) => run.ledger.receive(clientId, payload.toString()))
  }

  get isReady(): boolean {
    return this.client.connected && this.#known
  }

  #subscribe(filter: string, qos: 0 | 1 | 2): void {
    this.client.subscribe(filter, { qos }, (error, granted) => {
      this.isSubscribed = !error && granted?.every((each) => each.qos <= 2) === true
    })
  }

  publish(topic: string, qos: 1 | 2, owed: readonly string[]): Sent {
    const sent = this.#run.ledger.publish(this.clientId, topic, qos, owed)
    this.open++
    this.client.publish(topic, sent.text, { qos }, (error) => {
      this.open--
      // MQTT.js gives some up when its connection ends: nobody has been told that they arrive.
      if (!error) sent.acknowledged = true
    })
    return sent
  }

  stop(): void {
    this.client.end(true)
  }
}

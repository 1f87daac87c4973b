import type { describe } from 'vitest'
import { describeWithMosquittoBroker } from '../interop/mosquitto-broker.ts'
import type { Cluster } from './cluster.ts'
import { MosquittoCluster } from './mosquitto-cluster.ts'
import { describeWithNats, NatsCluster } from './nats-cluster.ts'
import { describeWithRabbitMq, RabbitMqCluster } from './rabbitmq-cluster.ts'

export interface UpstreamKind {
  readonly name: string
  readonly describe: typeof describe.skip
  /** Of a setting that has to be `auto`, which finds out. */
  readonly protocolVersion: 'auto' | 'mqttv311'
  readonly start: () => Promise<Cluster>
}

/** RabbitMQ takes half a minute to start, and with NATS there is 3.1.1 already: both belong to `npm run test:full`. */
const isFull = process.env.FULL === '1'

/** What gateways stand in front of, with as many nodes as it takes to be itself. */
export const UPSTREAMS: readonly UpstreamKind[] = [
  {
    name: 'Mosquitto with MQTT 5',
    describe: describeWithMosquittoBroker,
    protocolVersion: 'auto',
    start: () => MosquittoCluster.start(5),
  },
  {
    name: 'NATS',
    describe: describeWithNats,
    protocolVersion: 'auto',
    start: () => NatsCluster.start({ nodes: isFull ? 3 : 1 }),
  },
  ...(isFull
    ? ([
        {
          name: 'Mosquitto with MQTT 3.1.1',
          describe: describeWithMosquittoBroker,
          protocolVersion: 'mqttv311',
          start: () => MosquittoCluster.start(4),
        },
        { name: 'RabbitMQ', describe: describeWithRabbitMq, protocolVersion: 'auto', start: () => RabbitMqCluster.start() },
      ] as const)
    : []),
]

import { MosquittoBroker } from '../interop/mosquitto-broker.ts'
import type { Cluster, ClusterNode } from './cluster.ts'

/**
 * Mosquitto, a cluster of one. Its end is SIGTERM: with SIGKILL it forgets what it has acknowledged since it saved last, whoever asks it to keep it.
 */
export class MosquittoCluster implements Cluster {
  readonly name = 'Mosquitto'
  readonly version: 4 | 5
  readonly maximumQos = 2
  readonly keepsOrder = true
  readonly nodes: readonly ClusterNode[]
  readonly #broker: MosquittoBroker

  private constructor(broker: MosquittoBroker, version: 4 | 5) {
    this.#broker = broker
    this.version = version
    const { port } = broker
    this.nodes = [{ name: 'mosquitto', port, kill: () => broker.shutDown(), restart: () => broker.restart() }]
  }

  static async start(version: 4 | 5 = 5, ...lines: string[]): Promise<MosquittoCluster> {
    const settings = lines.length > 0 ? lines : ['allow_anonymous true']
    return new MosquittoCluster(await MosquittoBroker.startLasting('set_tcp_nodelay true', ...settings), version)
  }

  stop(): Promise<void> {
    return this.#broker.stop()
  }
}

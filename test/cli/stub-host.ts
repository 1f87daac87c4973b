import { EventEmitter } from 'node:events'
import { Readable } from 'node:stream'
import type { Host } from '../../src/cli/serve.ts'
import type { Config } from '../../src/config/config.ts'
import type { Logger } from '../../src/process/log.ts'
import type { Running } from '../../src/process/roost.ts'

/** A process that only pretends: what `run` does with it is written down here. */
export class StubHost implements Host {
  out = ''
  err = ''
  readonly stdout = { write: (text: string) => (this.out += text) }
  readonly stderr = { write: (text: string) => (this.err += text) }
  stdin: NodeJS.ReadableStream = Readable.from([])
  readonly color = false
  readonly cwd = '/srv'
  readonly version = '1.2.3'
  readonly events = new EventEmitter()
  readonly exits: number[] = []
  readonly exit = (code: number): void => {
    this.exits.push(code)
  }
  config: Config | undefined
  log: Logger | undefined
  stops = 0
  stop: () => Promise<void> = async () => {}
  reload: Running['reload'] = async () => []
  checkpoint: Running['checkpoint'] = async () => {}
  clients: Iterable<string> = []
  /** What happens once everything listens. */
  started: () => void = () => this.events.emit('SIGTERM')

  readonly start = async (config: Config, log: Logger): Promise<Running> => {
    this.config = config
    this.log = log
    setImmediate(() => this.started())
    return {
      config,
      mqtt: config.listeners.map(({ name, host, port: asked }) => {
        const port = asked === 0 ? 40_001 : asked
        return { name, url: `tcp://${host}:${port}`, port }
      }),
      sn: config.snListeners.map(({ name, host, port: asked }) => {
        const port = asked === 0 ? 40_002 : asked
        return { name, url: `udp://${host}:${port}`, port, broadcasts: undefined }
      }),
      http: config.http ? { url: `http://${config.httpHost}:1885`, port: 1885 } : undefined,
      store: config.memory ? 'memory' : config.dataDir,
      storeEngine: config.memory ? undefined : 'SQLite 3.50.0',
      memory: { limit: 1, told: 'Memory for clients: 1 B' },
      reload: () => this.reload(),
      checkpoint: () => this.checkpoint(),
      clientReport: () => this.clients,
      stop: () => {
        this.stops++
        return this.stop()
      },
    }
  }
}

import type { EventEmitter } from 'node:events'
import { isIPv6 } from 'node:net'
import { type Config, isLoopback, StartError } from '../config.ts'
import { createLog, type Logger } from './log.ts'
import type { Running } from './roost.ts'

/** The process as `serve` sees it, so that tests can stand in for it. */
export interface Host {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
  /** Whether standard output shows colours. */
  readonly color: boolean
  readonly cwd: string
  readonly version: string
  /** Signals and crashes: `process` itself. */
  readonly events: EventEmitter
  /** Ends the process at once. */
  exit(code: number): void
  /** Rejects with a StartError for what the user can mend. */
  start(config: Config, log: Logger): Promise<Running>
}

/** Exit codes of shells for a process that a signal ended. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const

/** Runs Roost until a signal ends it; gives the exit code. A second signal does not wait. */
export async function serve(config: Config, host: Host): Promise<number> {
  const log = createLog(config, host.stdout, host.color)
  const crashed = (error: unknown): void => {
    log.fatal({ err: error }, 'unexpected error')
    host.exit(1)
  }
  host.events.on('uncaughtException', crashed).on('unhandledRejection', crashed)
  const signals = listenForSignals(host)
  try {
    const running = await host.start(config, log)
    tellStart(log, config, running)
    log.info(`${await signals.first}: stopping`)
    await running.stop()
    log.info('stopped')
    return 0
  } catch (error) {
    if (error instanceof StartError) throw error
    log.fatal({ err: error }, 'unexpected error')
    return 1
  } finally {
    signals.stopListening()
    host.events.off('uncaughtException', crashed).off('unhandledRejection', crashed)
  }
}

function listenForSignals({ events, exit }: Host): { first: Promise<string>; stopListening: () => void } {
  let stopListening = (): void => {}
  const first = new Promise<string>((resolve) => {
    let stopping = false
    const on = Object.entries(SIGNALS).map(([signal, code]) => {
      const listener = (): void => {
        if (stopping) exit(code)
        stopping = true
        resolve(signal)
      }
      events.on(signal, listener)
      return { signal, listener }
    })
    stopListening = () => {
      for (const { signal, listener } of on) events.off(signal, listener)
    }
  })
  return { first, stopListening }
}

/** What listens where, who may connect, where the state is, and how to change each. */
function tellStart(log: Logger, config: Config, running: Running): void {
  const { mqtt, sn, store } = running
  log.info({ mqtt }, `MQTT broker on ${url('tcp', mqtt)} (change with --host, --port)`)
  log.info({ sn }, `MQTT-SN gateway ${config.gatewayId} on ${url('udp', sn)} (change with --sn-host, --sn-port)`)
  tellAccess(log, config, running)
  if (config.memory)
    log.info({ store }, 'State is kept in memory only, and gone at the end (change with --data-dir instead of --memory)')
  else log.info({ store }, `State is kept in ${config.dataDir} (change with --data-dir, or --memory to keep nothing)`)
}

function tellAccess(log: Logger, config: Config, { mqtt, sn }: Running): void {
  const open: string[] = []
  if (!isLoopback(config.host)) open.push(url('tcp', mqtt))
  if (!isLoopback(config.snHost)) open.push(url('udp', sn))
  if (open.length === 0) {
    log.info(
      'Anybody on this machine may connect; nobody else: both listen on loopback only. To open it: --host 0.0.0.0 --sn-host 0.0.0.0 --allow-anonymous',
    )
  } else {
    log.warn(
      `Anybody who reaches ${open.join(' or ')} may connect, without a password (--allow-anonymous). To close it: leave out --host and --sn-host`,
    )
  }
}

const url = (scheme: string, { host, port }: { host: string; port: number }): string =>
  `${scheme}://${isIPv6(host) ? `[${host}]` : host}:${port}`

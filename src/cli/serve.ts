import type { EventEmitter } from 'node:events'
import { StartError } from '../base/start-error.ts'
import {
  authenticates,
  type Config,
  certificateRole,
  DEFAULT_CONFIG,
  isLoopback,
  type ListenerConfig,
  type SnListenerConfig,
  sensorsAreOpen,
} from '../config/config.ts'
import { createLog, type Logger } from '../process/log.ts'
import { LogFile } from '../process/log-file.ts'
import type { ListeningSn, Running } from '../process/roost.ts'
import { StopError } from '../process/roost.ts'
import { ServiceManager } from '../process/service-manager.ts'

/** The environment of the commands: the process, or a substitute in tests. */
export interface Host {
  /** `rows`: of a terminal. `destroyed`: nobody reads it any more. */
  readonly stdout: { write(text: string | Uint8Array): unknown; readonly rows?: number; readonly destroyed?: boolean }
  readonly stderr: { write(text: string): unknown }
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean; setRawMode?(on: boolean): unknown }
  /** Whether standard output supports colours. */
  readonly color: boolean
  /** Whether systemd-journald reads standard output. */
  readonly journal?: boolean
  readonly cwd: string
  /** Environment variables; none if absent. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** The data directory where no option names one; `roost-data` if absent. */
  readonly dataDir?: string
  readonly version: string
  /** Signals and crashes: `process` itself. */
  readonly events: EventEmitter
  /** Signals received before the log was opened; none if absent. */
  readonly earlySignals?: ReadonlySet<string>
  /** Calls `ended` if npm has started this process, and has ended; returns how to stop watching. */
  readonly parent?: ((ended: () => void) => () => void) | undefined
  /** Whether the process was started on a terminal that has been closed. */
  readonly terminalIsGone?: () => boolean
  /** Ends the process immediately. */
  exit(code: number): void
  /** Starts Roost. Rejects with a StartError for errors that the user can correct. */
  start(config: Config, log: Logger): Promise<Running>
}

/** The data directory of commands without `--data-dir`: that of `roost serve` without one. */
export const defaultDir = ({ dataDir = DEFAULT_CONFIG.dataDir }: Host): string => dataDir

/** Exit codes that shells report for a process ended by a signal. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const
/**
 * Time in milliseconds that a signal waits for a start to complete. The start may wait for something that never comes,
 * for example room on the disk.
 */
export const START_PATIENCE_MS = 5000

/** Runs Roost until a signal ends it, and returns the exit code. A second signal ends the process immediately. */
export async function serve(config: Config, host: Host): Promise<number> {
  const file = config.logFile === undefined ? undefined : new LogFile(config.logFile)
  const log = file === undefined ? createLog(config, host.stdout, host.color, host.journal) : createLog(config, file, false)
  const crashed = (error: unknown): void => {
    log.fatal({ err: error }, 'unexpected error')
    host.exit(1)
  }
  host.events.on('uncaughtException', crashed).on('unhandledRejection', crashed)
  const manager = ServiceManager.from(host.env ?? {}, (line) => log.warn(line))
  const signals = listenForSignals(host)
  const onRequest = listenForRequests(host, log)
  // Until there is something to reload.
  const reopen = (): void => {
    const warning = file?.reopen()
    if (warning !== undefined) log.warn(warning)
  }
  let hangUp = (): void => {
    reopen()
    log.warn('SIGHUP: still starting')
  }
  host.events.on('SIGHUP', hangUp)
  if (host.earlySignals?.has('SIGHUP')) hangUp()
  try {
    const running = await Promise.race([host.start(config, log), signals.first.then(patience)])
    if ('why' in running) {
      log.warn(`${running.why}: stopped before the start was complete`)
      host.exit(running.code)
      return running.code
    }
    logStart(log, running)
    manager?.ready(running.mqtt.map(({ url }) => url).join(', '))
    host.events.off('SIGHUP', hangUp)
    onRequest.started(config, running)
    hangUp = () => {
      if (host.terminalIsGone?.() === true) {
        signals.end('SIGHUP, and the terminal is closed')
        return
      }
      reopen()
      void reload(log, running)
    }
    host.events.on('SIGHUP', hangUp)
    log.info(`${(await signals.first).why}: stopping`)
    manager?.stopping()
    await running.stop()
    onRequest.stopped()
    log.info('stopped')
    return 0
  } catch (error) {
    if (error instanceof StartError) throw error
    if (error instanceof StopError) {
      log.error(`stopped; ${error.message}`)
      return 1
    }
    log.fatal({ err: error }, 'unexpected error')
    return 1
  } finally {
    signals.stopListening()
    onRequest.stopListening()
    host.events.off('SIGHUP', hangUp)
    host.events.off('uncaughtException', crashed).off('unhandledRejection', crashed)
    file?.close()
    manager?.end()
  }
}

const patience = (end: End): Promise<End> => new Promise((resolve) => setTimeout(resolve, START_PATIENCE_MS, end).unref())

async function reload(log: Logger, running: Running): Promise<void> {
  const warnings = await running.reload()
  if (warnings === 'failed') return
  for (const warning of warnings) log.warn(warning)
  log.info('SIGHUP: passwords, access lists and certificates were reloaded')
}

/** Number of lines about clients that are logged in one turn of the event loop: about 2 ms. */
const LINES_PER_TURN = 50

/**
 * SIGUSR1 and SIGUSR2, with their meanings in Mosquitto. They are caught from the beginning, because Node.js would open its
 * debugger at the first, and end the process at the second.
 */
function listenForRequests(
  { events, earlySignals }: Host,
  log: Logger,
): { started: (config: Config, running: Running) => void; stopped: () => void; stopListening: () => void } {
  const requests = { SIGUSR1: writeCheckpoint, SIGUSR2: logClients } as const
  let about: readonly [Config, Running] | undefined
  const busy = new Set<string>()
  const on = Object.entries(requests).map(([signal, act]) => {
    const listener = (): void => {
      if (about === undefined) log.warn(`${signal}: still starting`)
      else if (busy.has(signal)) log.info(`${signal}: still at the one before`)
      else {
        busy.add(signal)
        void act(log, ...about).finally(() => busy.delete(signal))
      }
    }
    if (earlySignals?.has(signal)) listener()
    events.on(signal, listener)
    return { signal, listener }
  })
  return {
    started: (...running) => {
      about = running
    },
    stopped: () => {
      for (const signal of busy) log.info(`${signal}: Roost has stopped before it was complete`)
    },
    stopListening: () => {
      for (const { signal, listener } of on) events.off(signal, listener)
    },
  }
}

async function writeCheckpoint(log: Logger, config: Config, running: Running): Promise<void> {
  if (config.memory) {
    log.info('SIGUSR1: state is kept in memory only, there is nothing to write')
    return
  }
  log.info('SIGUSR1: writing a checkpoint of the store')
  await running.checkpoint()
  log.info(`SIGUSR1: everything is written to ${config.dataDir}`)
}

async function logClients(log: Logger, _config: Config, running: Running): Promise<void> {
  let count = 0
  for (const line of running.clientReport()) {
    log.info(`SIGUSR2: ${line}`)
    if (++count % LINES_PER_TURN === 0) await new Promise((next) => setImmediate(next))
  }
}

/** Why the process is to end, and the exit code if it has to end before it is ready. */
interface End {
  readonly why: string
  readonly code: number
}

interface Signals {
  readonly first: Promise<End>
  /** Ends the process as SIGTERM does. */
  end(why: string): void
  stopListening(): void
}

function listenForSignals({ events, exit, parent }: Host): Signals {
  let stopListening = (): void => {}
  let end: Signals['end'] = () => {}
  const first = new Promise<End>((resolve) => {
    let stopping = false
    end = (why) => {
      stopping = true
      resolve({ why, code: SIGNALS.SIGTERM })
    }
    const on = Object.entries(SIGNALS).map(([signal, code]) => {
      const listener = (): void => {
        if (stopping) exit(code)
        stopping = true
        resolve({ why: signal, code })
      }
      events.on(signal, listener)
      return { signal, listener }
    })
    const forget = parent?.(() => end('npm has ended'))
    stopListening = () => {
      for (const { signal, listener } of on) events.off(signal, listener)
      forget?.()
    }
  })
  return { first, end, stopListening }
}

/**
 * Logs the listeners, which clients may connect, where the state is kept, and the options that change each of these.
 */
function logStart(log: Logger, running: Running): void {
  const { config, mqtt, sn, http, store, storeEngine, memory } = running
  for (const [i, listening] of mqtt.entries()) {
    const listener = config.listeners[i]!
    const level = isClosed(listener) || (listener.allowAnonymous && !isLocal(listener)) ? 'warn' : 'info'
    log[level](
      { mqtt: listening },
      `MQTT broker on ${listening.url}: ${whoMayConnect(listener)} (change with ${listener.origin})`,
    )
  }
  for (const [i, listening] of sn.entries()) logSensorPort(log, config, config.snListeners[i]!, listening)
  if (config.upstream !== undefined) {
    const { targets, targetsOrigin } = config.upstream
    log.info({ upstream: targets }, `Sensors have their sessions at ${targets.join(', ')} (change with ${targetsOrigin})`)
  }
  if (http !== undefined)
    log.info({ http }, `HTTP on ${http.url}: console, metrics, health and API (change with --http-port, --http false)`)
  if (
    mqtt.length === 1 &&
    config.listeners[0]!.allowAnonymous &&
    isLocal(config.listeners[0]!) &&
    config.snListeners.every(isLocalSn)
  ) {
    log.info(
      'To open it to others: --host 0.0.0.0 --sn-host 0.0.0.0 with --password-file and --sn-username, or --allow-anonymous',
    )
  }
  log.info({ memoryLimit: memory.limit }, memory.told)
  if (config.memory)
    log.info({ store }, 'State is kept in memory only and lost at the end (change with --data-dir instead of --memory)')
  else
    log.info(
      { store },
      `State is kept in ${config.dataDir}, ${storeEngine} (change with --data-dir, or --memory to keep nothing)`,
    )
}

/**
 * True if no client can connect: after `allow_anonymous: false`, or an import of a configuration that admitted no
 * client.
 */
const isClosed = (listener: ListenerConfig): boolean =>
  !listener.allowAnonymous && !authenticates(listener) && certificateRole(listener) === 'none'

const isLocal = ({ host, socketPath }: ListenerConfig): boolean => socketPath !== undefined || isLoopback(host)

function whoMayConnect(listener: ListenerConfig): string {
  const reach = isLocal(listener) ? 'on this machine' : 'that can reach it'
  if (listener.allowAnonymous) return `any client ${reach} may connect without a password (allow_anonymous)`
  if (isClosed(listener))
    return 'no client can connect: allow_anonymous is false, and neither passwords, tokens nor certificates are configured'
  const proofs = [
    listener.passwordFile !== undefined && 'a password (password_file)',
    (listener.jwtSecretFile ?? listener.jwtPublicKeyFile ?? listener.jwtJwks) !== undefined && 'a token (jwt)',
    listener.httpAuthUrl !== undefined && 'the approval of the HTTP service (http_auth_url)',
    listener.loginHook === true && 'the approval of the hook authenticate (hooks)',
    listener.useIdentityAsUsername && 'a client certificate (use_identity_as_username)',
    listener.useSubjectAsUsername && 'a client certificate (use_subject_as_username)',
  ].filter((proof) => proof !== false)
  return `clients with ${proofs.join(' or ')} may connect`
}

function logSensorPort(log: Logger, config: Config, listener: SnListenerConfig, sn: ListeningSn): void {
  // Nobody opens a port to the network for no sensor at all: a password file has left them without a user.
  const deservesAttention = sensorsAreOpen(config) || hasNoSensors(config)
  const level = deservesAttention && listener.device === undefined && !isLocalSn(listener) ? 'warn' : 'info'
  const where = `MQTT-SN gateway ${config.gatewayId} on ${sn.url}`
  log[level]({ sn }, `${where}: ${whichSensorsMayConnect(config, listener)} (change with ${listener.origin})`)
  if (sn.broadcasts === undefined) return
  const every = Number.isFinite(listener.tAdv) ? `advertises itself every ${listener.tAdv} s` : 'can be searched for'
  const change = listener.device === undefined ? 't_adv, multicast_group' : 't_adv'
  log.info({ sn }, `${where}: ${every} ${sn.broadcasts} (change with ${change})`)
}

const isLocalSn = ({ device, host }: SnListenerConfig): boolean => device === undefined && isLoopback(host)

/** True if no sensor can connect, because none has a user. */
const hasNoSensors = (config: Config): boolean =>
  !sensorsAreOpen(config) && !config.loginHook && (config.snUsers ?? config.snUsername) === undefined

function whichSensorsMayConnect(config: Config, listener: SnListenerConfig): string {
  const reach = isLocalSn(listener) ? 'on this machine' : 'that can reach it'
  const { qosM1, qosM1Username, forwarders } = config
  if (sensorsAreOpen(config)) {
    const but = [qosM1 === false && 'no QoS -1', forwarders === false && 'no forwarders'].filter((what) => what !== false)
    return `sensors ${reach} may connect${but.length === 0 ? '' : ` (${but.join(', ')})`}`
  }
  // Ruling A31: sensors cannot authenticate.
  const sensors = config.loginHook
    ? 'sensors that the hook authenticate lets in may connect (hooks)'
    : hasNoSensors(config)
      ? 'no sensor may connect, because no user is configured for any (sn_users, sn_username)'
      : `sensors ${reach} with a user may connect (sn_users, sn_username)`
  const anybody = qosM1 !== false && qosM1Username !== undefined ? `as ${qosM1Username}` : 'no'
  return `${sensors}; QoS -1: ${anybody} (qos_m1_username), forwarders: ${forwarders === true ? 'yes' : 'no'} (forwarders)`
}

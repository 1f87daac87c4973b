import { randomInt } from 'node:crypto'
import { resolve } from 'node:path'
import { getHeapStatistics } from 'node:v8'
import { HookedAccess } from '../access/hooked-access.ts'
import { AccessFiles, rereadClientIds } from '../access/io/access-files.ts'
import { seedNames } from '../base/name-map.ts'
import type { Notice, NoticeSink } from '../base/notice.ts'
import { StartError } from '../base/start-error.ts'
import type { Config } from '../config/config.ts'
import { FIXED } from '../config/fixed.ts'
import { FileStamps } from '../config/io/file-stamps.ts'
import { openSensorUsers, rereadSensorRules } from '../config/io/sensor-users.ts'
import type { SensorRules } from '../gateway/sensor-rules.ts'
import type { ReloadResult } from '../http/exchange.ts'
import type { ClientEvents } from '../mqtt/client-events.ts'
import { Server } from '../server.ts'
import { MAX_BUFFERED_BYTES } from '../store/io/group-commit.ts'
import type { StoreNews } from '../store/io/protocol.ts'
import { SqliteStore } from '../store/io/sqlite-store.ts'
import { type Lsn, MemoryStore, type SessionKey, type Store } from '../store/store.ts'
import { Tracer } from '../trace/tracer.ts'
import { AccountChanges } from './account-changes.ts'
import { CertificateWatch } from './certificates.ts'
import { clientReport } from './client-report.ts'
import { conditionOptions } from './conditions.ts'
import { countContent, openContent } from './content.ts'
import { hookedConfig } from './hook-file.ts'
import { HookRunner, withEvents } from './hook-runner.ts'
import type { Hooks } from './hooks.ts'
import { type OpenHttp, openHttp, processStatus } from './http.ts'
import { HttpRunning } from './http-running.ts'
import { LagMonitor } from './lag.ts'
import { type OpenListener, openFilesWarning, openListeners } from './listeners.ts'
import type { Logger } from './log.ts'
import { noticeLogger } from './log.ts'
import { instant, Loop, readClocks, wallClock } from './loop.ts'
import { memoryLimits, processBound } from './memory-limit.ts'
import { openFilesLimit } from './open-files.ts'
import { serverOptions } from './server-options.ts'
import { SnPorts } from './sn-ports.ts'
import { startTraces, type Traces } from './trace.ts'

/** Maximum range of `randomInt`. */
const RANDOM_STEPS = 2 ** 48 - 1

/** The process ends, but its remaining work could not be completed. The message is one line. */
export class StopError extends Error {}

/** An open port for sensors. */
export interface ListeningSn {
  readonly name: string
  readonly url: string
  /** 0 for a serial device. */
  readonly port: number
  /** Where the gateway advertises itself, in words; undefined if nowhere. */
  readonly broadcasts: string | undefined
}

/** An open listener for MQTT clients. */
export interface ListeningMqtt {
  readonly name: string
  readonly url: string
  /** 0 for a Unix socket. */
  readonly port: number
}

export interface Running {
  /** The configuration in effect, with what hooks change in it. */
  readonly config: Config
  readonly mqtt: readonly ListeningMqtt[]
  readonly sn: readonly ListeningSn[]
  /** Undefined if it is switched off, or its port is taken and was not configured. */
  readonly http: { readonly url: string; readonly port: number } | undefined
  /** Directory of the state, or 'memory'. */
  readonly store: string
  /** Storage engine: `SQLite 3.51.3`; undefined for memory. */
  readonly storeEngine: string | undefined
  /** Limit on the memory for clients in bytes, and its explanation in words. */
  readonly memory: { readonly limit: number; readonly told: string }
  /**
   * Reloads passwords, access lists, keys and certificates, and applies them to connected clients too. Resolves to
   * warnings, or to 'failed' if a file is invalid; a Notice has reported that, and nothing has changed. Concurrent
   * calls run one after the other.
   */
  reload(): Promise<readonly string[] | 'failed'>
  /**
   * Writes everything that the store has accepted into the rows of the database file. Nothing depends on it: what was acknowledged
   * is on the disk already. Resolves when it is done, in memory mode at once.
   */
  checkpoint(): Promise<void>
  /** Yields a line for each client, and at last one with the totals; a step is short, so take a few in each turn of the event loop. */
  clientReport(): Iterable<string>
  /**
   * Shuts down cleanly and keeps the state. Rejects if pending data could not be stored. Further calls return the same
   * promise.
   */
  stop(): Promise<void>
}

/** What the caller of `startProcess` adds to the configuration. */
export interface StartProcessOptions {
  /** Published as `$SYS/broker/version`. */
  readonly version?: string | undefined
  /** Called with each Notice, within a turn of the server: it must only note it. */
  readonly onNotice?: NoticeSink | undefined
  /** Functions of the program, in place of a file (`hooks`). */
  readonly hooks?: Hooks | undefined
  /** Told about the life of clients, within a turn of the server: it must only note it. */
  readonly events?: ClientEvents | undefined
}

/** The parts of the running process, for a program that the broker is part of. */
export interface Inside {
  readonly server: Server
  readonly loop: Loop
  /** Names of all listeners and ports for sensors. */
  readonly listeners: readonly string[]
  /** As `Running.reload`, with the reason for which it has failed. */
  reload(): Promise<ReloadResult>
  /** Resolves to true once the record is durable; false: the store was closed before. */
  durable(lsn: Lsn): Promise<boolean>
}

/** With its parts, for a program that uses it from inside. */
export interface RunningInside extends Running {
  readonly inside: Inside
}

/**
 * Starts broker and gateway as configured.
 * @throws StartError with one line for the user, which names the flag
 */
export async function startProcess(given: Config, log: Logger, options: StartProcessOptions = {}): Promise<RunningInside> {
  const { version, onNotice, events } = options
  const { config, hooks: functions } = await hookedConfig(given, options.hooks)
  const api = new HttpRunning(config.http)
  const logged = noticeLogger(log, config.logRate)
  const toApi = api.reporting(logged)
  const reported: NoticeSink =
    onNotice === undefined
      ? toApi
      : (each) => {
          toApi(each)
          onNotice(each)
        }
  seedNames(randomInt(2 ** 32), randomInt(2 ** 32))
  // The store and the access rules report to a loop and a server that are created after them.
  let loop: Loop | undefined
  let server: Server | undefined
  const notice: NoticeSink = (each) => (server?.notice ?? reported)(each)
  const stamps = new FileStamps(config)
  const hooks = functions && new HookRunner(functions, notice)
  const access = new AccessFiles(config, notice, hooks?.authenticates === true ? (login) => hooks.login(login) : undefined)
  const openFiles = openFilesWarning(config, openFilesLimit())
  const memory = memoryLimits(config, processBound())
  for (const warning of [...access.warnings, openFiles, memory.warning]) if (warning !== undefined) log.warn(warning)
  const { policy } = access
  const content = await openContent(config)
  const users = openSensorUsers(config, {
    isTaken: (username) => policy.hasPassword(username),
    isBanned: (route, clientId) => policy.bans.hasPeer(route) || (clientId !== undefined && policy.bans.hasId(clientId)),
  })
  const lag = new LagMonitor()
  const store = await openStore(config, {
    notice,
    maxBufferedBytes: Math.max(BUFFERED_LEAST, Math.min(MAX_BUFFERED_BYTES, memory.limits.memoryLimit * STORE_PART)),
    version,
    onDurable: () => {
      loop?.handle({ kind: 'durable' })
      api.waits.advanced()
    },
    hasSession: (key) => server?.broker.sessions.byKey(key)?.persistent === true,
  })
  server = new Server({
    ...serverOptions(config, users, access),
    access: hooks?.core.authorize === undefined ? policy : new HookedAccess(policy, hooks.core.authorize),
    hooks: withEvents(hooks?.core, events),
    content: content.check,
    conditions: conditionOptions(config, content.contents),
    memory: memory.limits,
    store,
    clock: wallClock(),
    notice: reported,
    random: () => randomInt(RANDOM_STEPS) / RANDOM_STEPS,
    version: version === undefined ? 'roost' : `roost version ${version}`,
    processFigures: () => ({ heapBytes: heapBytes(), eventLoopLagMs: lag.lag }),
  })
  countContent(content, server.memory)
  const tracer = new Tracer(server)
  const certificates = new CertificateWatch(config)
  api.waits.store = store
  let ports: SnPorts | undefined
  let http: OpenHttp | undefined
  let traces: Traces | undefined
  try {
    // It answers while the state is restored, to say that Roost is not ready.
    const status = processStatus({
      version,
      store,
      maxDataBytes: config.maxDataBytes,
      lag,
      phase: api,
      certificates,
      snPorts: () => ports,
    })
    const opened = await openHttp(config, server, { status, running: api, tracer, access, sensorUsers: users })
    if (typeof opened === 'string') log.warn(opened)
    else http = opened
    for (const warning of http?.warnings ?? []) log.warn(warning)
    await recover(server, store)
    loop = new Loop(server)
    api.loop = loop
    loop.authenticateBy(access.authenticator)
    if (hooks !== undefined) loop.askBy(hooks)
    const weak = config.memory ? undefined : access.keepSecretIn(config.dataDir)
    if (weak !== undefined) log.warn(weak)
    // A partial access list may look complete, and allow what its missing part denies.
    const changed = stamps.changed()
    if (changed !== undefined) throw new StartError(`${changed}: changed while it was read; start again when it is complete`)
    const started = startTraces(config, log, tracer)
    traces = started
    server.memory.count('output_buffers', () => started.bytes)
    // The listeners are opened only after the state has been restored.
    const listeners = await openListeners(config, loop, notice)
    const snPorts = await SnPorts.open(config, loop, notice).catch(async (error: unknown) => {
      await Promise.all(listeners.map(({ listener }) => listener.close()))
      throw error
    })
    ports = snPorts
    server.memory.count('receive_buffers', () => snPorts.waitingBytes)
    lag.start(FIXED.max_event_loop_lag_ms.value, (on) => loop?.handle({ kind: 'overloaded', on }), http !== undefined)
    certificates.start(server.notice)
    loop.flush()
    api.notReady = undefined
    return running(config, {
      ...{ loop, server, store, notice: logged, access, users, listeners, snPorts, lag, memory, traces: started },
      ...{ http, api, certificates, hooks },
    })
  } catch (error) {
    lag.stop()
    certificates.stop()
    traces?.stop()
    hooks?.stop()
    await http?.close()
    await closeStore(store).finally(() => loop?.stop())
    throw error instanceof StartError ? error : new StartError((error as Error).message)
  }
}

/**
 * Restores the state. The store is read while its thread checks it; the server resumes only after the check has
 * succeeded.
 */
async function recover(server: Server, store: Store): Promise<void> {
  try {
    if (store instanceof SqliteStore) for await (const records of store.replayAlong()) server.replay(records)
    else server.replay()
  } finally {
    // The reason for which a store is refused is more helpful than errors that occurred while reading it.
    if (store instanceof SqliteStore) await store.opened.catch(refusedStart)
  }
  server.resume(instant(), readClocks())
}

function refusedStart(error: Error): never {
  throw new StartError(`${error.message} (--data-dir)`)
}

interface Parts {
  readonly loop: Loop
  readonly server: Server
  readonly store: Store
  readonly notice: ReturnType<typeof noticeLogger>
  readonly access: AccessFiles
  readonly users: SensorRules
  readonly listeners: readonly OpenListener[]
  readonly snPorts: SnPorts
  readonly http: OpenHttp | undefined
  readonly api: HttpRunning
  readonly certificates: CertificateWatch
  readonly lag: LagMonitor
  readonly memory: ReturnType<typeof memoryLimits>
  readonly traces: Traces
  readonly hooks: HookRunner | undefined
}

/** Time in milliseconds for which files must stay unchanged after they were read. */
const QUIET_MS = 50

/** Reloads all files. Everything is read before anything takes effect. */
async function reload(config: Config, parts: Parts): Promise<ReloadResult> {
  const { loop, server, access, users, listeners, http } = parts
  try {
    const stamps = new FileStamps(config)
    const rules = await rereadSensorRules(config)
    const clientIds = await rereadClientIds(config)
    if (rules.length === 0 && users.count > 0)
      throw new StartError(`${config.snUsers}: contains no rule any more: all sensors would be excluded (sn_users)`)
    const inForce = [
      access.prepareReload(clientIds),
      () => users.replace(rules),
      ...(await Promise.all(listeners.map(({ listener }) => listener.prepareReload()))),
      ...(http === undefined ? [] : [http.prepareReload()]),
    ]
    // A program that is still writing a file writes again within this time.
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS))
    const changed = stamps.changed()
    if (changed !== undefined) throw new StartError(`${changed}: changed while it was read; send SIGHUP when it is complete`)
    for (const put of inForce) put()
  } catch (error) {
    const reason = `nothing has changed, and the rules from before stay in force: ${(error as Error).message}`
    server.notice({ code: 'reload-failed', level: 'error', reason })
    return { error: reason }
  }
  loop.handle({ kind: 'access-changed' })
  parts.certificates.reload()
  const weak = config.memory ? undefined : access.keepSecretIn(config.dataDir)
  return { warnings: [...access.warnings, ...(http?.warnings ?? []), ...(weak === undefined ? [] : [weak])] }
}

function running(config: Config, parts: Parts): RunningInside {
  const { loop, server, store, notice, listeners, snPorts, http, api, lag } = parts
  let reloading: Promise<unknown> = Promise.resolve()
  const stop = async (): Promise<void> => {
    // Applying new rules requires an open store.
    await reloading
    api.notReady = 'Roost is stopping'
    lag.stop()
    parts.certificates.stop()
    await inPieces(parts, () => server.publishWills(instant()))
    await inPieces(parts, () => server.shutDown(instant()))
    loop.stop()
    parts.hooks?.stop()
    await Promise.all([...listeners.map(({ listener }) => listener.close()), snPorts.close(), http?.close()])
    await closeStore(store).finally(() => {
      // What became durable in the end has set its timers again.
      loop.stop()
      api.waits.closed()
    })
    parts.traces.stop()
    notice.flush()
  }
  let stopped: Promise<void> | undefined
  // What reads files takes effect in the order in which it has read them.
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = reloading.then(work)
    reloading = next.catch(() => {})
    return next
  }
  const reloadInTurn = (): Promise<ReloadResult> => inTurn(() => reload(config, parts))
  const accounts = new AccountChanges({ ...parts, inTurn, isStopping: () => api.notReady !== undefined })
  api.reload = reloadInTurn
  api.changeAccount = (change) => accounts.change(change)
  return {
    config,
    mqtt: listeners.map(({ config: { name }, url, listener: { address } }) => ({ name, url, port: address.port })),
    sn: snPorts.all.map(({ name, url, port, broadcasts }) => ({ name, url, port, broadcasts })),
    http: http && { url: http.url, port: http.port },
    store: config.memory ? 'memory' : resolve(config.dataDir),
    storeEngine: config.memory ? undefined : SqliteStore.engine,
    memory: { limit: parts.memory.limits.memoryLimit, told: parts.memory.told },
    reload: async () => {
      const result = await reloadInTurn()
      return 'error' in result ? 'failed' : result.warnings
    },
    checkpoint: async () => {
      if (store instanceof SqliteStore) await store.checkpoint()
    },
    clientReport: () => clientReport(server),
    inside: {
      listeners: [...config.listeners, ...config.snListeners].map(({ name }) => name),
      server,
      loop,
      reload: reloadInTurn,
      durable: (lsn) => api.waits.until(lsn),
    },
    stop: () => {
      stopped ??= stop()
      return stopped
    },
  }
}

/** Maximum duration of each half of the shutdown in milliseconds. The next process completes the rest. */
const HALF_STOP_MS = 5_000
/** Interval in milliseconds between two checks for room in the store. */
const ROOM_MS = 20

/**
 * Does one piece of work per turn of the event loop, while the store has room, until `piece` returns true or the time
 * is up.
 */
async function inPieces({ loop, store }: Parts, piece: () => boolean): Promise<void> {
  const until = instant() + HALF_STOP_MS
  while (!piece() && instant() < until) {
    loop.flush()
    await new Promise((next) => (store.hasRoom ? setImmediate(next) : setTimeout(next, ROOM_MS)))
  }
  loop.flush()
}

/** Returns the bytes in use by objects and by buffers outside the heap, such as those of messages. */
function heapBytes(): number {
  const { used_heap_size: objects, external_memory: buffers } = getHeapStatistics()
  return objects + buffers
}

/** Share of the memory, and minimum in bytes, for records that are not durable yet. */
const STORE_PART = 0.25
const BUFFERED_LEAST = 4 * 1024 * 1024

interface StoreListener {
  readonly maxBufferedBytes: number
  readonly notice: NoticeSink
  readonly version: string | undefined
  onDurable(): void
  hasSession(key: SessionKey): boolean
}

/** Returns a store that can be read. It is open once `opened` has resolved. */
async function openStore(config: Config, listener: StoreListener): Promise<Store> {
  const { notice, version, maxBufferedBytes, onDurable, hasSession } = listener
  if (config.memory) return new MemoryStore()
  let isDamaged = false
  try {
    return await SqliteStore.openToRead(config.dataDir, {
      durability: config.durability,
      maxBytes: config.maxDataBytes,
      passesOn: true,
      maxBufferedBytes,
      writtenBy: version === undefined ? 'roost' : `roost ${version}`,
      onDurable,
      hasSession,
      onFailed: (reason) => {
        // The damage and its remedy have been reported already.
        if (isDamaged) return
        notice({ code: 'store-failed', level: 'error', reason: `${reason}; nothing is acknowledged until it works again` })
      },
      onRecovered: () => notice({ code: 'store-recovered', level: 'warn', reason: 'the store works again' }),
      onNews: (news) => {
        isDamaged ||= news.kind === 'damaged'
        notice(storeNotice(news, config.dataDir))
      },
    })
  } catch (error) {
    return refusedStart(error as Error)
  }
}

function storeNotice({ kind, reason }: StoreNews, dir: string): Notice {
  switch (kind) {
    case 'full':
      return { code: 'store-full', level: 'error', reason: `${reason}; until there is room only what ends something is taken in` }
    case 'fold-failed':
      return {
        code: 'store-failed',
        level: 'error',
        reason: `${reason}; the log keeps everything, and grows until that works again`,
      }
    case 'blocked':
    case 'wal-held':
      return { code: 'store-blocked', level: 'warn', reason }
    case 'damaged':
      return {
        code: 'store-damaged',
        level: 'error',
        reason: `${reason}; nothing is written or acknowledged any more: stop Roost, and see roost store check ${dir}`,
      }
    case 'recovered':
      return { code: 'store-recovered', level: 'warn', reason }
  }
}

async function closeStore(store: Store): Promise<void> {
  try {
    if (store instanceof SqliteStore) await store.close()
  } catch (error) {
    throw new StopError((error as Error).message)
  }
}

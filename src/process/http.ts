import { readFileSync } from 'node:fs'
import process from 'node:process'
import { getHeapStatistics } from 'node:v8'
import type { AccessFiles } from '../access/io/access-files.ts'
import type { PasswordEntry } from '../access/password-file.ts'
import { StartError } from '../base/start-error.ts'
import { type Config, certificateRole, isLoopback, type ListenerConfig } from '../config/config.ts'
import type { SensorRules } from '../gateway/sensor-rules.ts'
import type { Accounts } from '../http/accounts.ts'
import { consoleRoutes } from '../http/console.ts'
import { effectiveConfig } from '../http/effective-config.ts'
import type { Role } from '../http/exchange.ts'
import { HttpUsers } from '../http/io/http-users.ts'
import { routesOf } from '../http/routes.ts'
import type { ProcessStatus } from '../http/status.ts'
import type { Server } from '../server.ts'
import { SqliteStore } from '../store/io/sqlite-store.ts'
import type { Store } from '../store/store.ts'
import type { Tracer } from '../trace/tracer.ts'
import type { CertificateWatch } from './certificates.ts'
import { HTTP_PORT } from './http-port.ts'
import type { HttpRunning } from './http-running.ts'
import type { LagMonitor } from './lag.ts'
import { cannotListen, ownNames } from './listeners.ts'
import { openFilesCount, openFilesLimit } from './open-files.ts'
import type { SnPorts } from './sn-ports.ts'

/** The open HTTP service. */
export interface OpenHttp {
  readonly url: string
  readonly port: number
  /** About its users; they change with a reload. */
  readonly warnings: readonly string[]
  prepareReload(): () => void
  /** If this is `http_password_file`, puts its new users into force. */
  replacePasswords(path: string, users: ReadonlyMap<string, PasswordEntry>): void
  close(): Promise<void>
}

/** What the HTTP service shows besides the server. */
export interface HttpParts {
  readonly status: ProcessStatus
  readonly running: HttpRunning
  readonly tracer: Tracer
  readonly access: AccessFiles
  readonly sensorUsers: SensorRules
}

/**
 * Opens the HTTP service. Returns a line that says why it runs without it, if the port is taken that nobody asked for by name, and
 * undefined if it is switched off. @throws StartError
 */
export async function openHttp(
  config: Config,
  server: Server,
  { status, running, tracer, access, sensorUsers }: HttpParts,
): Promise<OpenHttp | string | undefined> {
  const { notices } = running
  if (notices === undefined) return undefined
  server.memory.count('notices', () => running.notices?.bytes ?? 0)
  // Only where it is used, because it takes a fifth of a second and 10 MB.
  const { HttpServer } = await import('../http/io/http-server.ts')
  const { readConsole } = await import('../http/io/console-files.ts')
  const { httpHost: host, httpPort, httpCertfile: certfile, httpKeyfile: keyfile } = config
  const { notice } = server
  const users = new HttpUsers(config, openRole(config), notice)
  const port = httpPort ?? HTTP_PORT
  try {
    const listener = await HttpServer.listen({
      host,
      port,
      ...(certfile !== undefined && keyfile !== undefined && { tls: { certfile, keyfile } }),
      names: [...ownNames({ host }), ...config.httpHosts],
      users,
      routes: [
        ...routesOf({
          server,
          status,
          notices,
          tracer,
          wallNow: Date.now,
          // Limits that follow from the memory of this machine are 0 in the files.
          config: effectiveConfig({ ...config, ...server.memory.limits }),
          access: access.policy,
          sensors: { rules: sensorUsers, file: config.snUsers, username: config.snUsername },
          accounts: accountsOf(config, access, users),
        }),
        ...consoleRoutes(readConsole()),
      ],
      running,
      notice,
    })
    server.memory.count('output_buffers', () => listener.outputBytes)
    return {
      url: `${listener.scheme}://${host.includes(':') ? `[${host}]` : host}:${listener.port}`,
      port: listener.port,
      get warnings() {
        return users.warnings
      },
      prepareReload: () => listener.prepareReload(),
      replacePasswords: (path, passwords) => {
        if (path === config.httpPasswordFile) listener.replacePasswords(passwords)
      },
      close: () => listener.close(),
    }
  } catch (error) {
    if (error instanceof StartError) throw error
    const failure = cannotListen(error, host, port, '--http-host, --http-port')
    if (httpPort !== undefined || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw failure
    running.notices = undefined
    return `${failure.message}: Roost runs without its HTTP service`
  }
}

/** The users who have a password. */
function accountsOf({ listeners, httpPasswordFile, httpManagers }: Config, access: AccessFiles, users: HttpUsers): Accounts {
  const namesOf = (path: string): string[] =>
    listeners.filter(({ passwordFile }) => passwordFile === path).map(({ name }) => name)
  return {
    get files() {
      const mqtt = Array.from(access.passwordFiles, ([path, passwords]) => ({
        kind: 'mqtt' as const,
        path,
        listeners: namesOf(path),
        users: passwords,
      }))
      const { passwords } = users
      if (httpPasswordFile === undefined || passwords === undefined) return mqtt
      return [...mqtt, { kind: 'http' as const, path: httpPasswordFile, listeners: [], users: passwords }]
    },
    managers: new Set(httpManagers),
    get isOpen() {
      return users.isOpen
    },
  }
}

/**
 * Where no user is configured, what anyone on this machine may do: everything, if by MQTT anyone on it may do everything without a
 * login. The permissions of a Unix socket, an access list, a certificate or hooks keep users of this machine apart, of which HTTP
 * knows nothing.
 */
export const openRole = ({ aclFile, hooks, listeners }: Pick<Config, 'aclFile' | 'hooks' | 'listeners'>): Role =>
  aclFile === undefined && hooks === undefined && listeners.every(isForAll) ? 'manage' : 'view'

const isForAll = (listener: ListenerConfig): boolean =>
  listener.allowAnonymous &&
  listener.socketPath === undefined &&
  isLoopback(listener.host) &&
  listener.aclFile === undefined &&
  listener.requireCertificate !== 'required' &&
  certificateRole(listener) !== 'needed'

/** What the process can say of itself. */
export interface StatusSources {
  readonly version: string | undefined
  readonly store: Store
  readonly maxDataBytes: number
  readonly lag: LagMonitor
  readonly certificates: CertificateWatch
  /** Why the process is not ready, apart from the store. */
  readonly phase: { readonly notReady: string | undefined }
  snPorts(): SnPorts | undefined
}

export function processStatus({ version, store, maxDataBytes, lag, phase, certificates, snPorts }: StatusSources): ProcessStatus {
  const startedAt = Date.now() / 1000 - process.uptime()
  return {
    version: version ?? '',
    startedAt,
    notReady: () => phase.notReady ?? (store instanceof SqliteStore ? store.trouble : undefined),
    memory: () => {
      const { used_heap_size: objects, external_memory: buffers } = getHeapStatistics()
      return { heap: objects + buffers, resident: process.memoryUsage.rss() }
    },
    cpuSeconds: () => {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1e6
    },
    openFiles,
    eventLoopDelay: lag.delays,
    certificates: () => certificates.expiries,
    droppedDatagrams: () => droppedBy(snPorts()),
    store: () =>
      store instanceof SqliteStore
        ? {
            commitSeconds: store.commitSeconds,
            usedBytes: store.usedBytes,
            maxBytes: maxDataBytes,
            waitingBytes: store.waitingBytes,
          }
        : undefined,
  }
}

function openFiles(): { used: number; limit: number } | undefined {
  const limit = openFilesLimit()
  return limit === undefined ? undefined : { used: openFilesCount(), limit }
}

/** Reads the kernel's counts of the UDP sockets on these ports [proc_net(5), the last column of net/udp]. */
function droppedBy(ports: SnPorts | undefined): ReadonlyMap<string, number> {
  const lines = ['udp', 'udp6'].flatMap((name) => {
    try {
      return readFileSync(`/proc/self/net/${name}`, 'utf8').split('\n').slice(1)
    } catch {
      return []
    }
  })
  const drops = new Map<number, number>()
  for (const line of lines) {
    const fields = line.trim().split(/\s+/)
    const port = Number.parseInt(fields[1]?.split(':')[1] ?? '', 16)
    if (Number.isInteger(port)) drops.set(port, (drops.get(port) ?? 0) + Number(fields.at(-1)))
  }
  return new Map((ports?.all ?? []).filter(({ port }) => drops.has(port)).map(({ name, port }) => [name, drops.get(port)!]))
}

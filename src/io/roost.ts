import { resolve } from 'node:path'
import { LmdbStore } from '../base/io/lmdb-store.ts'
import type { NoticeSink } from '../base/notice.ts'
import { MemoryStore, type Store } from '../base/store.ts'
import { type Config, StartError } from '../config.ts'
import { UdpPort } from '../gateway/io/udp.ts'
import { type Listener, listen } from '../mqtt/io/listen.ts'
import { MESSAGE_BYTES_MAX } from '../mqttsn/encode.ts'
import { Server, type ServerOptions } from '../server.ts'
import type { Logger } from './log.ts'
import { noticeLogger } from './log.ts'
import { instant, Loop, wallClock } from './loop.ts'

/** Where something listens. */
export interface Listening {
  readonly host: string
  readonly port: number
}

export interface Running {
  readonly mqtt: Listening
  readonly sn: Listening
  /** Directory that keeps the state, or 'memory'. */
  readonly store: string
  /** Ends the process's part in everything, cleanly; state is kept. Rejects if what was left could not be stored. */
  stop(): Promise<void>
}

/** Starts broker and gateway as configured. @throws StartError: one line for the user, that names the flag. */
export async function startRoost(config: Config, log: Logger): Promise<Running> {
  const notice = noticeLogger(log)
  // The store tells its news to a loop that needs the server that needs the store.
  let loop: Loop | undefined
  const store = await openStore(config, notice, () => loop?.handle({ kind: 'durable' }))
  const server = new Server({ ...serverOptions(config), store, clock: wallClock(), notice, random: Math.random })
  try {
    server.recover(instant())
    loop = new Loop(server)
    // The listeners open only when everything that was kept is there again.
    const tcp = await listenTcp(config, loop, notice)
    const udp = await bindUdp(config, loop, notice).catch(async (error: unknown) => {
      await tcp.close()
      throw error
    })
    loop.flush()
    return running(config, { loop, server, store, notice, tcp, udp })
  } catch (error) {
    await closeStore(store)
    throw error instanceof StartError ? error : new StartError((error as Error).message)
  }
}

interface Parts {
  readonly loop: Loop
  readonly server: Server
  readonly store: Store
  readonly notice: ReturnType<typeof noticeLogger>
  readonly tcp: Listener
  readonly udp: UdpPort
}

function running(config: Config, { loop, server, store, notice, tcp, udp }: Parts): Running {
  return {
    mqtt: { host: config.host, port: tcp.address.port },
    sn: { host: config.snHost, port: udp.address.port },
    store: config.memory ? 'memory' : resolve(config.dataDir),
    stop: async () => {
      server.publishWills(instant())
      loop.flush()
      server.shutDown(instant())
      loop.flush()
      loop.stop()
      await Promise.all([tcp.close(), udp.close()])
      await closeStore(store)
      notice.flush()
    },
  }
}

async function openStore(config: Config, notice: NoticeSink, onDurable: () => void): Promise<Store> {
  if (config.memory) return new MemoryStore()
  try {
    return await LmdbStore.open(config.dataDir, {
      onDurable,
      onFailed: (reason) =>
        notice({ code: 'store-failed', level: 'error', reason: `${reason}; nothing is acknowledged until it works again` }),
      onRecovered: () => notice({ code: 'store-recovered', level: 'warn', reason: 'the store works again' }),
    })
  } catch (error) {
    throw new StartError(`${(error as Error).message} (--data-dir)`)
  }
}

const closeStore = async (store: Store): Promise<void> => {
  if (store instanceof LmdbStore) await store.close()
}

const listenTcp = (config: Config, loop: Loop, notice: NoticeSink): Promise<Listener> => {
  const { host, port, maxConnections, socketBufferBytes, maxPacketSize } = config
  const stream = { protocol: 'mqtt', proxyProtocol: false, noDelay: true } as const
  const options = { name: 'mqtt', ...stream, host, port, maxConnections, socketBufferBytes, maxPacketSize }
  return listen(options, loop, notice).catch((error: unknown) => {
    throw cannotListen(error, host, port, '--host', '--port')
  })
}

const bindUdp = (config: Config, loop: Loop, notice: NoticeSink): Promise<UdpPort> =>
  UdpPort.bind({ host: config.snHost, port: config.snPort }, loop, notice).catch((error: unknown) => {
    throw cannotListen(error, config.snHost, config.snPort, '--sn-host', '--sn-port')
  })

function cannotListen(error: unknown, host: string, port: number, hostFlag: string, portFlag: string): StartError {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'EADDRINUSE') return new StartError(`port ${port} on ${host} is already in use (${portFlag})`)
  if (code === 'EACCES') return new StartError(`port ${port} on ${host} needs more rights than this user has (${portFlag})`)
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
    return new StartError(`${host} is no address of this machine (${hostFlag})`)
  return new StartError(`cannot listen on ${host}:${port}: ${message} (${hostFlag}, ${portFlag})`)
}

/** The configuration, in the units and the shape that the core works with. */
export function serverOptions(config: Config): Pick<ServerOptions, 'broker' | 'connections' | 'gateway'> {
  return {
    broker: config,
    connections: {
      maxPacketSize: config.maxPacketSize,
      maxConnectPacketSize: config.maxConnectPacketSize,
      connectTimeoutMs: config.connectTimeoutSeconds * 1000,
      maxConnections: config.maxConnections,
      maxKeepAlive: config.maxKeepalive,
    },
    gateway: {
      gatewayId: config.gatewayId,
      tRetryMs: config.tRetry * 1000,
      nRetry: config.nRetry,
      sessionExpirySeconds: config.persistentClientExpiration,
      maxSessions: config.maxSnSessions,
      maxIdleMs: Number.isFinite(config.maxSnIdleSeconds) ? config.maxSnIdleSeconds * 1000 : 0,
      topicsPerClient: config.maxSnTopicsPerClient,
      sleepMargin: config.sleepMargin,
      wakeMessages: config.wakeMessages,
      qos2HoldDownMs: config.qos2HoldDownSeconds * 1000,
      unknownSenderPerSecond: config.unknownSenderRepliesPerSecond,
      predefinedTopics: config.predefinedTopics,
      maxDatagram: MESSAGE_BYTES_MAX,
    },
  }
}

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { type Network, withoutMapping } from '../../base/networks.ts'
import type { Notice, NoticeSink } from '../../base/notice.ts'
import { forwardedPeer, type OriginPolicy } from '../../base/origins.ts'
import type { StreamInfo } from '../connection.ts'
import type { ProxyHeader } from '../proxy-protocol.ts'
import { takeProxyHeader } from './proxy-header.ts'
import { openSocketStream, type SocketStream, type StreamOptions } from './socket-stream.ts'
import type { StreamHost } from './stream-host.ts'
import { type TlsOptions, TlsTerminator } from './tls.ts'
import { listenOnPath } from './unix-socket.ts'
import { openWebSocketStream, WebSocketUpgrade } from './websocket.ts'

export interface ListenOptions {
  /** `LinkInfo.listener` of all its clients. */
  readonly name: string
  readonly protocol: 'mqtt' | 'websockets'
  readonly host: string
  /** 0 selects a free one. */
  readonly port: number
  /** Path of a Unix socket, instead of host and port. */
  readonly socketPath?: string
  /** Permissions of the socket file, 0o770 by default: write permission allows connecting. */
  readonly socketMode?: number
  readonly tls?: TlsOptions
  /**
   * Every connection starts with a PROXY header, version 1 or 2, with the client's address. Only the proxy may reach the
   * listener: anyone else could claim any address.
   */
  readonly proxyProtocol: boolean
  /** With proxyProtocol and without tls: the common name reported by a verifying proxy becomes `LinkInfo.identity`. */
  readonly useProxyIdentityAsUsername?: boolean
  /** WebSocket upgrades of this URL path only, if given. */
  readonly path?: string
  /** Pages that may connect over WebSocket; all, if not given. */
  readonly origins?: OriginPolicy
  /** Proxies whose X-Forwarded-For gives the address of a WebSocket client. */
  readonly trustedProxies?: readonly Network[]
  /** Maximum connections of this listener, at least 1; more are closed immediately. */
  readonly maxConnections: number
  /**
   * Descriptors of the process up to which connections are accepted; beyond, they are refused with a notice. No limit by default.
   */
  readonly maxDescriptor?: number | undefined
  /** Bytes queued in one socket above which its link stops listening; at least 16 KiB. */
  readonly socketBufferBytes: number
  /** Milliseconds after which a connection is closed if its socket accepts nothing of what is queued; a minute by default. */
  readonly writeTimeoutMs?: number
  /** Whether small packets are sent immediately (set_tcp_nodelay); Nagle's algorithm would delay acknowledgements by 40 ms. */
  readonly noDelay: boolean
  /** Maximum size of an MQTT packet: limits a WebSocket message. */
  readonly maxPacketSize: number
  /** Milliseconds for PROXY header, TLS handshake and upgrade together; the time for CONNECT starts after them. */
  readonly connectTimeoutMs?: number
}

export interface Listener {
  /** The address it listens on: `path` of a Unix socket, otherwise `host` and `port`. */
  readonly address: { readonly host: string; readonly port: number; readonly path?: string }
  /**
   * Reads certificate, key, CAs and revocation lists again; the returned function applies them to new connections. Open ones are
   * not affected. @throws StartError that names option and file
   */
  prepareReload(): Promise<() => void>
  /** Stops listening; open connections end by themselves or after a second. */
  close(): Promise<void>
}

/**
 * Opens a listener that passes MQTT streams to the host. @throws StartError for files and Unix sockets; the system's error
 * (`EADDRINUSE`, ...) for host and port.
 */
export async function listen(options: ListenOptions, host: StreamHost, notice: NoticeSink): Promise<Listener> {
  const listener = new StreamListener(options, host, notice)
  await listener.open()
  return listener
}

const CONNECT_TIMEOUT_MS = 10_000
const WRITE_TIMEOUT_MS = 60_000

/** Backlog of the kernel while the process is busy: after a power cut a whole site connects at the same time. */
const BACKLOG = 4096

/** A connection from its accept to its end. */
interface Arrival {
  peer: string
  identity: string | undefined
  /** The stages left before it is a stream; undefined once it is one, or was refused. */
  waitsFor: 'PROXY header' | 'TLS handshake' | 'WebSocket upgrade' | undefined
  /** Among the connections, while it is no stream yet. */
  counts: boolean
  isStream: boolean
  /** Ends it if it is no stream in time. */
  readonly timer: NodeJS.Timeout
}

/**
 * The number of the socket's descriptor; -1 where there is none, as on Windows. Without any left, Node itself accepts and closes
 * connections, and reports that nowhere.
 */
const descriptorOf = (socket: Socket): number =>
  (socket as Socket & { readonly _handle?: { readonly fd?: number } | null })._handle?.fd ?? -1

interface RemoteAddress {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}

/** Every socket passes PROXY header, TLS and WebSocket upgrade, as configured, and then is a stream. */
class StreamListener implements Listener {
  readonly #options: ListenOptions
  readonly #notice: NoticeSink
  readonly #streams: StreamOptions
  readonly #server: Server
  /** By the socket that was accepted, which what runs over it is made from. */
  readonly #arrivals = new Map<Socket, Arrival>()
  readonly #open = new Set<SocketStream>()
  /** Accepted sockets by what runs over them: themselves or TLS. */
  readonly #accepted = new WeakMap<Socket, Socket>()
  #tls: TlsTerminator | undefined
  readonly #upgrade: WebSocketUpgrade | undefined

  constructor(options: ListenOptions, host: StreamHost, notice: NoticeSink) {
    this.#options = options
    this.#notice = notice
    const { socketBufferBytes, writeTimeoutMs = WRITE_TIMEOUT_MS } = options
    this.#streams = { host, socketBufferBytes, writeTimeoutMs, streams: this.#open }
    const { protocol, path, origins, maxPacketSize, noDelay, maxConnections } = options
    if (protocol === 'websockets') {
      this.#upgrade = new WebSocketUpgrade(
        { path, maxPacketSize, origins },
        {
          upgraded: (socket, webSocket, forwardedFor) => {
            this.#forwarded(socket, forwardedFor)
            this.#opened(socket, (from, refused) => openWebSocketStream(socket, webSocket, from, refused, this.#streams))
          },
          refused: (socket, reason) => this.#refused(this.#accepted.get(socket)!, reason, 'info'),
        },
      )
    }
    // [MQTT-4.2.0-1]
    this.#server = createServer({ noDelay }, (socket) => this.#accept(socket))
    this.#server.maxConnections = maxConnections
    this.#server.on('drop', (from) =>
      this.#notice({
        code: 'limit-reached',
        level: 'warn',
        peer: this.#peerOf(from ?? {}),
        reason: `listener ${options.name} is full`,
        limit: 'max_connections',
      }),
    )
  }

  async open(): Promise<void> {
    const { tls, socketPath, socketMode } = this.#options
    if (tls !== undefined) {
      this.#tls = await TlsTerminator.create(tls, {
        secured: (raw, secure, identity) => this.#secured(raw, secure, identity),
        failed: (raw, reason, silent) => this.#refused(raw, `TLS handshake: ${reason}`, silent ? 'debug' : 'info'),
      })
    }
    if (socketPath !== undefined) await listenOnPath(this.#server, socketPath, socketMode)
    else await this.#listenOnPort()
    // Mostly a lack of descriptors: no reason to end existing connections.
    this.#server.on('error', ({ code, message }: NodeJS.ErrnoException) =>
      this.#notice({
        code: 'limit-reached',
        level: 'warn',
        reason: `listener ${this.#options.name}: ${message}`,
        ...((code === 'EMFILE' || code === 'ENFILE') && { limit: 'open_files' }),
      }),
    )
  }

  get address(): Listener['address'] {
    const address = this.#server.address()
    if (typeof address === 'string') return { host: '', port: 0, path: address }
    const { address: host, port } = address as AddressInfo
    return { host, port }
  }

  async prepareReload(): Promise<() => void> {
    return (await this.#tls?.prepareReload()) ?? (() => {})
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
      for (const [socket, { isStream }] of this.#arrivals) if (!isStream) socket.destroy()
      for (const stream of this.#open) stream.end()
    })
  }

  #listenOnPort(): Promise<void> {
    const { host, port } = this.#options
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port, backlog: BACKLOG }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  #accept(socket: Socket): void {
    const { proxyProtocol, connectTimeoutMs } = this.#options
    const peer = this.#peerOf(socket)
    if (descriptorOf(socket) > (this.#options.maxDescriptor ?? Number.POSITIVE_INFINITY)) {
      const reason = `listener ${this.#options.name}: refused, this process has as many files and sockets open as it may`
      this.#notice({ code: 'limit-reached', level: 'warn', peer, reason, limit: 'open_files' })
      socket.destroy()
      return
    }
    if (!proxyProtocol && this.#tls === undefined && this.#upgrade === undefined) {
      // MQTT from the first byte on: there is nothing to wait for, which saves two timers and a map entry per connection.
      openSocketStream(socket, { peer, listener: this.#options.name }, this.#streams)
      return
    }
    const timedOut = (): void => {
      if (this.#streams.host.wasPaused) timer.refresh()
      else this.#timedOut(socket)
    }
    const timer: NodeJS.Timeout = setTimeout(timedOut, connectTimeoutMs ?? CONNECT_TIMEOUT_MS)
    const arrival: Arrival = { peer, identity: undefined, waitsFor: undefined, counts: false, isStream: false, timer }
    this.#arrivals.set(socket, arrival)
    // An error is always followed by the close.
    socket.on('error', () => {})
    socket.once('close', () => {
      clearTimeout(timer)
      this.#arrived(arrival)
      // TLS reports a certificate error only after the socket has closed.
      setImmediate(() => {
        this.#refused(socket, `closed without ${arrival.waitsFor}`, 'debug')
        this.#arrivals.delete(socket)
      })
    })
    if (!proxyProtocol) {
      this.#secure(socket, arrival)
      return
    }
    arrival.waitsFor = 'PROXY header'
    takeProxyHeader(
      socket,
      (header) => this.#introduced(socket, arrival, header),
      (reason) => {
        this.#refused(socket, `${reason} (proxy_protocol)`, 'info')
        socket.destroy()
      },
    )
  }

  #introduced(socket: Socket, arrival: Arrival, { peer, commonName }: ProxyHeader): void {
    const { tls, useProxyIdentityAsUsername = false } = this.#options
    arrival.peer = peer ?? arrival.peer
    if (tls === undefined && useProxyIdentityAsUsername) arrival.identity = commonName
    this.#secure(socket, arrival)
  }

  #secure(socket: Socket, arrival: Arrival): void {
    // A handshake is the most expensive thing an unauthenticated peer can ask for.
    if (this.#tls !== undefined || this.#upgrade !== undefined) {
      arrival.waitsFor = undefined
      if (this.#streams.host.arriving(this.#streamOf(arrival)) !== undefined) {
        socket.destroy()
        return
      }
      arrival.counts = true
    }
    if (this.#tls === undefined) {
      this.#speak(socket, socket, arrival)
      return
    }
    arrival.waitsFor = 'TLS handshake'
    this.#tls.accept(socket)
  }

  #secured(accepted: Socket, secure: Socket, identity: string | undefined): void {
    const arrival = this.#arrivals.get(accepted)
    // Closed at this very moment, or too late.
    if (arrival?.waitsFor === undefined) {
      secure.destroy()
      return
    }
    arrival.identity = identity
    secure.on('error', () => {})
    this.#speak(accepted, secure, arrival)
  }

  /** All stages are complete: `socket` carries the client's data. */
  #speak(accepted: Socket, socket: Socket, arrival: Arrival): void {
    this.#accepted.set(socket, accepted)
    if (this.#upgrade === undefined) {
      this.#opened(socket, (from) => openSocketStream(socket, from, this.#streams))
      // It is paused if a PROXY header was read.
      socket.resume()
      return
    }
    arrival.waitsFor = 'WebSocket upgrade'
    this.#upgrade.accept(socket)
  }

  #opened(socket: Socket, open: (from: StreamInfo, refused: (reason: string, limit?: string) => void) => SocketStream): void {
    const arrival = this.#arrivals.get(this.#accepted.get(socket)!)!
    const { peer } = arrival
    clearTimeout(arrival.timer)
    arrival.waitsFor = undefined
    this.#arrived(arrival)
    arrival.isStream = true
    open(this.#streamOf(arrival), (reason, limit) => {
      if (limit === undefined) this.#notice({ code: 'protocol-error', level: 'info', peer, reason })
      else this.#notice({ code: 'packet-too-large', level: 'warn', peer, reason, limit })
    })
  }

  /** A proxy says in its request where the client is. */
  #forwarded(socket: Socket, forwardedFor: string | undefined): void {
    const arrival = this.#arrivals.get(this.#accepted.get(socket)!)!
    const peer = forwardedPeer(forwardedFor, arrival.peer, this.#options.trustedProxies ?? [])
    if (peer === arrival.peer) return
    // Until now the place was the proxy's.
    this.#arrived(arrival)
    arrival.peer = peer
  }

  #arrived(arrival: Arrival): void {
    if (arrival.counts) this.#streams.host.arrived(this.#streamOf(arrival))
    arrival.counts = false
  }

  #streamOf({ peer, identity }: Arrival): StreamInfo {
    return { peer, listener: this.#options.name, ...(identity !== undefined && { identity }) }
  }

  #timedOut(socket: Socket): void {
    this.#refused(socket, `no ${this.#arrivals.get(socket)?.waitsFor} in time`, 'info', 'connect_timeout_seconds')
    socket.destroy()
  }

  /** Reported once per connection, with the first reason; the timer ends what does not close by itself. */
  #refused(socket: Socket, reason: string, level: Notice['level'], limit?: string): void {
    const arrival = this.#arrivals.get(socket)
    if (arrival?.waitsFor === undefined) return
    arrival.waitsFor = undefined
    this.#notice({ code: 'client-refused', level, peer: arrival.peer, reason, ...(limit !== undefined && { limit }) })
  }

  #peerOf({ remoteAddress, remotePort }: RemoteAddress): string {
    if (this.#options.socketPath !== undefined) return `unix:${this.#options.socketPath}`
    const host = withoutMapping(remoteAddress ?? 'unknown')
    return `${host.includes(':') ? `[${host}]` : host}:${remotePort ?? 0}`
  }
}

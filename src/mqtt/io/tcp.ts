import { type AddressInfo, createServer, type Server as NetServer, type Socket } from 'node:net'
import type { Loop, Stream } from '../../io/loop.ts'
import type { ConnectionId } from '../connections.ts'

export interface TcpOptions {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  /** Bytes that may wait in one socket before its link stops listening. */
  readonly socketBufferBytes: number
}

/** How long a peer that does not read may keep a socket that we have ended. */
const LINGER_MS = 1000

/** Connections that the kernel holds for us while we are busy: a site that comes back after a power cut connects all at once. */
const BACKLOG = 4096

/** MQTT over TCP. */
export class TcpListener {
  readonly #server: NetServer
  readonly #sockets = new Set<Socket>()

  private constructor(server: NetServer) {
    this.#server = server
  }

  static listen(options: TcpOptions, loop: Loop): Promise<TcpListener> {
    // Nagle would hold acknowledgements back for 40 ms; our writes are whole turns already.
    const server = createServer({ noDelay: true })
    const listener = new TcpListener(server)
    server.on('connection', (socket) => listener.#accept(socket, loop, options.socketBufferBytes))
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host: options.host, port: options.port, backlog: BACKLOG }, () => {
        server.off('error', reject)
        resolve(listener)
      })
    })
  }

  get address(): AddressInfo {
    return this.#server.address() as AddressInfo
  }

  /** No new connections; those that are open end by themselves or after a second. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
      for (const socket of this.#sockets) endSoon(socket)
    })
  }

  #accept(socket: Socket, loop: Loop, socketBufferBytes: number): void {
    this.#sockets.add(socket)
    let reason = 'connection closed by the client'
    let congested = false
    const stream: Stream = {
      write: (bytes) => {
        socket.write(bytes)
        if (congested || socket.writableLength <= socketBufferBytes) return
        congested = true
        loop.handle({ kind: 'congested', connection, on: true })
      },
      end: () => endSoon(socket),
      pause: () => socket.pause(),
      resume: () => socket.resume(),
    }
    const connection: ConnectionId = loop.opened(stream, {
      peer: `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`,
      listener: 'mqtt',
    })
    socket.on('data', (bytes) => loop.handle({ kind: 'chunk', connection, bytes }))
    socket.on('drain', () => {
      if (!congested) return
      congested = false
      loop.handle({ kind: 'congested', connection, on: false })
    })
    socket.on('error', (error) => {
      reason = `connection failed: ${error.message}`
    })
    socket.on('close', () => {
      this.#sockets.delete(socket)
      loop.closed(connection, reason)
    })
  }
}

function endSoon(socket: Socket): void {
  if (socket.destroyed) return
  const timer = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('close', () => clearTimeout(timer))
  socket.resume()
  socket.destroySoon()
}

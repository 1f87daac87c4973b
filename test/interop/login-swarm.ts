import { connect as connectTcp, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { ByteWriter } from '../../src/base/bytes.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import type { Connect } from '../../src/mqtt/packets.ts'
import { connectPacket } from '../broker/harness.ts'

const connectBytes = (clientId: string, options: Partial<Connect>): Uint8Array => {
  const writer = new ByteWriter()
  encodePacket(writer, connectPacket(clientId, { protocolVersion: 4, ...options }), 4)
  return writer.toBytes()
}

/** The `i`-th address of this machine beside 127.0.0.1. */
const loopback = (i: number): string => `127.1.${i >> 8}.${i & 0xff || 255}`

/** Milliseconds after which who was refused tries again. */
const AGAIN_MS = 50

/** Connections that all try wrong passwords at the same time, again and again, from so many addresses. */
export class LoginSwarm {
  readonly #sockets = new Set<Socket>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #stopped = false
  /** CONNACKs by return code, and connections that ended without one. */
  readonly answers = new Map<number | 'closed', number>()

  constructor(port: number, connections: number, addresses: number) {
    for (let i = 0; i < connections; i++) this.#guess(port, loopback(i % addresses), i)
  }

  stop(): void {
    this.#stopped = true
    for (const timer of this.#timers) clearTimeout(timer)
    for (const socket of this.#sockets) socket.destroy()
  }

  #guess(port: number, localAddress: string, i: number): void {
    const socket = connectTcp({ port, host: '127.0.0.1', localAddress })
    this.#sockets.add(socket)
    let answer: number | 'closed' = 'closed'
    socket.write(connectBytes(`guess-${i}`, { username: `user-${i}`, password: Buffer.from('wrong') }))
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      answer = bytes[3] ?? 'closed'
    })
    socket.once('close', () => {
      this.#sockets.delete(socket)
      if (this.#stopped) return
      this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1)
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        this.#guess(port, localAddress, i)
      }, AGAIN_MS)
      this.#timers.add(timer)
    })
  }
}

/** Milliseconds for which a login is waited for. */
const PATIENCE_MS = 5000

/** Milliseconds from the beginning of a connection to its CONNACK. Rejects if it says anything but 0, or does not come within 5 s. */
export function login(port: number, username: string, password: string, localAddress = '127.0.0.1'): Promise<number> {
  const began = performance.now()
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ port, host: '127.0.0.1', localAddress, noDelay: true })
    socket.write(connectBytes(username, { username, password: Buffer.from(password) }))
    const refused = (what: string): void => reject(new Error(`${what} after ${Math.round(performance.now() - began)} ms`))
    socket.on('error', () => {})
    const timer = setTimeout(() => socket.destroy(), PATIENCE_MS)
    socket.once('close', () => {
      clearTimeout(timer)
      refused('closed')
    })
    socket.on('data', (bytes) => {
      if (bytes[3] === 0) resolve(performance.now() - began)
      else refused(`return code ${bytes[3]}`)
      socket.destroy()
    })
  })
}

import { once } from 'node:events'
import { connect as connectNet, type NetConnectOpts, type Socket } from 'node:net'
import type { Notice, NoticeCode } from '../../../src/base/notice.ts'
import { OPEN_ACCESS } from '../../../src/broker/access.ts'
import type { ConnectionLimits } from '../../../src/mqtt/connection-limits.ts'
import { type Listener, type ListenOptions, listen } from '../../../src/mqtt/io/listen.ts'
import type { LinkInfo } from '../../../src/mqtt/link.ts'
import { Loop, wallClock } from '../../../src/process/loop.ts'
import { Server } from '../../../src/server.ts'
import { MemoryStore } from '../../../src/store/store.ts'
import { OPTIONS } from '../../gateway/harness.ts'

const DEFAULTS: ListenOptions = {
  name: 'test',
  protocol: 'mqtt',
  host: '127.0.0.1',
  port: 0,
  proxyProtocol: false,
  maxConnections: 100,
  socketBufferBytes: 64 * 1024,
  noDelay: true,
  maxPacketSize: 1024 * 1024,
}

/** A broker behind one listener, and what they tell. */
export class TestListener {
  readonly notices: Notice[] = []
  /** Of every CONNECT. */
  readonly infos: LinkInfo[] = []
  readonly loop: Loop
  #listener: Listener | undefined
  #wake: () => void = () => {}

  private constructor(connections: Partial<ConnectionLimits>) {
    const access = { ...OPEN_ACCESS, connect: (info: LinkInfo) => this.infos.push(info) && 0 }
    const server = new Server({
      store: new MemoryStore(),
      clock: wallClock(),
      notice: this.#notice,
      random: Math.random,
      gateway: OPTIONS,
      access,
      connections,
    })
    this.loop = new Loop(server)
  }

  static async open(options: Partial<ListenOptions> = {}, connections: Partial<ConnectionLimits> = {}): Promise<TestListener> {
    const opened = new TestListener(connections)
    opened.#listener = await listen({ ...DEFAULTS, ...options }, opened.loop, opened.#notice)
    return opened
  }

  get listener(): Listener {
    return this.#listener!
  }

  get port(): number {
    return this.listener.address.port
  }

  /** The next notice of this code that was or will be told, in one line. */
  async next(code: NoticeCode): Promise<string> {
    for (;;) {
      const at = this.notices.findIndex((notice) => notice.code === code)
      if (at >= 0) {
        const [{ level, reason, peer, limit }] = this.notices.splice(at, 1) as [Notice]
        const bound = limit === undefined ? '' : ` (${limit})`
        return `${level} ${peer}: ${reason}${bound}`.replace(/127\.0\.0\.1:\d+/, 'PEER')
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async close(): Promise<void> {
    await this.#listener?.close()
    this.loop.stop()
  }

  readonly #notice = (notice: Notice): void => {
    this.notices.push(notice)
    this.#wake()
  }
}

export const CONNECT = Buffer.from('100c00044d5154540402003c0000', 'hex')
export const CONNACK = '20020000'
export const PINGREQ = Buffer.from('c000', 'hex')
export const PINGRESP = 'd000'

/** Bytes on a stream of any kind, and what comes back. */
export class RawClient {
  readonly socket: Socket
  hex = ''
  readonly closed: Promise<unknown>

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.hex += bytes.toString('hex')
    })
    socket.on('error', () => {})
    this.closed = new Promise((resolve) => socket.once('close', resolve))
  }

  static async connect(to: NetConnectOpts): Promise<RawClient> {
    const client = new RawClient(connectNet({ noDelay: true, ...to } as NetConnectOpts))
    await once(client.socket, 'connect')
    return client
  }

  /** Resolves when the other end has answered with this, and nothing else. */
  async answer(hex: string): Promise<void> {
    while (this.hex.length < hex.length && !this.socket.closed) await Promise.race([once(this.socket, 'data'), this.closed])
    const { hex: answered } = this
    this.hex = ''
    if (answered !== hex) throw new Error(`expected ${hex}, got "${answered}"`)
  }

  /** One byte in each packet of the network. */
  async dribble(bytes: Uint8Array): Promise<void> {
    for (const byte of bytes) {
      await new Promise((resolve) => this.socket.write(Uint8Array.of(byte), resolve))
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

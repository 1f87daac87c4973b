// `roost serve` as a separate process whose memory can be looked at, and clients that say whatever a check wants, byte by byte.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { createWebSocketStream, WebSocket } from 'ws'
import { ByteWriter } from '../../../dist/base/bytes.js'
import { PacketDecoder } from '../../../dist/mqtt/decode.js'
import { encodePacket } from '../../../dist/mqtt/encode.js'
import { Framer } from '../../../dist/mqtt/framer.js'
import { Publish } from '../../../dist/mqtt/publish.js'

const MAIN = fileURLToPath(new URL('../../../dist/main.js', import.meta.url))
export const MIB = 1024 * 1024

export class Started {
  /** The log. */
  lines = []
  /** Of its MQTT listeners, by their names. */
  ports = {}
  /** What it says on standard error, if anything goes wrong in Node.js. */
  errors = []

  static start(...flags) {
    return Started.startWith([], ...flags)
  }

  /** With options for Node.js in front: `--max-old-space-size=200`. */
  static async startWith(nodeFlags, ...flags) {
    const started = new Started()
    const serve = ['serve', '--port', '0', '--sn-port', '0', '--http-port', '0', '--log-format', 'json', ...flags]
    const argv = ['--inspect=127.0.0.1:0', ...nodeFlags, MAIN, ...serve]
    started.child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] })
    started.child.once('exit', (code, signal) => {
      started.ended = code ?? signal
    })
    const inspector = new Promise((resolve) => {
      createInterface({ input: started.child.stderr }).on('line', (line) => {
        const url = /ws:\/\/\S+/.exec(line)
        if (url !== null) resolve(url[0])
        else started.errors.push(line)
      })
    })
    await new Promise((resolve) => {
      createInterface({ input: started.child.stdout }).on('line', (text) => {
        const line = JSON.parse(text)
        started.lines.push(line)
        if (line.mqtt !== undefined) {
          started.port ??= line.mqtt.port
          started.ports[line.mqtt.name] = line.mqtt.port
        }
        if (line.sn !== undefined) started.snPort = line.sn.port
        if (line.msg.startsWith('State is kept')) resolve()
      })
    })
    started.inspector = new WebSocket(await inspector)
    await once(started.inspector, 'open')
    return started
  }

  /** Exit code, or the signal that ended it before. */
  async stop() {
    this.inspector.close()
    if (this.ended !== undefined) return this.ended
    const exited = once(this.child, 'exit')
    this.child.kill('SIGTERM')
    const [code, signal] = await exited
    return code ?? signal
  }

  /** Resident bytes of the process. */
  get rss() {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.child.pid}/status`, 'utf8'))[1]) * 1024
  }

  /** The most that it ever was. */
  get peak() {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${this.child.pid}/status`, 'utf8'))[1]) * 1024
  }

  /** How often this bound was told of, by the log; what was not written for its rate is not counted. */
  reached(limit) {
    return this.lines.filter((line) => line.limit === limit).length
  }

  /** Bytes of everything that is reachable in it, buffers included. */
  async heap() {
    await this.#ask('HeapProfiler.collectGarbage')
    const { usedSize, backingStorageSize = 0 } = await this.#ask('Runtime.getHeapUsage')
    return usedSize + backingStorageSize
  }

  async #ask(method) {
    const id = Math.floor(Math.random() * 1e9)
    this.inspector.send(JSON.stringify({ id, method }))
    for (;;) {
      const [data] = await once(this.inspector, 'message')
      const answer = JSON.parse(data)
      if (answer.id === id) return answer.result
    }
  }
}

export function encoded(packet, version = 5) {
  const writer = new ByteWriter()
  encodePacket(writer, packet, version)
  return Buffer.from(writer.toBytes())
}

export const CONNECT = {
  type: 1,
  protocolVersion: 5,
  bridge: false,
  clientId: '',
  cleanStart: true,
  keepAlive: 0,
  will: undefined,
  username: undefined,
  password: undefined,
  properties: {},
}

/** A stream to there, and when it is open. */
function streamTo(port, transport, local) {
  const to = { port, host: '127.0.0.1', ...local }
  if (transport === 'ws') {
    const ws = new WebSocket(`ws://127.0.0.1:${port}`, 'mqtt', { perMessageDeflate: false, ...local })
    const stream = createWebSocketStream(ws)
    ws.once('close', () => stream.destroy())
    return [stream, once(ws, 'open')]
  }
  const socket = transport === 'tls' ? connectTls({ ...to, rejectUnauthorized: false }) : connect({ ...to, noDelay: true })
  return [socket, once(socket, transport === 'tls' ? 'secureConnect' : 'connect')]
}

/** A stream of MQTT; what comes back waits until it is asked for. */
export class Client {
  packets = []
  received = 0
  #wake = () => {}

  /**
   * From an address of its own, if that is given: there are only so many ports for each. With `count` what comes is counted and not kept, and with `each`
   * it is given to that.
   */
  static async open(port, { localAddress, version = 5, count = false, each, transport = 'tcp' } = {}) {
    const client = new Client()
    client.version = version
    const [socket, opened] = streamTo(port, transport, localAddress && { localAddress })
    client.socket = socket
    client.socket.on('error', () => {})
    client.closed = new Promise((resolve) => client.socket.once('close', resolve))
    const framer = new Framer(0xfffffff)
    const decoder = new PacketDecoder('server', version, {
      maxUserProperties: 65_535,
      maxPropertyBytes: Number.POSITIVE_INFINITY,
    })
    client.socket.on('data', (bytes) => {
      framer.push(bytes)
      while (framer.next()) {
        client.received++
        if (count) continue
        const packet = decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end)
        if (each === undefined) client.packets.push(packet)
        else each(packet)
      }
      client.#wake()
    })
    await Promise.race([opened, client.closed]).catch(() => {})
    return client
  }

  static async connected(port, options = {}, more = {}) {
    const client = await Client.open(port, { version: options.protocolVersion ?? 5, ...more })
    client.send({ ...CONNECT, ...options })
    client.connack = await client.next()
    return client
  }

  send(packet) {
    return this.socket.write(encoded(packet, this.version))
  }

  publish(topic, payload, { qos = 0, packetId = qos, retain = false, properties = {} } = {}) {
    return this.send(Publish.of(topic, Buffer.from(payload), qos, retain, packetId, properties))
  }

  subscribe(filter, qos = 1) {
    const subscriptions = [{ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }]
    this.send({ type: 8, packetId: 1, subscriptions, properties: {} })
  }

  /** The next packet; undefined when the stream has ended. */
  async next() {
    while (this.packets.length === 0 && !this.socket.closed) {
      await Promise.race([new Promise((resolve) => (this.#wake = resolve)), this.closed])
    }
    return this.packets.shift()
  }

  /** Waits until it has received so many packets, or has ended. */
  async count(wanted) {
    while (this.received < wanted && !this.socket.closed) {
      await Promise.race([new Promise((resolve) => (this.#wake = resolve)), this.closed])
    }
  }

  /** Milliseconds until PINGREQ is answered. */
  async ping() {
    const started = performance.now()
    this.send({ type: 12 })
    while ((await this.next())?.type !== 13) if (this.socket.closed) throw new Error('the connection ended')
    return performance.now() - started
  }

  end() {
    this.socket.destroy()
  }
}

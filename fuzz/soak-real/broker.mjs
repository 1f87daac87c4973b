import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))
/** What a run of the process answers about itself. */
const INSIDE = `(() => {
  const { heapUsed, external } = process.memoryUsage()
  const count = {}
  for (const what of process.getActiveResourcesInfo()) count[what] = (count[what] ?? 0) + 1
  return { held: heapUsed + external, timers: count.Timeout ?? 0, sockets: count.TCPSocketWrap ?? 0 }
})()`

/** The started process with a durable store, and what it costs: seen from outside by /proc, and from inside by its inspector. */
export class Broker {
  mqttPort = 0
  snPort = 0
  /** Lines of its log at level error or fatal, and an end that nobody asked for. */
  complaints = []
  #directory = mkdtempSync(join(tmpdir(), 'roost-soak-'))
  #child
  #inspector
  #stopping = false
  #asked = new Map()
  #lastId = 0

  static async start() {
    const broker = new Broker()
    await broker.#start()
    return broker
  }

  async #start() {
    const serve = ['serve', '--port', '0', '--sn-port', '0', '--log-format', 'json', '--data-dir', join(this.#directory, 'data')]
    const limits = [
      '--sys-interval',
      '1',
      '--max-queued-messages',
      '100000',
      '--max-queued-bytes',
      '1048576',
      '--max-connections-per-address',
      '0',
    ]
    this.#child = spawn(process.execPath, ['--inspect=127.0.0.1:0', MAIN, ...serve, ...limits], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // Ctrl-C is for the soak, which ends the broker when it has counted once more.
      detached: true,
    })
    process.once('exit', () => this.#child.kill('SIGKILL'))
    this.#child.once('exit', (code, signal) => {
      if (!this.#stopping) this.complaints.push(`the broker ended by itself: ${code ?? signal}`)
    })
    const address = new Promise((resolve) => {
      createInterface({ input: this.#child.stderr }).on('line', (line) => resolve(/ws:\S+/.exec(line)?.[0]))
    })
    await new Promise((resolve, reject) => {
      this.#child.once('exit', () => reject(new Error('the broker did not start')))
      createInterface({ input: this.#child.stdout }).on('line', (line) => this.#log(line, resolve))
    })
    this.#inspector = new WebSocket(await address)
    await once(this.#inspector, 'open')
    this.#inspector.on('message', (text) => {
      const { id, result } = JSON.parse(text)
      this.#asked.get(id)?.(result)
      this.#asked.delete(id)
    })
  }

  #log(text, started) {
    const line = JSON.parse(text)
    this.mqttPort = line.mqtt?.port ?? this.mqttPort
    this.snPort = line.sn?.port ?? this.snPort
    if (line.level === 'error' || line.level === 'fatal') this.complaints.push(`log: ${line.msg}`)
    if (line.msg.startsWith('State is kept')) started()
  }

  #ask(method, params = {}) {
    const id = ++this.#lastId
    return new Promise((resolve) => {
      this.#asked.set(id, resolve)
      this.#inspector.send(JSON.stringify({ id, method, params }))
    })
  }

  /** After a collection of garbage, so that what is still held is held by somebody: MB, and counts. */
  async figures() {
    const { pid } = this.#child
    await this.#ask('HeapProfiler.collectGarbage')
    const { result } = await this.#ask('Runtime.evaluate', { expression: INSIDE, returnByValue: true })
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const ticks = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
    return {
      rss: Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024,
      heap: result.value.held / 2 ** 20,
      timers: result.value.timers,
      handles: readdirSync(`/proc/${pid}/fd`).length,
      // Clock ticks of 10 ms, user and system.
      cpuSeconds: (Number(ticks[11]) + Number(ticks[12])) / 100,
    }
  }

  async stop() {
    this.#stopping = true
    this.#inspector?.terminate()
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, 'exit')
      this.#child.kill()
      const [code] = await exited
      if (code !== 0) this.complaints.push(`the broker ended with exit code ${code}`)
    }
    rmSync(this.#directory, { recursive: true })
  }
}

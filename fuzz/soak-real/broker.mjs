import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))
/** From SIGTERM to the end of the process. */
const GOODBYE_MS = 20_000
/** What the process says of itself. */
const INSIDE = `(() => {
  const { heapUsed, external } = process.memoryUsage()
  const count = {}
  for (const what of process.getActiveResourcesInfo()) count[what] = (count[what] ?? 0) + 1
  return { held: heapUsed + external, timers: count.Timeout ?? 0 }
})()`
/** Counts objects by their class, and what is in those that hold others. */
const CENSUS = `function () {
  const count = { __proto__: null }
  const add = (what, many) => { count[what] = (count[what] ?? 0) + many }
  for (const each of this) {
    add(Object.getPrototypeOf(each)?.constructor?.name || 'without a class', 1)
    const isPrototype = Object.hasOwn(each, 'constructor')
    if (each instanceof Map && !isPrototype) add('entries of Map', each.size)
    else if (each instanceof Set && !isPrototype) add('entries of Set', each.size)
    else if (Array.isArray(each)) add('entries of Array', each.length)
  }
  return { ...count }
}`

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
    const serve = ['serve', '--port', '0', '--sn-port', '0', '--http-port', '0', '--log-format', 'json']
    const limits = [
      '--sys-interval',
      '1',
      '--max-queued-messages',
      '100000',
      '--max-queued-bytes',
      '1048576',
      '--max-connections-per-address',
      '0',
      // An eighth of it is what a checkpoint takes: many of them come by, and the file has its size soon.
      '--max-data-bytes',
      String(4 * 2 ** 20),
    ]
    const argv = [...serve, '--data-dir', join(this.#directory, 'data'), ...limits]
    this.#child = spawn(process.execPath, ['--inspect=127.0.0.1:0', MAIN, ...argv], {
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
      const { id, result, error } = JSON.parse(text)
      const { resolve, reject } = this.#asked.get(id)
      this.#asked.delete(id)
      const thrown = error?.message ?? result.exceptionDetails?.exception.description
      if (thrown === undefined) resolve(result)
      else reject(new Error(`inspector: ${thrown}`))
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
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject })
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
      // Without the pages of files: those of the store's are the kernel's cache, and come in as the file grows.
      resident: Number(/RssAnon:\s+(\d+)/.exec(status)[1]) / 1024,
      heap: result.value.held / 2 ** 20,
      store: statSync(join(this.#directory, 'data', 'roost.db')).size / 2 ** 20,
      timers: result.value.timers,
      handles: readdirSync(`/proc/${pid}/fd`).length,
      // Clock ticks of 10 ms, user and system.
      cpuSeconds: (Number(ticks[11]) + Number(ticks[12])) / 100,
    }
  }

  /** How many objects of each class there are, after a collection of garbage. */
  async census() {
    const objectGroup = 'census'
    const root = await this.#ask('Runtime.evaluate', { expression: 'Object.prototype', objectGroup })
    const { objects } = await this.#ask('Runtime.queryObjects', { prototypeObjectId: root.result.objectId, objectGroup })
    const { objectId } = objects
    const { result } = await this.#ask('Runtime.callFunctionOn', { objectId, functionDeclaration: CENSUS, returnByValue: true })
    await this.#ask('Runtime.releaseObjectGroup', { objectGroup })
    return result.value
  }

  async stop() {
    this.#stopping = true
    this.#inspector?.terminate()
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, 'exit')
      const patience = setTimeout(() => this.#child.kill('SIGKILL'), GOODBYE_MS)
      this.#child.kill()
      const [code, signal] = await exited
      clearTimeout(patience)
      if (code !== 0) this.complaints.push(`the broker ended with ${code ?? signal}`)
    }
    rmSync(this.#directory, { recursive: true })
  }
}

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** What `npm run build` writes, and `npm test` builds first. */
export const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

interface Line {
  readonly level: string
  readonly msg: string
  readonly mqtt?: { readonly name: string; readonly port: number }
  readonly sn?: { readonly name: string; readonly port: number }
  readonly http?: { readonly port: number }
}

/** Without the HTTP service, whose port is the same for all, unless the flags say where it is. */
const httpOf = (flags: readonly string[]): readonly string[] =>
  flags.some((flag) => flag.startsWith('--http-')) ? [] : ['--http', 'false']

/** `roost serve` as a user starts it, on free ports. Ends only what it started. */
export class StartedProcess {
  readonly child: ChildProcess
  readonly log: string[] = []
  /** The same with levels: `error reload-failed: ...`. */
  readonly levels: string[] = []
  #wake: (() => void) | undefined
  /** Of MQTT listeners, by name. */
  readonly ports = new Map<string, number>()
  /** Of ports for sensors, by name. */
  readonly snPorts = new Map<string, number>()
  /** 0 without an HTTP service. */
  httpPort = 0
  #read = 0

  private constructor(child: ChildProcess) {
    this.child = child
  }

  /** With the default listener on a free port. */
  static start(...flags: string[]): Promise<StartedProcess> {
    return StartedProcess.startWith('--port', '0', ...flags)
  }

  static startWith(...flags: string[]): Promise<StartedProcess> {
    return StartedProcess.startWithoutUdp('--sn-port', '0', ...flags)
  }

  /** Without any port for sensors but those of the flags. */
  static startWithoutUdp(...flags: string[]): Promise<StartedProcess> {
    return StartedProcess.#of(process.execPath, [MAIN, 'serve', '--log-format', 'json', ...httpOf(flags), ...flags])
  }

  /** With so many files and sockets that it may have open. */
  static startLimited(openFiles: number, ...flags: string[]): Promise<StartedProcess> {
    const argv = [MAIN, 'serve', '--log-format', 'json', '--port', '0', '--sn-port', '0', ...httpOf(flags), ...flags]
    return StartedProcess.#of('sh', ['-c', `ulimit -n ${openFiles} && exec "$@"`, 'sh', process.execPath, ...argv])
  }

  /** By another Node.js than the one that runs the tests, with what has to stand before it. */
  static startBy([command, ...argv]: readonly [string, ...string[]], ...flags: string[]): Promise<StartedProcess> {
    return StartedProcess.#of(command, [...argv, MAIN, 'serve', '--log-format', 'json', ...httpOf(flags), ...flags])
  }

  static async #of(command: string, argv: readonly string[]): Promise<StartedProcess> {
    const started = new StartedProcess(spawn(command, argv, { stdio: ['ignore', 'pipe', 'inherit'] }))
    await new Promise<void>((resolve, reject) => {
      createInterface({ input: started.child.stdout! }).on('line', (text) => {
        const line = JSON.parse(text) as Line
        started.log.push(line.msg)
        started.levels.push(`${line.level} ${line.msg}`)
        started.#wake?.()
        if (line.mqtt !== undefined) started.ports.set(line.mqtt.name, line.mqtt.port)
        if (line.sn !== undefined) started.snPorts.set(line.sn.name, line.sn.port)
        if (line.http !== undefined) started.httpPort = line.http.port
        if (line.msg.startsWith('State is kept')) resolve()
      })
      started.child.once('exit', (code) => reject(new Error(`ended with ${code} before it listened`)))
    })
    return started
  }

  /** Of the first listener. */
  get mqttPort(): number {
    return [...this.ports.values()][0] ?? 0
  }

  /** Of the first port for sensors. */
  get snPort(): number {
    return [...this.snPorts.values()][0] ?? 0
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** The next line of the log, from the beginning or after those that were asked for before, that matches. */
  async logged(pattern: RegExp): Promise<string> {
    for (;;) {
      const at = this.levels.findIndex((line, i) => i >= this.#read && pattern.test(line))
      if (at >= 0) {
        this.#read = at + 1
        return this.levels[at]!
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Gives the exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (!this.isRunning) return this.child.exitCode
    const exited = once(this.child, 'exit')
    this.child.kill(signal)
    const [code] = (await exited) as [number | null]
    return code
  }
}

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('../../examples/', import.meta.url))
const WAIT_MS = 15_000

/** A program of examples/ in a process of its own, on free ports. It finds the package as `npm run build` has made it. */
export class RunningExample {
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  #wake: (() => void) | undefined

  private constructor(child: ChildProcess) {
    this.#child = child
    for (const stream of [child.stdout!, child.stderr!])
      createInterface({ input: stream }).on('line', (line) => {
        this.#lines.push(line)
        this.#wake?.()
      })
    child.on('exit', () => this.#wake?.())
  }

  static start(name: string, ...argv: string[]): RunningExample {
    const env = { ...process.env, PORT: '0', SN_PORT: '0' }
    return new RunningExample(spawn(process.execPath, [`${FOLDER}${name}`, ...argv], { env, stdio: ['ignore', 'pipe', 'pipe'] }))
  }

  get printed(): string {
    return this.#lines.join('\n')
  }

  /** Resolves to the first match in a line on either of its outputs, one that it has printed already or the next. */
  async line(pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = performance.now() + WAIT_MS
    for (let read = 0; ; ) {
      for (; read < this.#lines.length; read++) {
        const found = pattern.exec(this.#lines[read]!)
        if (found !== null) return found
      }
      if (performance.now() > deadline || !this.#isRunning) throw new Error(`no line ${pattern} in:\n${this.printed}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  /** The port in a URL that it has printed. */
  async port(scheme: 'mqtt' | 'udp'): Promise<number> {
    return Number((await this.line(new RegExp(`${scheme}://127\\.0\\.0\\.1:(\\d+)`)))[1])
  }

  /** Ends it as a user does. Resolves to the exit code. */
  async end(): Promise<number | null> {
    if (this.#isRunning) this.#child.kill('SIGTERM')
    return this.ended()
  }

  /** Resolves to the exit code once it has ended by itself. */
  async ended(): Promise<number | null> {
    if (this.#isRunning) await once(this.#child, 'exit')
    return this.#child.exitCode
  }

  get #isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }
}

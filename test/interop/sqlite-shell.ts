import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** What `sqlite3` prints for one command, as an operator types it: lines of columns that are separated by `|`. Rejects if the command fails. */
export async function sqlite3(...argv: string[]): Promise<string[]> {
  const { stdout } = await run('sqlite3', ['-bail', ...argv], { timeout: 15_000 })
  return stdout.split('\n').filter((line) => line !== '')
}

/** The `sqlite3` program in a terminal that stays open, with its transactions. */
export class SqliteShell {
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  #wake: (() => void) | undefined

  constructor(path: string) {
    this.#child = spawn('sqlite3', ['-bail', path], { stdio: ['pipe', 'pipe', 'inherit'] })
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      this.#lines.push(line)
      this.#wake?.()
    })
  }

  /** Resolves with the lines that the commands print. */
  async run(sql: string): Promise<string[]> {
    const end = '-- end'
    this.#child.stdin!.write(`${sql}\n.print '${end}'\n`)
    while (!this.#lines.includes(end)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#lines.splice(0, this.#lines.indexOf(end) + 1).slice(0, -1)
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.stdin!.end()
    await exited
  }
}

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { StoreRecord } from '../../src/store/store.ts'

const PROGRAM = fileURLToPath(new URL('./store-process.mjs', import.meta.url))

const SILENCE_MS = 15_000

export interface ProcessOptions {
  readonly durability?: 'fsync' | 'process'
  readonly foldBytes?: number
  readonly maxBytes?: number
}

/** What the store replayed, or why it was refused. */
type Opened = { readonly records: readonly StoreRecord[] } | { readonly refused: string }

type Message =
  | { readonly kind: 'opened'; readonly value: Opened }
  | { readonly kind: 'durable'; readonly value: number }
  | { readonly kind: 'appended'; readonly value: readonly number[] }
  | { readonly kind: 'event'; readonly value: string }
  | { readonly kind: 'closed'; readonly value: string | undefined }

/** A process that has a store open, or several one after the other. */
export class StoreProcess {
  /** Failures and news of the store: `failed: reason`, `recovered: commits`, `full: reason` and so on. */
  events: string[] = []
  /** What the process wrote to stderr. */
  stderr = ''
  readonly #acks: string
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>
  readonly #waiting = new Set<() => void>()
  readonly #answers: Message[] = []
  #durable = 0
  #hasExited = false

  /** `dir`: where the file for marks is, which the shim knows. */
  constructor(dir: string, env: Readonly<Record<string, string>>) {
    this.#acks = join(dir, 'acks')
    this.#child = fork(PROGRAM, [this.#acks], {
      env: { ...process.env, ...env },
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.#child.on('message', (message: Message) => this.#handle(message))
    this.#exited = once(this.#child, 'close').then(() => {
      this.#hasExited = true
      this.#wake()
    })
  }

  #handle(message: Message): void {
    if (message.kind === 'event') this.events.push(message.value)
    else if (message.kind === 'durable') this.#durable = message.value
    else this.#answers.push(message)
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
  }

  /** Resolves when `holds` does, which is asked after each event. Rejects if the process ends first, or nothing happens for long. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.#hasExited) throw new Error(`the process ended with ${this.#end}: ${this.stderr}`)
      await new Promise<void>((resolve, reject) => {
        const wake = (): void => {
          clearTimeout(timer)
          this.#waiting.delete(wake)
          resolve()
        }
        const timer = setTimeout(() => {
          this.#waiting.delete(wake)
          reject(new Error([`nothing happened for ${SILENCE_MS / 1000} s after:`, ...this.events, this.stderr].join('\n')))
        }, SILENCE_MS)
        this.#waiting.add(wake)
      })
    }
  }

  get #end(): string {
    return `${this.#child.signalCode ?? this.#child.exitCode}`
  }

  async #ask<K extends Message['kind']>(command: object, kind: K): Promise<Extract<Message, { kind: K }>['value']> {
    this.#child.send(command)
    await this.until(() => this.#answers.length > 0)
    const answer = this.#answers.shift()!
    if (answer.kind !== kind) throw new Error(`${answer.kind} instead of ${kind}`)
    return answer.value as never
  }

  async open(dir: string, options: ProcessOptions): Promise<Opened> {
    this.events = []
    this.#durable = 0
    return this.#ask({ kind: 'open', dir, options }, 'opened')
  }

  /** Appends records, so many in each turn of the event loop, after the first `held` of the ledger. Returns the indexes of those that were refused. */
  async append(held: number, records: readonly StoreRecord[], perTurn = 3): Promise<readonly number[]> {
    return this.#ask({ kind: 'append', held, records, perTurn }, 'appended')
  }

  /** How many records of the ledger are durable, as far as is known here. */
  get durable(): number {
    return this.#durable
  }

  /** Resolves at an event, from `after` on, that begins with this. */
  async event(start: string, after = 0): Promise<string> {
    const find = (): string | undefined => this.events.slice(after).find((event) => event.startsWith(start))
    await this.until(() => find() !== undefined)
    return find()!
  }

  /** Closes the store; resolves to the error if not everything could be stored. */
  async close(): Promise<string | undefined> {
    return this.#ask({ kind: 'close' }, 'closed')
  }

  /** Ends the process, which has to be by itself and without a word. */
  async end(): Promise<void> {
    if (this.#hasExited) return
    this.#child.send({ kind: 'end' })
    await this.#exited
    if (this.#end !== '0' || this.stderr !== '') throw new Error(`the process ended with ${this.#end}: ${this.stderr}`)
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
    if (this.stderr !== '') throw new Error(`the process wrote ${this.stderr}`)
  }

  /** How many records it has reported as durable, also if it has been killed since. */
  get acknowledged(): number {
    const lines = readFileSync(this.#acks, 'utf8').split('\n')
    return Number(lines.at(-2) ?? 0)
  }
}

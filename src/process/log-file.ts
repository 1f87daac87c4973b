import { closeSync, fstatSync, openSync, writeSync } from 'node:fs'
import { StartError } from '../base/start-error.ts'
import { reasonOf } from '../config/io/text-file.ts'
import type { LogOutput } from './log.ts'

/** A log file, to which lines are appended. It is written synchronously, so that a crash loses no line. */
export class LogFile implements LogOutput {
  readonly #path: string
  #file: number
  #lost = 0
  #reason = ''

  /** @throws StartError */
  constructor(path: string) {
    this.#path = path
    try {
      this.#file = open(path)
    } catch (error) {
      throw new StartError(`log_file: cannot write ${path}: ${reasonOf(error)}`)
    }
  }

  /** Writes a line. @throws if that fails: the line is lost, and counted */
  write(text: string): void {
    try {
      const bytes = Buffer.from(text)
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#file, bytes, at)
    } catch (error) {
      this.#lost++
      this.#reason = reasonOf(error)
      throw error
    }
  }

  /** Opens the file by its name again, after it was renamed. Returns a warning if it cannot be opened: the old one stays in use. */
  reopen(): string | undefined {
    try {
      const file = open(this.#path)
      closeSync(this.#file)
      this.#file = file
      return undefined
    } catch (error) {
      return `log_file: cannot open ${this.#path} again, so the file from before stays in use: ${reasonOf(error)}`
    }
  }

  /** Returns a warning about lines that could not be written since the last call. */
  takeLost(): string | undefined {
    if (this.#lost === 0) return undefined
    const warning = `log_file: ${this.#lost} lines could not be written: ${this.#reason}`
    this.#lost = 0
    return warning
  }

  close(): void {
    closeSync(this.#file)
  }
}

const open = (path: string): number => openSync(path, 'a', 0o640)

/**
 * Returns whether this descriptor is connected to systemd-journald. `stream`: the environment variable JOURNAL_STREAM, device
 * and inode of the journal's socket [systemd.exec(5)]: the output may have been redirected since.
 */
export function isJournal(stream: string | undefined, descriptor: number): boolean {
  if (stream === undefined) return false
  try {
    const { dev, ino } = fstatSync(descriptor)
    return stream === `${dev}:${ino}`
  } catch {
    return false
  }
}

import { closeSync, openSync } from 'node:fs'
import { isatty } from 'node:tty'

/** Interval in milliseconds between two looks at the parent process: the system does not report that it has ended. */
const PARENT_MS = 500

/** Calls `ended` once the process that started this one has ended. Returns how to stop watching. */
export function watchParent(ended: () => void): () => void {
  const { ppid } = process
  const timer = setInterval(() => {
    if (process.ppid === ppid) return
    clearInterval(timer)
    ended()
  }, PARENT_MS).unref()
  return () => clearInterval(timer)
}

/**
 * Returns a function that tells whether the terminal on which this process was started has been closed. Always false for one that
 * was started without a terminal, such as a service or behind `nohup` with its output in a file.
 */
export function terminalWatch(): () => boolean {
  if (![0, 1, 2].some((file) => isatty(file))) return () => false
  return () => {
    try {
      closeSync(openSync('/dev/tty', 'r'))
      return false
    } catch {
      return true
    }
  }
}

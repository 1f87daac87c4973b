import { execFile } from 'node:child_process'
import { MAIN } from './started-process.ts'

/** `roost ...` as a user runs it, until it ends. */
export const roost = (...argv: string[]): Promise<{ code: number; out: string; err: string }> =>
  new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, ...argv], (_, out, err) => resolve({ code: child.exitCode ?? -1, out, err }))
  })

// Carries out file operations for shim.test.ts: one JSON array on each line of stdin, one JSON result on each line of stdout.
import fs from 'node:fs'
import { constants } from 'node:os'
import { createInterface } from 'node:readline'

const ERROR_NAMES = new Map(Object.entries(constants.errno).map(([name, errno]) => [errno, name]))
const fds = new Map()

const OPERATIONS = {
  open: (path, flags) => {
    fds.set(path, fs.openSync(path, flags))
  },
  close: (path) => fs.closeSync(fds.get(path)),
  /** At the position of the descriptor if `at` is null. */
  write: (path, text, at = null) => fs.writeSync(fds.get(path), Buffer.from(text), 0, undefined, at),
  writev: (path, texts, at = null) => fs.writevSync(fds.get(path), texts.map(Buffer.from), at),
  sync: (path) => fs.fsyncSync(fds.get(path)),
  datasync: (path) => fs.fdatasyncSync(fds.get(path)),
  truncate: (path, size) => fs.ftruncateSync(fds.get(path), size),
  unlink: (path) => fs.unlinkSync(path),
  rename: (from, to) => fs.renameSync(from, to),
  /** On libuv's threads, all at once. */
  parallel: async (path, texts) => {
    const writes = texts.map((text) => fs.promises.appendFile(path, text))
    for (const { reason } of await Promise.allSettled(writes)) if (reason) throw reason
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = JSON.parse(line)
  let result
  try {
    result = (await OPERATIONS[name](...args)) ?? 'ok'
  } catch (error) {
    // libuv does not know EDQUOT.
    result = ERROR_NAMES.get(-error.errno) ?? `${error}`
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
}

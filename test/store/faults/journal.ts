import { appendFileSync, readFileSync } from 'node:fs'

const MAGIC = 'RoostJ1\n'
/** Struct record in shim.c: type, file, arg, length. */
const HEADER_SIZE = 20
const MARK = 11

/** Files are identified by number: a name can belong to several files in turn. */
export type Entry =
  | { readonly kind: 'file'; readonly file: number; readonly name: string; readonly data: Buffer }
  | { readonly kind: 'directory'; readonly file: number; readonly name: string }
  | { readonly kind: 'create'; readonly file: number; readonly name: string }
  | { readonly kind: 'write'; readonly file: number; readonly offset: number; readonly data: Buffer }
  | { readonly kind: 'truncate'; readonly file: number; readonly size: number }
  | { readonly kind: 'sync-begin' | 'sync-end' | 'sync-failed'; readonly file: number; readonly call: number }
  | { readonly kind: 'unlink'; readonly file: number; readonly name: string }
  | { readonly kind: 'rename'; readonly file: number; readonly name: string; readonly to: string }
  | { readonly kind: 'mark'; readonly text: string }

/** Parses a journal. A record cut off at the end, because the process was killed, is ignored. */
export function readEntries(path: string): Entry[] {
  const bytes = readFileSync(path)
  if (bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) throw new Error(`${path} is not a journal of the fault shim`)
  const entries: Entry[] = []
  for (let at = MAGIC.length; at + HEADER_SIZE <= bytes.length; ) {
    const end = at + HEADER_SIZE + bytes.readUInt32LE(at + 16)
    if (end > bytes.length) break
    const arg = Number(bytes.readBigUInt64LE(at + 8))
    entries.push(entryOf(bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4), arg, bytes.subarray(at + HEADER_SIZE, end)))
    at = end
  }
  return entries
}

function entryOf(type: number, file: number, arg: number, data: Buffer): Entry {
  switch (type) {
    case 1:
      return { kind: 'file', file, name: data.toString('utf8', 0, arg), data: data.subarray(arg) }
    case 2:
      return { kind: 'directory', file, name: data.toString() }
    case 3:
      return { kind: 'create', file, name: data.toString() }
    case 4:
      return { kind: 'write', file, offset: arg, data }
    case 5:
      return { kind: 'truncate', file, size: arg }
    case 6:
      return { kind: 'sync-begin', file, call: arg }
    case 7:
      return { kind: 'sync-end', file, call: arg }
    case 8:
      return { kind: 'sync-failed', file, call: arg }
    case 9:
      return { kind: 'unlink', file, name: data.toString() }
    case 10:
      return { kind: 'rename', file, name: data.toString('utf8', 0, arg), to: data.toString('utf8', arg) }
    case MARK:
      return { kind: 'mark', text: data.toString() }
    default:
      throw new Error(`unknown record type ${type} in the journal`)
  }
}

/**
 * Appends a mark to the journal of a running process from outside, for example when a client has received PUBACK. The mark may
 * be later in the journal than the acknowledgement was sent, never earlier, so a loss found with it is a real one.
 */
export function appendMark(path: string, text: string): void {
  const data = Buffer.from(text)
  const header = Buffer.alloc(HEADER_SIZE)
  header.writeUInt32LE(MARK)
  header.writeUInt32LE(data.length, 16)
  // One write with O_APPEND: records of the process are not interleaved with it.
  appendFileSync(path, Buffer.concat([header, data]), { flag: 'a' })
}

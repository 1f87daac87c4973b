import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs'

const MIB = 1024 * 1024

/** Most files that are read while clients are served are parsed in one turn of the event loop. */
const FILE_BYTES_MAX = 32 * MIB
/** YAML takes about a microsecond per byte, fifty times as long as lines of text. */
export const YAML_BYTES_MAX = 4 * MIB

/**
 * Reads a regular file. Anything else could hold the process: a read from a pipe or a terminal waits for a writer, and a device may
 * have no end.
 *
 * @throws Error of the system, or with the reason as its message
 */
export function readRegularFile(path: string, bytesMax = FILE_BYTES_MAX): Buffer {
  // Without O_NONBLOCK, to open a pipe waits for a writer.
  const file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  try {
    const found = fstatSync(file)
    if (!found.isFile()) throw new Error(kindOf(found))
    const { size } = found
    if (size > bytesMax) throw new Error(`it has ${(size / MIB).toFixed(1)} MiB, and at most ${bytesMax / MIB} MiB are read`)
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}

function kindOf(found: Stats): string {
  if (found.isDirectory()) return 'it is a directory'
  return `it is a ${found.isFIFO() ? 'pipe' : 'device'}, not a regular file`
}

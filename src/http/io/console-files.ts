import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ConsoleFile } from '../console.ts'

/** Where `npm run build` puts the console: beside the compiled sources of src/http/io/. */
const FOLDER = fileURLToPath(new URL('../../console/', import.meta.url))
const FILES_MAX = 64
/** Bytes of all files, in all encodings. */
const BYTES_MAX = 4 * 1024 * 1024

/** Reads the files of the console; none if it has not been built. @throws Error if that is more than a console has */
export function readConsole(folder = FOLDER): readonly ConsoleFile[] {
  const names = namesIn(folder)
  if (names.length > FILES_MAX) throw new Error(`${folder}: ${names.length} files, and ${FILES_MAX} are expected at most`)
  let total = 0
  const read = (name: string): Uint8Array | undefined => {
    if (!names.includes(name)) return undefined
    const bytes = readFileSync(join(folder, name))
    total += bytes.length
    if (total > BYTES_MAX) throw new Error(`${folder}: more than ${BYTES_MAX} bytes`)
    return bytes
  }
  return names
    .filter((name) => !/\.(gz|br)$|(^|\/)\./.test(name))
    .map((name) => {
      const bytes = read(name)!
      const hash = createHash('sha256').update(bytes).digest('base64url').slice(0, 22)
      return { name, bytes, gzip: read(`${name}.gz`), brotli: read(`${name}.br`), hash }
    })
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => relative('.', name).split(sep).join('/'))
      .sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

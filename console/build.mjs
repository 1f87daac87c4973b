// Builds the console into dist/console, unless what is there was built from the same sources.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { BUNDLED } from './bundled.mjs'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const OUT = fileURLToPath(new URL('../dist/console/', import.meta.url))
const STAMP = join(OUT, '.sources')

const filesIn = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .sort()

function sourcesHash() {
  const hash = createHash('sha256')
  for (const path of [...filesIn(HERE), join(HERE, '..', 'package.json')]) {
    const bytes = readFileSync(path)
    hash.update(`${path.slice(HERE.length)} ${bytes.length}\n`).update(bytes)
  }
  return hash.digest('hex')
}

const licenses = () =>
  BUNDLED.map((name) => `${name}\n\n${readFileSync(join(HERE, '../node_modules', name, 'LICENSE'), 'utf8').trim()}\n`).join(
    '\n\n',
  )

/** @throws Error if the code of other packages than BUNDLED is in the page: their licences and versions would not be told */
function checkBundled({ output }) {
  const modules = output.flatMap(({ moduleIds = [] }) => moduleIds)
  const names = modules.flatMap((id) => /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/.exec(id)?.[1] ?? [])
  const found = [...new Set(names)].sort().join(', ')
  if (found !== BUNDLED.join(', ')) throw new Error(`console/bundled.mjs lists ${BUNDLED.join(', ')}, but bundled are ${found}`)
}

const sources = sourcesHash()
const built = existsSync(STAMP) ? readFileSync(STAMP, 'utf8') : ''
if (built !== sources) {
  const { build } = await import('vite')
  checkBundled(await build({ configFile: join(HERE, 'vite.config.mjs'), logLevel: 'warn' }))
  writeFileSync(join(OUT, 'licenses.txt'), licenses())
  // Once here, rather than at each start.
  for (const path of filesIn(OUT)) {
    const bytes = readFileSync(path)
    writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }))
    writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }))
  }
  mkdirSync(OUT, { recursive: true })
  writeFileSync(STAMP, sources)
}

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
/** Lines of a file at most. */
const LINES_MAX = { src: 500, tests: 600 }
interface Source {
  /** From the root of the repository: `src/mqtt/link.ts`. */
  readonly path: string
  readonly text: string
}

interface Import {
  readonly from: string
  /** A path like Source.path, or a package. */
  readonly to: string
  readonly typeOnly: boolean
}

function sourcesIn(folder: string): Source[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => ({ path: join(folder, name), text: readFileSync(join(ROOT, folder, name), 'utf8') }))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
}

function importsOf({ path, text }: Source): Import[] {
  const found = text.matchAll(/^\s*(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm)
  const lazy = text.matchAll(/\bimport\('([^']+)'\)/g)
  const resolve = (to: string): string => (to.startsWith('.') ? normalize(join(dirname(path), to)) : to)
  return [
    ...Array.from(found, ([, type, to]) => ({ from: path, to: resolve(to!), typeOnly: type !== undefined })),
    ...Array.from(lazy, ([, to]) => ({ from: path, to: resolve(to!), typeOnly: false })),
  ]
}

/** Impure, and free to import packages: the process, the commands, and what reads sockets and files for a room. */
const isShell = (path: string): boolean =>
  ['src/main.ts', 'src/index.ts'].includes(path) || /^src\/(cli|process|library)\/|\/io\//.test(path)
/** `base`, `mqtt`, ... or the name of a file directly in src. */
const roomOf = (path: string): string => relative('src', path).split('/')[0]!
/** The folder below the room: `io`, `client`, ...; empty for a file that lies in the room itself. */
const partOf = (path: string): string => relative('src', path).split('/').slice(1, -1).join('/')

/** What each room may import besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  store: ['base'],
  mqtt: ['base', 'store'],
  mqttsn: ['base'],
  broker: ['base', 'store', 'mqtt'],
  gateway: ['base', 'store', 'mqtt', 'mqttsn'],
  upstream: ['base', 'store', 'mqtt'],
  filters: ['base', 'store', 'mqtt', 'broker'],
  config: ['base', 'mqtt', 'gateway', 'upstream', 'filters'],
  access: ['base', 'store', 'mqtt', 'broker', 'config'],
  mosquitto: ['base', 'store', 'mqtt', 'broker'],
  presence: ['base', 'broker', 'gateway', 'upstream'],
  trace: ['base', 'mqtt', 'mqttsn', 'gateway'],
  'sys-figures.ts': ['base', 'mqtt', 'broker', 'gateway'],
  'server.ts': ['base', 'store', 'mqtt', 'mqttsn', 'broker', 'gateway', 'upstream', 'presence', 'sys-figures.ts'],
  http: [
    'base',
    'store',
    'mqtt',
    'mqttsn',
    'broker',
    'gateway',
    'upstream',
    'presence',
    'config',
    'access',
    'trace',
    'server.ts',
  ],
  process: [
    'base',
    'store',
    'mqtt',
    'mqttsn',
    'broker',
    'gateway',
    'upstream',
    'config',
    'access',
    'filters',
    'http',
    'presence',
    'trace',
    'server.ts',
  ],
  cli: [
    'base',
    'store',
    'mqtt',
    'mqttsn',
    'broker',
    'gateway',
    'config',
    'access',
    'mosquitto',
    'http',
    'trace',
    'server.ts',
    'process',
  ],
  library: ['base', 'store', 'mqtt', 'broker', 'gateway', 'config', 'access', 'filters', 'http', 'server.ts', 'process'],
  'index.ts': ['base', 'server.ts', 'process', 'library'],
  'main.ts': ['cli', 'process'],
}
/** Folders of a room, lowest first: each may import those before it. Files that lie in the room itself see all of them but `io`. */
const PARTS: Readonly<Record<string, readonly string[]>> = { gateway: ['ports', 'topics', 'client'] }
/** Files of a room that its folders may import: what they have in common. */
const SHARED: ReadonlySet<string> = new Set(['src/gateway/gateway-options.ts', 'src/gateway/translate.ts'])
/** The whole, whose type its parts may name. */
const PARENTS: ReadonlySet<string> = new Set([
  'src/gateway/client/client.ts',
  'src/gateway/client/outbound.ts',
  'src/broker/context.ts',
  'src/broker/client-link.ts',
  'src/broker/session.ts',
  'src/upstream/upstream-link.ts',
  'src/upstream/sensors/sensor-session.ts',
])
/** The options table is made of zod schemas, which are pure. */
const PURE_PACKAGES: Readonly<Record<string, readonly string[]>> = { 'src/config/options/kinds.ts': ['zod'] }

function wrongPackages(imports: readonly Import[]): string[] {
  return imports
    .filter(({ from, to }) => !isShell(from) && !to.startsWith('src/') && !PURE_PACKAGES[from]?.includes(to))
    .map(({ from, to }) => `${from} imports ${to}`)
}

function wrongDirections(imports: readonly Import[]): string[] {
  return imports
    .filter(({ from, to }) => to.startsWith('src/') && !mayImport(from, to))
    .map(({ from, to }) => `${from} imports ${to}`)
}

function mayImport(from: string, to: string): boolean {
  const room = roomOf(from)
  const isIo = partOf(from).startsWith('io')
  // Only the process, the commands and other io/ folders know of an io/ folder.
  if (partOf(to).startsWith('io') && !isShell(from)) return false
  if (room !== roomOf(to)) return MAY_IMPORT[room]?.includes(roomOf(to)) ?? false
  const parts = PARTS[room]
  if (parts === undefined || partOf(from) === partOf(to) || isIo || partOf(from) === '') return true
  return SHARED.has(to) || (partOf(to) !== '' && parts.indexOf(partOf(to)) < parts.indexOf(partOf(from)))
}

/** Circles of imports, of types too. A part may name the type of its parent. */
function cycles(imports: readonly Import[]): string[] {
  const next = new Map<string, string[]>()
  for (const { from, to, typeOnly } of imports)
    if (!(typeOnly && PARENTS.has(to))) next.set(from, [...(next.get(from) ?? []), to])
  const found: string[] = []
  const done = new Set<string>()
  const visit = (path: string, way: readonly string[]): void => {
    if (way.includes(path)) found.push([...way.slice(way.indexOf(path)), path].join(' -> '))
    else if (!done.has(path)) {
      for (const to of next.get(path) ?? []) visit(to, [...way, path])
      done.add(path)
    }
  }
  for (const path of next.keys()) visit(path, [])
  return found
}

/** Files that only hand on what others export. */
function barrels(sources: readonly Source[]): string[] {
  return sources
    .filter(({ path, text }) => path !== 'src/index.ts' && /^export (\*|\{[^}]*\}) from/m.test(text))
    .map(({ path }) => `${path} exports what is another file's`)
}

/** What depends on the world outside: time, chance, the process. */
const IMPURE = [
  /\bDate\b/,
  /\bMath\.random\b/,
  /\bset(Timeout|Interval|Immediate)\b/,
  /\bPromise\b/,
  /\basync\b/,
  /\bawait\b/,
  /\bconsole\./,
  /\bprocess\./,
  /\bperformance\./,
  /\bqueueMicrotask\b/,
]

function impurities(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path, text }) => {
    if (isShell(path)) return []
    const code = text
      .replaceAll(/\/\*[\s\S]*?\*\//g, '')
      .replaceAll(/\/\/.*$/gm, '')
      .replaceAll(/'[^'\n]*'|`[^`]*`/g, "''")
    return IMPURE.filter((pattern) => pattern.test(code)).map((pattern) => `${path} uses ${pattern.source}`)
  })
}

const linesMax = (path: string): number => (path.startsWith('src/') ? LINES_MAX.src : LINES_MAX.tests)

function tooLong(sources: readonly Source[]): string[] {
  return sources
    .map(({ path, text }) => ({ path, lines: text.trimEnd().split('\n').length }))
    .flatMap(({ path, lines }) => (lines > linesMax(path) ? `${path}: ${lines} lines` : []))
}

describe('the rules of ARCHITECTURE.md', () => {
  const sources = sourcesIn('src')
  const imports = sources.flatMap(importsOf)

  test('the sources were found', () => {
    expect(sources.length).toBeGreaterThan(40)
    expect(imports.length).toBeGreaterThan(100)
  })

  test('only main.ts, index.ts, cli/, process/, library/ and io/ import node: and packages', () =>
    expect(wrongPackages(imports)).toEqual([]))
  test('rooms, their folders and their io/ import in one direction', () => expect(wrongDirections(imports)).toEqual([]))
  test('no import cycles', () => expect(cycles(imports)).toEqual([]))
  test('no barrels but src/index.ts', () => expect(barrels(sources)).toEqual([]))
  test('no clocks, timers, promises, chance or console in the core', () => expect(impurities(sources)).toEqual([]))
  test('no file is too long', () => expect(tooLong([...sources, ...sourcesIn('test'), ...sourcesIn('fuzz')])).toEqual([]))
})

describe('each rule finds an offender', () => {
  const offender = (path: string, text: string): Source => ({ path, text })

  test('packages', () => {
    expect(wrongPackages(importsOf(offender('src/broker/a.ts', "import { x } from 'node:fs'\nimport 'pino'")))).toHaveLength(2)
    expect(wrongPackages(importsOf(offender('src/broker/io/a.ts', "import { x } from 'node:fs'")))).toEqual([])
  })
  test('directions, of types too', () => {
    expect(wrongDirections(importsOf(offender('src/broker/a.ts', "import type { x } from '../gateway/b.ts'")))).toHaveLength(1)
    expect(wrongDirections(importsOf(offender('src/mqtt/a.ts', "import {\n  x,\n} from '../broker/b.ts'")))).toHaveLength(1)
    expect(wrongDirections(importsOf(offender('src/base/a.ts', "import { x } from './io/b.ts'")))).toHaveLength(1)
    expect(wrongDirections(importsOf(offender('src/gateway/a.ts', "import { x } from '../mqtt/b.ts'")))).toEqual([])
  })
  test('cycles', () => {
    const two = [offender('src/a.ts', "import { b } from './b.ts'"), offender('src/b.ts', "export { a } from './a.ts'")]
    expect(cycles(two.flatMap(importsOf))).toEqual(['src/a.ts -> src/b.ts -> src/a.ts'])
    const typed = [
      offender('src/a.ts', "import type { b } from './b.ts'"),
      offender('src/b.ts', "import type { a } from './a.ts'"),
    ]
    expect(cycles(typed.flatMap(importsOf))).toHaveLength(1)
    const [parent] = PARENTS
    const whole = [
      offender(parent!, "import { b } from './b.ts'"),
      offender(join(dirname(parent!), 'b.ts'), `import type { a } from './${parent!.split('/').at(-1)}'`),
    ]
    expect(cycles(whole.flatMap(importsOf))).toEqual([])
  })
  test('barrels', () => expect(barrels([offender('src/mqtt/index.ts', "export * from './a.ts'")])).toHaveLength(1))
  test('impurities, but not in comments and strings', () => {
    expect(impurities([offender('src/broker/a.ts', 'const now = Date.now()\nasync () => {}')])).toHaveLength(2)
    expect(impurities([offender('src/broker/a.ts', "// Date.now()\n/* async */ const text = 'await'")])).toEqual([])
  })
  test('length', () => {
    const lines = (count: number): string => 'x\n'.repeat(count)
    expect(tooLong([offender('src/a.ts', lines(501)), offender('test/a.ts', lines(601))])).toHaveLength(2)
    expect(tooLong([offender('src/a.ts', lines(500)), offender('test/a.ts', lines(501))])).toEqual([])
  })
})

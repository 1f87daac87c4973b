import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { contentProblems } from '../../deploy/release/contents.mjs'
import { type Block, blocksOf, isForThisNode, runnerOf } from './code-blocks.ts'
import { Consumer, DEPENDENCIES, VERSION } from './consumer.ts'

/** What is run as it stands. */
const pages = readdirSync(new URL('../../docs/', import.meta.url)).filter((name) => name.endsWith('.md'))
const blocks = ['README.md', ...pages.map((name) => `docs/${name}`)].flatMap(blocksOf)
const runnable = blocks.filter(isForThisNode)
const moduleOf = ({ place }: Block): string => `./${place.replaceAll(/[^a-z0-9]+/gi, '-')}.mjs`

let consumer: Consumer
beforeAll(() => {
  consumer = new Consumer()
  for (const name of ['mqtt', '@types', 'undici-types']) consumer.borrow(name)
  for (const block of blocks) consumer.write(moduleOf(block), block.code)
}, 120_000)
afterAll(() => consumer.remove(), 60_000)

/** What a file of the package imports, as it is written there. */
const importsOf = (path: string): string[] =>
  Array.from(
    consumer.read(path).matchAll(/^(?:import|export)\b[^'";]*?from ['"]([^'"]+)['"]|\bimport\(['"]([^'"]+)['"]\)/gm),
    ([, from, lazily]) => (from ?? lazily)!,
  )

const packagesOf = (imports: readonly string[]): string[] =>
  imports.filter((name) => !/^(\.|node:)/.test(name)).map((name) => /^(@[^/]+\/)?[^/]+/.exec(name)![0])

describe('the package', () => {
  test('has what users need, nothing of ours, and is at most 3 MB to download', () =>
    expect(contentProblems(consumer.files, consumer.packedBytes)).toEqual([]))

  test('imports nothing that it does not install, in its declarations neither', () => {
    const ours = new Set(consumer.files.filter((path) => /^dist\/(?!console\/).*\.(js|d\.ts)$/.test(path)))
    const packages = Array.from(ours).flatMap((path) => packagesOf(importsOf(path)))
    expect(packages.length).toBeGreaterThan(10)
    expect([...new Set(packages)].filter((name) => !DEPENDENCIES.includes(name))).toEqual([])
  })

  test('the types of `roost-mqtt` need no package but @types/node', () => {
    const reached = new Set(['dist/index.d.ts'])
    // A set grows while it is walked.
    for (const path of reached)
      for (const name of importsOf(path).filter((each) => each.startsWith('.')))
        reached.add(join(dirname(path), name).replace(/\.ts$/, '.d.ts'))
    expect(reached).toContain('dist/library/start-options.d.ts')
    expect(Array.from(reached).flatMap((path) => packagesOf(importsOf(path)).map((name) => `${path}: ${name}`))).toEqual([])
    expect([...reached].filter((path) => /^dist\/(cli|http|trace)\/|\/io\//.test(path))).toEqual([])
  })
})

describe('installed in an empty folder', () => {
  test('`roost` runs', () => {
    expect(consumer.roost('--version')).toMatchObject({ status: 0, stdout: `${VERSION}\n`, stderr: '' })
    expect(consumer.roost('serve', '--port', 'x')).toMatchObject({ status: 2 })
    expect(consumer.roost('config', 'example').stdout).toMatch(/^# An example/)
  })

  const PROGRAM = `
    const { ports, urls } = roost
    if (!(ports.mqtt > 0) || !urls.sn.startsWith('udp:')) throw new Error(JSON.stringify({ ports, urls }))
    await roost.stop()
    console.log('stopped')`

  test('import', () => {
    const path = consumer.write(
      'imports.mjs',
      `import { start } from 'roost-mqtt'; const roost = await start({ port: 0, snPort: 0 });${PROGRAM}`,
    )
    expect(consumer.node(path)).toMatchObject({ status: 0, stdout: 'stopped\n', stderr: '' })
  })

  test('require', () => {
    const path = consumer.write(
      'requires.cjs',
      `const { start } = require('roost-mqtt'); start({ port: 0, snPort: 0 }).then(async (roost) => {${PROGRAM}})`,
    )
    // Node.js 20 and 22 say that require of a module is experimental.
    expect(consumer.node('--no-warnings', path)).toMatchObject({ status: 0, stdout: 'stopped\n', stderr: '' })
  })

  test('without optional packages: a store on Node.js 22.13 and later, and a line that says what is missing before', () => {
    const path = consumer.write(
      'stores.mjs',
      `import { start } from 'roost-mqtt'
       const roost = await start({ port: 0, snPort: 0, dataDir: 'data' }).catch(({ message }) => console.log(message))
       await roost?.stop()`,
    )
    const { stdout, stderr } = consumer.node(path)
    if (process.versions.node.startsWith('20.'))
      expect(stdout).toMatch(
        /SQLite is missing: use Node\.js 22\.13 or later, .* or install better-sqlite3 \(npm install without/,
      )
    else expect(stdout + stderr).toBe('')
    expect(existsSync(join(consumer.dir, 'data', 'roost.db'))).toBe(!process.versions.node.startsWith('20.'))
  })
})

interface Result {
  readonly module: string
  readonly printed: readonly string[]
  readonly error?: string
}

describe('the code in the documents', () => {
  let ended: ReturnType<Consumer['node']>
  const results = new Map<string, Result>()
  beforeAll(() => {
    ended = consumer.node(consumer.write('runner.mjs', runnerOf(runnable.map(moduleOf))))
    for (const line of ended.stdout.split('\n').filter(Boolean)) {
      const result = JSON.parse(line) as Result
      results.set(result.module, result)
    }
  }, 90_000)

  test.each(runnable)('$place does what it says', (block) => {
    const { error, printed } = results.get(moduleOf(block)) ?? { error: 'has not been run', printed: [] }
    expect(error).toBeUndefined()
    expect(printed).toEqual(expect.arrayContaining([...block.printed]))
  })

  test('prints no errors and leaves nothing running', () => expect(ended).toMatchObject({ status: 0, stderr: '' }))
})

describe('types', () => {
  const PROGRAM = `
import { type Message, type Roost, start, type StartOptions } from 'roost-mqtt'
const options: StartOptions = { port: 0, snPort: 0, logLevel: 'warn' }
export const run = async (): Promise<Message[]> => {
  const roost: Roost = await start(options)
  return [...roost.retained()]
}
// @ts-expect-error: no such option
export const wrong = start({ prot: 1 })
`
  beforeAll(() => {
    for (const name of ['program.mts', 'program.cts', 'program.ts']) consumer.write(name, PROGRAM)
  })

  test('ES modules and CommonJS, with all declarations checked', () => {
    const options = ['--module', 'nodenext', '--target', 'es2022', '--skipLibCheck', 'false']
    expect(consumer.typeErrors(options, ['program.mts', 'program.cts'])).toBe('')
  })

  test('bundlers, and the code in the documents', () => {
    const module = [
      '--module',
      'esnext',
      '--moduleResolution',
      'bundler',
      '--target',
      'es2022',
      '--lib',
      'es2023,esnext.disposable',
    ]
    const options = [...module, '--skipLibCheck', '--allowJs', '--checkJs', '--noImplicitAny', 'false']
    expect(consumer.typeErrors(options, ['program.ts', ...blocks.map(moduleOf)])).toBe('')
  })
})

import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const PACKAGE = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly version: string
  readonly bin: object
  readonly engines: object
  readonly dependencies: object
  readonly optionalDependencies: object
}
export const VERSION = PACKAGE.version
/** Names of the packages that ours installs. */
export const DEPENDENCIES = Object.keys({ ...PACKAGE.dependencies, ...PACKAGE.optionalDependencies })

/** Without what `npm test` sets for its child processes: this folder and its settings. */
const ENV = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)))

type Lock = { readonly packages: Readonly<Record<string, { readonly dev?: boolean }>> }

/** The packed file that `npm run release` asks about. */
const PACKED = process.env.ROOST_PACKAGE

/** An empty folder with the package in it: packed from dist/ as it is, or PACKED, and installed from the file. */
export class Consumer {
  readonly dir = mkdtempSync(join(tmpdir(), 'roost-package-'))
  /** The paths of the files in the package. */
  readonly files: readonly string[]
  /** Bytes of the file that `npm pack` writes. */
  readonly packedBytes: number

  constructor() {
    const [packed] = JSON.parse(
      this.#npm(['pack', PACKED ?? '.', '--ignore-scripts', '--json', '--pack-destination', this.dir], ROOT),
    ) as [{ filename: string; size: number; files: { path: string }[] }]
    this.files = packed.files.map(({ path }) => path)
    this.packedBytes = packed.size
    this.write('package.json', JSON.stringify({ name: 'consumer', dependencies: { 'roost-mqtt': `file:${packed.filename}` } }))
    this.write('package-lock.json', JSON.stringify(lockOf(packed.filename)))
    // The versions of package-lock.json, which npm has kept since it installed them here: nothing has to be asked or downloaded.
    this.#npm(['ci', '--ignore-scripts', '--omit=optional', '--prefer-offline', '--no-audit', '--no-fund'], this.dir)
  }

  /** Returns the text of a file of the installed package. */
  read(path: string): string {
    return readFileSync(join(this.dir, 'node_modules/roost-mqtt', path), 'utf8')
  }

  write(name: string, text: string): string {
    const path = join(this.dir, name)
    writeFileSync(path, text)
    return path
  }

  /** Runs `node` in the folder, in the version that runs the tests. */
  node(...argv: string[]): SpawnSyncReturns<string> {
    return spawnSync(process.execPath, argv, { cwd: this.dir, env: ENV, encoding: 'utf8', timeout: 60_000 })
  }

  /** Runs the command `roost` as npx finds it. */
  roost(...argv: string[]): SpawnSyncReturns<string> {
    return this.node(join('node_modules', '.bin', 'roost'), ...argv)
  }

  /** Lends the folder one of our own packages for development. */
  borrow(name: string): void {
    symlinkSync(join(ROOT, 'node_modules', name), join(this.dir, 'node_modules', name))
  }

  /** The compiler's lines about these files; '' if there is nothing to say. */
  typeErrors(options: readonly string[], files: readonly string[]): string {
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    return this.node(tsc, '--noEmit', '--strict', '--types', 'node', ...options, ...files).stdout
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true })
  }

  #npm(argv: readonly string[], cwd: string): string {
    return execFileSync('npm', argv, { cwd, env: ENV, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }
}

/** Ours without what is for development, below a package that depends on nothing but ours. */
function lockOf(filename: string): unknown {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as Lock
  const atRunTime = Object.entries(packages).filter(([path, { dev }]) => path !== '' && dev !== true)
  const { version, bin, engines, dependencies, optionalDependencies } = PACKAGE
  return {
    name: 'consumer',
    lockfileVersion: 3,
    requires: true,
    packages: {
      '': { name: 'consumer', dependencies: { 'roost-mqtt': `file:${filename}` } },
      'node_modules/roost-mqtt': { version, resolved: `file:${filename}`, bin, engines, dependencies, optionalDependencies },
      ...Object.fromEntries(atRunTime),
    },
  }
}

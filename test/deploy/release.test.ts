import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { BUNDLED } from '../../console/bundled.mjs'
import { licenceProblems, versionProblems } from '../../deploy/release/checks.mjs'
import { contentProblems } from '../../deploy/release/contents.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const dirs: string[] = []
afterAll(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true })
})

const MANIFEST = {
  name: 'roost-mqtt',
  version: '1.2.3',
  license: 'MIT',
  dependencies: { a: '4.5.6' },
  devDependencies: { c: '1.0.0', preact: '1.0.0' },
  files: ['dist', 'docs', 'examples', 'deploy', '!deploy/release', '*.md'],
}
const LOCK = {
  name: 'roost-mqtt',
  version: '1.2.3',
  lockfileVersion: 3,
  requires: true,
  packages: {
    '': { ...MANIFEST },
    'node_modules/a': { version: '4.5.6', license: 'MIT', dependencies: { b: '7.8.9' } },
    'node_modules/a/node_modules/b': { version: '7.8.9', license: '(MIT OR GPL-3.0)' },
    'node_modules/c': { version: '1.0.0', license: 'GPL-3.0', dev: true },
    'node_modules/preact': { version: '1.0.0', license: 'MIT', dev: true },
  } as Record<string, object>,
}

/** A checkout in which nothing is wrong: `npm run release` itself, and a package of a few small files. */
class Checkout {
  readonly dir = mkdtempSync(join(tmpdir(), 'roost-release-test-'))

  constructor() {
    dirs.push(this.dir)
    for (const path of ['deploy/release', 'console/bundled.mjs'])
      cpSync(join(ROOT, path), join(this.dir, path), { recursive: true })
    this.write('package.json', JSON.stringify(MANIFEST))
    this.write('package-lock.json', JSON.stringify(LOCK))
    this.write('CHANGELOG.md', '# Changelog\n\n## 1.2.3 - 2026-02-03\n\n- Something.\n\n## 1.2.2\n\n- More.\n')
    this.git('init', '--quiet')
    this.commit()
  }

  write(path: string, text: string): void {
    mkdirSync(dirname(join(this.dir, path)), { recursive: true })
    writeFileSync(join(this.dir, path), text)
  }

  git(...argv: string[]): void {
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...argv], { cwd: this.dir })
  }

  commit(): void {
    this.git('add', '--all')
    this.git('commit', '--quiet', '--message', 'a commit')
  }

  release(...argv: string[]): SpawnSyncReturns<string> {
    const script = join(this.dir, 'deploy/release/release.mjs')
    return spawnSync(process.execPath, [script, ...argv], { cwd: this.dir, encoding: 'utf8' })
  }

  /** What is printed before anything is built. */
  refusal(...argv: string[]): string {
    const { status, stdout, stderr } = this.release(...argv)
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    return stderr
  }
}

describe('a release is refused', () => {
  let checkout: Checkout
  beforeEach(() => {
    checkout = new Checkout()
  })
  const changed = (path: string, text: string): string => {
    checkout.write(path, text)
    checkout.commit()
    return checkout.refusal()
  }

  test('with a version that is not one, nor that of lock file and change log', () => {
    expect(changed('package.json', JSON.stringify({ ...MANIFEST, version: '1.2.4-dev' }))).toBe(
      `package.json: version 1.2.4-dev: expected a version like 1.2.3
package-lock.json: version 1.2.3, but package.json has 1.2.4-dev: run npm install
CHANGELOG.md: the newest section is "1.2.3 - 2026-02-03", but package.json has version 1.2.4-dev
`,
    )
  })

  test.each([
    ['# Changelog\n', 'the newest section is "", but package.json has version 1.2.3'],
    ['## 1.2.3\n\n- A.\n', `the section of 1.2.3 has no date: write "## 1.2.3 - ${new Date().toJSON().slice(0, 10)}"`],
    ['## 1.2.3 - 2026-02-30\n\n- A.\n', /1\.2\.3 - 2026-02-30: expected a date like/],
    ['## 1.2.3 - 3026-02-03\n\n- A.\n', /1\.2\.3 - 3026-02-03: expected .* not in the future/],
    ['## 1.2.3 - 2026-02-03\n\n## 1.2.2\n\n- A.\n', 'the section of 1.2.3 is empty'],
    ['## 1.2.4 - 2026-02-03\n\n- A.\n\n## 1.2.3 - 2026-02-03\n\n- A.\n', /the newest section is "1\.2\.4 - 2026-02-03"/],
  ])('with the change log %j', (text, expected) => {
    const refusal = changed('CHANGELOG.md', text)
    expect(refusal.trim().split('\n')).toHaveLength(1)
    expect(refusal).toMatch(expected)
  })

  test('with a tag of another version, given or there', () => {
    expect(checkout.refusal('--tag', 'v1.2.2')).toBe('--tag v1.2.2: package.json has version 1.2.3, so it has to be v1.2.3\n')
    checkout.git('tag', 'v1.3.0')
    expect(checkout.refusal()).toBe('tag v1.3.0: is on this commit, which has version 1.2.3\n')
  })

  test('when its tag is on another commit', () => {
    checkout.git('tag', 'v1.2.3')
    expect(changed('README.md', 'more')).toBe('tag v1.2.3: is on another commit already: 1.2.3 has been released\n')
  })

  test('with changes that are not committed', () => {
    checkout.write('CHANGELOG.md', '## 1.2.3 - 2026-02-03\n\n- Something else.\n')
    checkout.write('new file.txt', '')
    expect(checkout.refusal()).toBe('CHANGELOG.md: is not committed\n"new file.txt": is not committed\n')
  })

  test.each(['GPL-3.0', '(MIT AND GPL-3.0)', '(GPL-3.0 OR MIT OR ISC) AND SSPL-1.0', 'SEE LICENSE IN LICENSE', undefined])(
    'with a package under %s, and no other line',
    (license) => {
      const packages = { ...LOCK.packages, 'node_modules/a/node_modules/@x/d': { version: '1.0.0', license, optional: true } }
      const what = license ?? 'unknown'
      expect(changed('package-lock.json', JSON.stringify({ ...LOCK, packages }))).toBe(
        `@x/d 1.0.0: licence ${what} is not in the list of deploy/release/licences.mjs\n`,
      )
    },
  )

  test('with such a package in the console, which npm takes for development only', () => {
    const packages = { ...LOCK.packages, 'node_modules/preact': { version: '1.0.0', license: 'GPL-3.0', dev: true } }
    expect(changed('package-lock.json', JSON.stringify({ ...LOCK, packages }))).toMatch(/^preact 1\.0\.0: licence GPL-3\.0 .*\n$/)
  })

  test('outside a checkout, and with flags that do not exist', () => {
    rmSync(join(checkout.dir, '.git'), { recursive: true })
    expect(checkout.refusal()).toMatch(/^git tag .*: fatal: not a git repository.*\n$/)
    expect(checkout.release('--publish')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^Unknown option '--publish'.*\n$/),
    })
  })

  test('with a package in which something is missing', () => {
    const { status, stderr } = checkout.release()
    expect({ status, first: stderr.split('\n')[0] }).toEqual({ status: 1, first: 'package: dist/main.js is missing' })
  })
})

test('a release: package, components, checksums, and what is to be done by hand; the registry may be out of reach', () => {
  const checkout = new Checkout()
  const small = ['dist/main.js', 'dist/index.js', 'dist/index.d.ts', 'dist/console/index.html', 'dist/console/licenses.txt']
  for (const path of [
    ...small,
    'docs/library.md',
    'examples/README.md',
    'deploy/prometheus/alerts.yml',
    'README.md',
    'SECURITY.md',
    'LICENSE',
  ])
    checkout.write(path, '')
  checkout.write(
    'test/package/a.test.mjs',
    `
    import { existsSync } from 'node:fs'
    import { expect, test } from 'vitest'
    test('there', () => expect(existsSync(process.env.ROOST_PACKAGE)).toBe(true))`,
  )
  checkout.write('.gitignore', 'node_modules\nfiles\n')
  checkout.write('.npmrc', 'registry=http://127.0.0.1:9/\nfetch-retries=0\n')
  symlinkSync(join(ROOT, 'node_modules'), join(checkout.dir, 'node_modules'))
  checkout.commit()
  const { status, stdout, stderr } = checkout.release('--tag', 'v1.2.3', '--out', 'files')
  expect({ status, stderr }).toMatchObject({ status: 0 })
  expect(stdout).toContain('2. git tag -s v1.2.3')
  expect(stdout).toContain('3. npm publish files/roost-mqtt-1.2.3.tgz\n')
  const files = join(checkout.dir, 'files')
  expect(readdirSync(files)).toEqual(['SHA256SUMS', 'roost-mqtt-1.2.3.cdx.json', 'roost-mqtt-1.2.3.tgz'])
  expect(execFileSync('sha256sum', ['--check', 'SHA256SUMS'], { cwd: files, encoding: 'utf8' })).toMatch(/^(.*: OK\n){2}$/)
  const sbom = JSON.parse(readFileSync(join(files, 'roost-mqtt-1.2.3.cdx.json'), 'utf8')) as {
    components: { purl: string }[]
    metadata: object
  }
  expect(sbom.metadata).toMatchObject({ component: { name: 'roost-mqtt', version: '1.2.3' } })
  expect(sbom.components.map(({ purl }) => purl)).toEqual(['pkg:npm/a@4.5.6', 'pkg:npm/b@7.8.9', 'pkg:npm/preact@1.0.0'])
  expect(existsSync(join(checkout.dir, 'roost-mqtt-1.2.3.tgz'))).toBe(false)
}, 120_000)

describe('this commit', () => {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as Parameters<typeof licenceProblems>[0]

  test('has one version in package.json and package-lock.json', () => {
    expect(versionProblems(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }, lock)).toEqual([])
  })

  test('gives users no package whose licence says anything about theirs', () =>
    expect(licenceProblems(lock, BUNDLED)).toEqual([]))
})

test('a package with our own files in it, or too large', () => {
  const files = [
    'dist/main.js',
    'src/main.ts',
    'dist/a.js.map',
    'docs/x.ts',
    'deploy/release/release.mjs',
    'examples/a.test.mjs',
    '.npmrc',
  ]
  expect(contentProblems(files, 3_000_001).filter((line) => !line.endsWith('missing'))).toEqual([
    ...['src/main.ts', 'dist/a.js.map', 'docs/x.ts', 'deploy/release/release.mjs', '.npmrc'].map(
      (path) => `package: ${path} is not for users`,
    ),
    'package: 3000001 bytes, more than 3000000',
  ])
})

// `npm run release`: says whether this commit can be released, makes the files of the release, and ends with what is to be done by
// hand. It publishes nothing, sets no tag, and without --out leaves nothing behind. docs/releasing.md describes it.
// -- --tag v1.2.3: the tag that will be set, which has to be that of package.json's version.
// -- --out DIR: keeps the package, its list of components (SBOM) and their checksums in this folder.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { BUNDLED } from '../../console/bundled.mjs'
import { changelogProblems, licenceProblems, tagProblems, versionProblems } from './checks.mjs'
import { contentProblems } from './contents.mjs'
import { writeComponents } from './sbom.mjs'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Without the settings that `npm run` gives to what it starts: this npm is asked as from a shell. */
const ENV = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)))

const read = (path) => readFileSync(join(ROOT, path), 'utf8')
const lines = (text) => text.split('\n').filter(Boolean)
const say = (text) => process.stdout.write(`${text}\n`)

/** Prints what is wrong, and ends unless that is nothing. */
function refuseIf(problems) {
  if (problems.length === 0) return
  process.stderr.write(`${problems.join('\n')}\n`)
  process.exit(1)
}

/** Returns what a program prints. One that fails ends this one. */
function output(program, ...argv) {
  const { status, error, stdout, stderr } = spawnSync(program, argv, {
    cwd: ROOT,
    env: ENV,
    encoding: 'utf8',
    maxBuffer: 100_000_000,
  })
  if (status !== 0) refuseIf([`${program} ${argv.join(' ')}: ${error?.message ?? stderr.trim()}`])
  return stdout
}

function options() {
  try {
    return parseArgs({ options: { tag: { type: 'string' }, out: { type: 'string' } } }).values
  } catch ({ message }) {
    process.stderr.write(`${message.split('\n')[0]}\n`)
    process.exit(2)
  }
}

function commitProblems(manifest, lock, given) {
  const { version } = manifest
  const here = lines(output('git', 'tag', '--points-at', 'HEAD'))
  const elsewhere = lines(output('git', 'tag')).filter((tag) => !here.includes(tag))
  const changed = lines(output('git', 'status', '--porcelain'))
  return [
    ...versionProblems(manifest, lock),
    ...changelogProblems(read('CHANGELOG.md'), version, new Date().toJSON().slice(0, 10)),
    ...tagProblems(version, { given, here, elsewhere }),
    ...licenceProblems(lock, BUNDLED),
    ...changed.map((line) => `${line.slice(3)}: is not committed`),
  ]
}

/** Packs into the folder, and returns the path of the file. */
function pack(dir) {
  // What the build prints comes before the list of files.
  const printed = output('npm', 'pack', '--json', '--silent', '--pack-destination', dir)
  const [{ filename, size, files }] = JSON.parse(printed.slice(printed.indexOf('[\n')))
  refuseIf(
    contentProblems(
      files.map(({ path }) => path),
      size,
    ),
  )
  say(`${filename}: ${files.length} files, ${size} bytes`)
  return join(dir, filename)
}

/** Installs the file in an empty folder and uses it there, as the tests do with what they pack themselves. */
function tryPackage(path) {
  const vitest = [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', 'test/package', '--reporter=dot']
  const { status } = spawnSync(process.execPath, vitest, { cwd: ROOT, env: { ...ENV, ROOST_PACKAGE: path }, stdio: 'inherit' })
  if (status !== 0) refuseIf(['package: does not work as it is installed: see above'])
}

/** Prints what npm knows about our packages. Whether that matters is for a person to say, and the registry may be out of reach. */
function lookAt(...argv) {
  say(`\nnpm ${argv.join(' ')}:`)
  const { status, error } = spawnSync('npm', argv, { cwd: ROOT, env: ENV, stdio: 'inherit', timeout: 60_000 })
  if (error !== undefined) say(`no answer: ${error.message}`)
  else if (status === 0) say('nothing')
}

const byHand = (version, files) => `
${version} can be released from this commit. By hand, in this order:

1. CI has passed on this commit, and npm run test:full on a machine with time for it.
2. git tag -s v${version} -m 'Roost ${version}' && git push origin v${version}
3. npm publish ${files[0]}
4. A release page with the section of CHANGELOG.md and ${files.slice(1).join(', ')}
5. npm run deb on amd64 and arm64; docker build -f deploy/docker/Dockerfile -t roost:${version} .
6. The next version in package.json (npm version --no-git-tag-version minor), and a section for it in CHANGELOG.md
`

const { tag, out } = options()
const manifest = JSON.parse(read('package.json'))
const lock = JSON.parse(read('package-lock.json'))
refuseIf(commitProblems(manifest, lock, tag))

const dir = mkdtempSync(join(tmpdir(), 'roost-release-'))
process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
const packed = pack(dir)
tryPackage(packed)
const components = writeComponents({ manifest, lock, bundled: BUNDLED, env: ENV, dir })
say(`${basename(components.path)}: ${components.count} components`)
const sums = join(dir, 'SHA256SUMS')
const sumOf = (path) => `${createHash('sha256').update(readFileSync(path)).digest('hex')}  ${basename(path)}\n`
writeFileSync(sums, sumOf(packed) + sumOf(components.path))

lookAt('audit', '--omit=dev')
lookAt('outdated')

const files = [packed, components.path, sums]
if (out !== undefined) {
  mkdirSync(out, { recursive: true })
  for (const path of files) copyFileSync(path, join(out, basename(path)))
}
say(
  byHand(
    manifest.version,
    files.map((path) => join(out ?? '', basename(path))),
  ),
)
if (out === undefined) say('Nothing was kept: npm run release -- --out DIR writes the files.')
else say(`The files are in ${resolve(out)}.`)

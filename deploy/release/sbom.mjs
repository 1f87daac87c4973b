import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Writes which packages users get, as npm tells it in CycloneDX's format: those that are installed with ours, optional ones too,
 * and those whose code is in the console, which npm takes for development only.
 * @returns {{ path: string, count: number }} the file, and the number of components in it
 */
export function writeComponents({ manifest, lock, bundled, env, dir }) {
  const { scripts, devDependencies = {}, ...rest } = manifest
  const inConsole = Object.fromEntries(Object.entries(devDependencies).filter(([name]) => bundled.includes(name)))
  const ours = { ...rest, dependencies: { ...rest.dependencies, ...inConsole } }
  const packages = Object.entries(lock.packages).map(([path, entry]) => {
    if (path === '') return ['', ours]
    return [path, bundled.includes(path.slice('node_modules/'.length)) ? { ...entry, dev: undefined } : entry]
  })
  // npm calls the component after the folder.
  const folder = join(dir, manifest.name)
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), JSON.stringify(ours))
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ ...lock, packages: Object.fromEntries(packages) }))
  const argv = ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx', '--sbom-type', 'application', '--omit', 'dev']
  const text = execFileSync('npm', argv, { cwd: folder, env, encoding: 'utf8', maxBuffer: 100_000_000 })
  const path = join(dir, `${manifest.name}-${manifest.version}.cdx.json`)
  writeFileSync(path, text)
  return { path, count: JSON.parse(text).components.length }
}

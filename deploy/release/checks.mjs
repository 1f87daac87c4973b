// What `npm run release` asks of a commit. Each check returns what is wrong, one line each.
import { satisfies } from './licences.mjs'

/**
 * @param {{ version: string }} manifest package.json
 * @param {{ version: string, packages: Record<string, { version?: string }> }} lock package-lock.json
 * @returns {string[]}
 */
export function versionProblems({ version }, lock) {
  const locked = [lock.version, lock.packages['']?.version].find((each) => each !== version)
  return [
    ...(/^\d+\.\d+\.\d+$/.test(version) ? [] : [`package.json: version ${version}: expected a version like 1.2.3`]),
    ...(locked === undefined ? [] : [`package-lock.json: version ${locked}, but package.json has ${version}: run npm install`]),
  ]
}

/**
 * The newest section of the change log is of this version, has a date that is not in the future, and has a text.
 * @param {string} changelog CHANGELOG.md
 * @param {string} version
 * @param {string} today a date like 2026-12-01
 * @returns {string[]}
 */
export function changelogProblems(changelog, version, today) {
  const [heading, ...text] = (changelog.split(/^## /m)[1] ?? '').split('\n')
  const [named, date] = heading.split(' - ')
  if (named !== version) return [`CHANGELOG.md: the newest section is "${heading}", but package.json has version ${version}`]
  if (date === undefined) return [`CHANGELOG.md: the section of ${version} has no date: write "## ${version} - ${today}"`]
  if (!isDate(date) || date > today)
    return [`CHANGELOG.md: ${version} - ${date}: expected a date like ${today}, not in the future`]
  return text.join('').trim() === '' ? [`CHANGELOG.md: the section of ${version} is empty`] : []
}

const isDate = (text) => /^\d{4}-\d\d-\d\d$/.test(text) && new Date(text).toJSON()?.startsWith(text) === true

/**
 * @param {string} version
 * @param {{ given?: string, here: readonly string[], elsewhere: readonly string[] }} tags the one that was asked for, those of
 *   this commit, and those of other commits
 * @returns {string[]}
 */
export function tagProblems(version, { given, here, elsewhere }) {
  const tag = `v${version}`
  return [
    ...(given === undefined || given === tag
      ? []
      : [`--tag ${given}: package.json has version ${version}, so it has to be ${tag}`]),
    ...here
      .filter((each) => /^v\d/.test(each) && each !== tag)
      .map((each) => `tag ${each}: is on this commit, which has version ${version}`),
    ...(elsewhere.includes(tag) ? [`tag ${tag}: is on another commit already: ${version} has been released`] : []),
  ]
}

/**
 * The licences of all packages that users get: those that npm installs with ours, optional ones too, and those in the console.
 * @param {{ packages: Record<string, { dev?: boolean, license?: string, version: string }> }} lock package-lock.json
 * @param {readonly string[]} bundled names of packages in the console
 * @returns {string[]}
 */
export function licenceProblems(lock, bundled) {
  return shipped(lock, bundled)
    .filter(([, { license }]) => !satisfies(license))
    .map(([path, { license, version }]) => {
      const name = path.replace(/^.*node_modules\//, '')
      return `${name} ${version}: licence ${license ?? 'unknown'} is not in the list of deploy/release/licences.mjs`
    })
}

/** Returns the entries of package-lock.json of what users get. */
export function shipped({ packages }, bundled) {
  const inConsole = bundled.map((name) => `node_modules/${name}`)
  return Object.entries(packages).filter(([path, { dev }]) => path !== '' && (dev !== true || inConsole.includes(path)))
}

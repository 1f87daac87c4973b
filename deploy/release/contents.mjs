// What may and must be in the package that users install: checked by `npm run release` and by test/package.

const NEEDED = [
  'dist/main.js',
  'dist/index.js',
  'dist/index.d.ts',
  'dist/console/index.html',
  'dist/console/licenses.txt',
  'docs/library.md',
  'examples/README.md',
  'deploy/prometheus/alerts.yml',
  'package.json',
  'README.md',
  'CHANGELOG.md',
  'SECURITY.md',
  'LICENSE',
]
const OURS = /^(dist|docs|examples|deploy)\/|^[A-Z]+(\.md)?$|^package\.json$/
/** Hidden files, source maps, tests, sources (declarations are none), and tools of our own. */
const NOT_FOR_USERS = /(^|\/)\.|\.map$|^(?!examples\/).*\.test\.|(?<!\.d)\.ts$|^docs\/.*\.mjs$|^deploy\/release\//
/** Bytes of the file that users download. */
const MOST = 3_000_000

/**
 * Returns what is wrong with a packed file, one line each.
 */
export function contentProblems(files, bytes) {
  return [
    ...NEEDED.filter((path) => !files.includes(path)).map((path) => `package: ${path} is missing`),
    ...files.filter((path) => !OURS.test(path) || NOT_FOR_USERS.test(path)).map((path) => `package: ${path} is not for users`),
    ...(bytes > MOST ? [`package: ${bytes} bytes, more than ${MOST}`] : []),
  ]
}

import { type HttpRequest, type HttpResponse, plain, type Route } from './exchange.ts'

/** A file of the console, as `npm run build` has written it, in the encodings that it has. */
export interface ConsoleFile {
  /** From the folder of the console: `index.html`, `assets/index-B1x2.js`. */
  readonly name: string
  readonly bytes: Uint8Array
  readonly gzip?: Uint8Array | undefined
  readonly brotli?: Uint8Array | undefined
  /** Quoted, as ETag needs it; each encoding adds to it. */
  readonly hash: string
}

/**
 * The browser runs scripts and applies styles only from files that Roost serves, so a script injected through a topic or a payload
 * does not run. `data:` is for the small images that the build puts into the style sheet.
 */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ')

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  txt: 'text/plain; charset=utf-8',
}

/** The console at `/`, without a login: the page has nothing in it that is not in this repository. */
export function consoleRoutes(files: readonly ConsoleFile[]): readonly Route[] {
  const page = files.find(({ name }) => name === 'index.html')
  if (page === undefined) return [route('/', () => NOT_BUILT)]
  return files.map((file) => route(file === page ? '/' : `/${file.name}`, (request) => fileAnswer(file, request)))
}

const NOT_BUILT = plain('Roost runs, but its console has not been built: npm run build')

const route = (path: string, answer: (request: HttpRequest) => HttpResponse): Route => ({
  method: 'GET',
  path,
  needs: undefined,
  always: true,
  answer,
})

function fileAnswer(file: ConsoleFile, { acceptEncoding, ifNoneMatch }: HttpRequest): HttpResponse {
  const { name, bytes, gzip, brotli, hash } = file
  const [encoding, encoded] = chosen(acceptEncoding, { br: brotli, gzip }) ?? ['', bytes]
  const etag = `"${hash}${encoding === '' ? '' : `-${encoding}`}"`
  const headers = {
    etag,
    vary: 'Accept-Encoding',
    // The name of an asset changes with its content.
    'cache-control': name.startsWith('assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
    ...(name.endsWith('.html') && { 'content-security-policy': PAGE_POLICY }),
    ...(encoding !== '' && { 'content-encoding': encoding }),
  }
  const type = TYPES[name.slice(name.lastIndexOf('.') + 1)] ?? 'application/octet-stream'
  const isKnown = ifNoneMatch?.split(',').some((each) => each.trim().replace(/^W\//, '') === etag) === true
  return isKnown ? { status: 304, type, body: '', headers } : { status: 200, type, body: '', bytes: encoded, headers }
}

type Encoded = readonly [encoding: string, bytes: Uint8Array]

/** The first encoding that there is and that the browser accepts [RFC 9110 section 12.5.3]. */
function chosen(accept: string | undefined, known: Readonly<Record<string, Uint8Array | undefined>>): Encoded | undefined {
  const accepted = (accept ?? '').split(',').flatMap((each) => {
    const [name = '', ...parameters] = each.split(';').map((part) => part.trim().toLowerCase())
    return parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter)) ? [] : [name]
  })
  for (const [encoding, bytes] of Object.entries(known))
    if (bytes !== undefined && accepted.includes(encoding)) return [encoding, bytes]
  return undefined
}

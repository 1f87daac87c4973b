import { type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { text } from 'node:stream/consumers'
import { rootCertificates } from 'node:tls'
import { Option } from 'commander'
import { StartError } from '../../base/start-error.ts'
import { DEFAULT_CONFIG, type Layer } from '../../config/config.ts'
import { parseConfigFile } from '../../config/io/config-file.ts'
import { readTextFile, reasonOf } from '../../config/io/text-file.ts'
import { YamlFile } from '../../config/io/yaml-file.ts'
import { parseTokens } from '../../http/token-file.ts'
import { HTTP_PORT } from '../../process/http-port.ts'
import { readPassword } from '../password-prompt.ts'
import type { Host } from '../serve.ts'
import { fits, type Shape } from './shape.ts'

/** Flags of all commands that ask a running Roost. */
export interface ApiFlags {
  readonly config?: string
  readonly httpHost?: string
  readonly httpPort?: string
  readonly httpTls?: true
  readonly httpCafile?: string
  readonly httpTokenFile?: string
  readonly httpUser?: string
}

export const apiFlags = (): readonly Option[] => [
  new Option('-c, --config <file>', 'the configuration file of that Roost: takes http_host, http_port and http_certfile from it'),
  new Option('--http-host <address>', `where its HTTP service listens (default: ${DEFAULT_CONFIG.httpHost})`),
  new Option('--http-port <number>', `(default: ${HTTP_PORT})`),
  new Option('--http-tls', 'use HTTPS'),
  new Option('--http-cafile <file>', 'use HTTPS, and trust the certificates in this file (PEM) too'),
  new Option('--http-token-file <file>', 'a file with a token of http_token_file (default: ROOST_HTTP_TOKEN in the environment)'),
  new Option('--http-user <name>', 'log in as this user of http_password_file; asks for the password'),
]

/** Milliseconds without a byte of the answer. */
const PATIENCE_MS = 15_000
/** The same for a stream, in which there is a comment every 15 s. */
const STREAM_PATIENCE_MS = 40_000

/** The HTTP service of a running Roost. */
export class ApiClient {
  readonly #url: string
  readonly #ca: readonly string[] | undefined
  readonly #authorization: string | undefined

  private constructor(url: string, ca: readonly string[] | undefined, authorization: string | undefined) {
    this.#url = url
    this.#ca = ca
    this.#authorization = authorization
  }

  /** Asks for the password if it needs one. @throws StartError for the flags and the files that they name */
  static async from(flags: ApiFlags, host: Host): Promise<ApiClient> {
    const { config, httpCafile } = flags
    const file: Layer = config === undefined ? new Map() : parseConfigFile(YamlFile.read(config, host.cwd, '--config')).global
    const off = file.get('http')
    if (off?.value === false)
      throw new StartError(`${off.origin}: the HTTP service is switched off: set http: true and restart Roost`)
    const certfile = file.get('http_certfile')?.value as string | undefined
    const trusted = [
      ...(certfile === undefined ? [] : [readTextFile(certfile, host.cwd, 'http_certfile')]),
      ...(httpCafile === undefined ? [] : [readTextFile(httpCafile, host.cwd, '--http-cafile')]),
    ]
    const isTls = flags.httpTls === true || trusted.length > 0
    const address = reachable(flags.httpHost ?? (file.get('http_host')?.value as string | undefined) ?? DEFAULT_CONFIG.httpHost)
    const port =
      flags.httpPort === undefined ? ((file.get('http_port')?.value as number | undefined) ?? HTTP_PORT) : portOf(flags.httpPort)
    const url = `${isTls ? 'https' : 'http'}://${address.includes(':') ? `[${address}]` : address}:${port}`
    return new ApiClient(url, isTls ? [...rootCertificates, ...trusted] : undefined, await authorizationOf(flags, host))
  }

  /** `http://127.0.0.1:1885` */
  get url(): string {
    return this.#url
  }

  /** The JSON at a path, which has this shape. @throws StartError of one line if there is none */
  async get<T>(path: string, shape: Shape): Promise<T> {
    const json = parsed(await this.#textOf(await this.#answer(path, PATIENCE_MS)))
    if (!fits(json, shape)) throw this.#stranger()
    return json as T
  }

  async #textOf(response: IncomingMessage): Promise<string> {
    try {
      return await text(response)
    } catch (error) {
      throw new StartError(`${this.#url}: the answer has broken off: ${reasonOf(error)}`)
    }
  }

  /** The answer, whose status is 200. @throws StartError of one line for any other */
  async #answer(path: string, patienceMs: number, stop?: AbortSignal): Promise<IncomingMessage> {
    const response = await this.#request(path, patienceMs, stop).catch((error: unknown) => {
      throw new StartError(
        `${this.#url}: nothing answers: ${reasonOf(error)} (is Roost running, with http: true? see --http-port)`,
      )
    })
    if (response.statusCode === 200) return response
    const json = parsed(await this.#textOf(response))
    const { detail } = (json ?? {}) as { readonly detail?: unknown }
    if (typeof detail !== 'string') throw this.#stranger()
    const hint = response.statusCode === 401 ? ' (--http-user, --http-token-file)' : ''
    throw new StartError(`${this.#url}: ${detail}${hint}`)
  }

  /** The events of a stream, as they come: their names and their JSON. @throws StartError if there is none, or it ends */
  async *events(
    path: string,
    shape: Shape,
    stop: AbortSignal,
  ): AsyncGenerator<{ readonly name: string; readonly data: unknown }, undefined> {
    const response = await this.#answer(path, STREAM_PATIENCE_MS, stop)
    let rest = ''
    try {
      for await (const chunk of response.setEncoding('utf8')) {
        const blocks = (rest + (chunk as string)).split('\n\n')
        rest = blocks.pop()!
        for (const block of blocks) {
          const [, name = '', data = ''] = /^event: (.*)\n(?:id: .*\n)?data: (.*)$/.exec(block) ?? []
          if (name === '') continue
          const json = parsed(data)
          if (!fits(json, shape)) throw this.#stranger()
          yield { name, data: json }
        }
      }
    } catch (error) {
      if (error instanceof StartError) throw error
      if (!stop.aborted) throw new StartError(`${this.#url}: the stream has broken off: ${reasonOf(error)}`)
    }
    if (!stop.aborted) throw new StartError(`${this.#url}: Roost has ended the stream: it stops, or has read its users again`)
  }

  /** All entries of a list, page by page; each has this shape. @throws StartError as `get` */
  async *list<T>(
    path: string,
    query: Readonly<Record<string, string | undefined>>,
    name: string,
    shape: Shape,
  ): AsyncGenerator<T, undefined> {
    let cursor: string | undefined
    do {
      const given = Object.entries({ limit: '1000', ...query, cursor }).filter(
        (each): each is [string, string] => each[1] !== undefined,
      )
      const page = await this.get<Readonly<Record<string, unknown>>>(`${path}?${new URLSearchParams(given)}`, PAGE)
      const entries = page[name]
      if (!Array.isArray(entries) || !entries.every((entry) => fits(entry, shape))) throw this.#stranger()
      yield* entries as T[]
      cursor = page.cursor as string | undefined
    } while (cursor !== undefined)
  }

  #stranger(): StartError {
    return new StartError(`${this.#url}: this is not the HTTP service of Roost, or one of another version`)
  }

  #request(path: string, timeout: number, signal: AbortSignal | undefined): Promise<IncomingMessage> {
    return new Promise((done, failed) => {
      const options = {
        timeout,
        ...(signal !== undefined && { signal }),
        headers: { accept: 'application/json', ...(this.#authorization !== undefined && { authorization: this.#authorization }) },
        ...(this.#ca !== undefined && { ca: [...this.#ca] }),
      }
      const url = this.#url + path
      const request = this.#ca === undefined ? requestHttp(url, options, done) : requestHttps(url, options, done)
      request.on('timeout', () => request.destroy(new Error('no answer in time'))).on('error', failed)
      request.end()
    })
  }
}

/** All entries of a list. */
export async function collected<T>(entries: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = []
  for await (const entry of entries) all.push(entry)
  return all
}

const PAGE: Shape = { 'cursor?': 'string' }

function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

/** Where a service is reached that listens on all addresses. */
const reachable = (address: string): string => (address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address)

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65_535) throw new StartError(`--http-port: expected a whole number from 1 to 65535, got ${text}`)
  return port
}

async function authorizationOf({ httpTokenFile, httpUser }: ApiFlags, host: Host): Promise<string | undefined> {
  if (httpTokenFile !== undefined) return `Bearer ${tokenIn(httpTokenFile, host.cwd)}`
  if (httpUser !== undefined) {
    const password = await readPassword(host, 'once')
    return `Basic ${Buffer.from(`${httpUser}:${password}`).toString('base64')}`
  }
  const token = host.env?.ROOST_HTTP_TOKEN?.trim() ?? ''
  if (token === '') return undefined
  if (!IS_TOKEN.test(token)) throw new StartError('ROOST_HTTP_TOKEN: expected a token without spaces')
  return `Bearer ${token}`
}

/** What a header can carry. */
const IS_TOKEN = /^[\x21-\x7e]+$/

/** The token alone, or the first one of a file that `http_token_file` may name. */
function tokenIn(path: string, cwd: string): string {
  const contents = readTextFile(path, cwd, '--http-token-file')
  const alone = contents.trim()
  if (IS_TOKEN.test(alone)) return alone
  const tokens = parseTokens(contents)
  if ('reason' in tokens) throw new StartError(`${path}:${tokens.line}: ${tokens.reason} (--http-token-file)`)
  const [token] = tokens.keys()
  if (token === undefined) throw new StartError(`${path}: contains no token (--http-token-file)`)
  return token
}

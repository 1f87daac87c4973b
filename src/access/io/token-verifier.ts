import { createHash, createPublicKey, createSecretKey, KeyObject, type webcrypto, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyResult,
  jwtVerify,
} from 'jose'
import { StartError } from '../../base/start-error.ts'
import { reasonOf } from '../../config/io/text-file.ts'
import { isUrl } from '../../config/options/kinds.ts'
import { topicFilterError } from '../../mqtt/topics.ts'
import { HttpService, keySetFetcher, ServiceFailure } from './http-service.ts'

export interface TokenOptions {
  readonly jwtSecretFile: string | undefined
  readonly jwtPublicKeyFile: string | undefined
  readonly jwtJwks: string | undefined
  readonly jwtIssuer: string | undefined
  readonly jwtAudience: string | undefined
  readonly jwtUsernameClaim: string
}

/** What a token says of its bearer. */
export interface TokenClaims {
  readonly username: string
  /** Filters, %c and %u allowed; `undefined` if the token says nothing of rights. */
  readonly publish: readonly string[] | undefined
  readonly subscribe: readonly string[] | undefined
  readonly validSeconds: number | undefined
  /** The key that it was verified with: one of `TokenVerifier.keys`. */
  readonly key: string
}

type KeySet = ReturnType<typeof createLocalJWKSet> | ReturnType<typeof createRemoteJWKSet>

/** Keys from one place, and what may be signed with them. */
interface Source {
  readonly keys: KeyObject | KeySet
  readonly algorithms: string[]
  /** Of each key; of a set behind a URL, which may change at any time, the URL. */
  readonly names: readonly string[]
  readonly url?: string
  /** Of that URL, for logs. */
  readonly place?: string
  readonly file?: string
}

const SECRET_ALGORITHMS = ['HS256', 'HS384', 'HS512']
const PUBLIC_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
/** Seconds by which clocks may differ. */
const CLOCK_TOLERANCE = 5
const REMOTE_TIMEOUT_MS = 5000

/** Verifying makes several copies of a token, each of which may have to wait for keys from elsewhere. */
const TOKEN_LENGTH_MAX = 16 * 1024

/** Verifies JSON Web Tokens, which clients send in place of a password. */
export class TokenVerifier {
  /** What tokens may be verified with, as names that change when the keys do. */
  readonly keys: readonly string[]
  /** Files of key sets that hold no key, so that no token is valid by them. */
  readonly emptySets: readonly string[]
  readonly #options: TokenOptions
  readonly #sources: readonly Source[]

  private constructor(options: TokenOptions, sources: readonly Source[]) {
    this.keys = sources.flatMap(({ names }) => names)
    this.emptySets = sources.flatMap(({ names, file }) => (names.length === 0 && file !== undefined ? [file] : []))
    this.#options = options
    this.#sources = sources
  }

  /** `undefined` if no key is configured. @throws StartError that names option and file */
  static load(options: TokenOptions): TokenVerifier | undefined {
    const { jwtSecretFile, jwtPublicKeyFile, jwtJwks } = options
    const sources: Source[] = []
    if (jwtSecretFile !== undefined) sources.push(single(secretOf(jwtSecretFile), SECRET_ALGORITHMS))
    if (jwtPublicKeyFile !== undefined) sources.push(single(publicKeyOf(jwtPublicKeyFile), PUBLIC_ALGORITHMS))
    if (jwtJwks !== undefined) sources.push(keySetOf(jwtJwks))
    return sources.length === 0 ? undefined : new TokenVerifier(options, sources)
  }

  /** Why it is refused, as text, or what it claims. @throws ServiceFailure if that cannot be told, because its keys cannot be had */
  async verify(token: string): Promise<TokenClaims | string> {
    if (token.length > TOKEN_LENGTH_MAX) return `a token of ${token.length} characters, of ${TOKEN_LENGTH_MAX} allowed`
    let reason = 'no key'
    let failure: ServiceFailure | undefined
    for (const source of this.#sources) {
      const { jwtIssuer, jwtAudience } = this.#options
      const options = {
        algorithms: source.algorithms,
        clockTolerance: CLOCK_TOLERANCE,
        ...(jwtIssuer !== undefined && { issuer: jwtIssuer }),
        ...(jwtAudience !== undefined && { audience: jwtAudience }),
      }
      try {
        const { payload, key } = await verifyWith(source.keys, token, options)
        return this.#claims(
          payload,
          source.url ?? nameOf(key instanceof KeyObject ? key : KeyObject.from(key as webcrypto.CryptoKey)),
        )
      } catch (error) {
        reason = (error as Error).message
        if (isOfKeySet(source, error))
          failure ??= error instanceof ServiceFailure ? error : new ServiceFailure(`jwt_jwks ${source.place}: ${reason}`)
      }
    }
    // This is not a guessed token.
    if (failure !== undefined) throw failure
    return reason
  }

  #claims(payload: JWTPayload, key: string): TokenClaims | string {
    const { jwtUsernameClaim } = this.#options
    const username = payload[jwtUsernameClaim]
    if (typeof username !== 'string' || username === '') return `no claim ${jwtUsernameClaim}`
    const publish = filtersOf(payload.publish)
    const subscribe = filtersOf(payload.subscribe)
    if (publish === 'invalid' || subscribe === 'invalid') return 'publish and subscribe have to be lists of topic filters'
    const validSeconds = payload.exp === undefined ? undefined : Math.max(0, payload.exp - Date.now() / 1000)
    return { username, publish, subscribe, validSeconds, key }
  }
}

/** Whether a set of keys behind a URL could not be had or makes no sense, which says nothing about the token. */
const isOfKeySet = ({ place }: Source, error: unknown): boolean =>
  error instanceof ServiceFailure || (place !== undefined && !(error instanceof errors.JOSEError))

/** Rights in a token or an answer: a list of topic filters, absent, or wrong. */
export function filtersOf(value: unknown): readonly string[] | 'invalid' | undefined {
  if (value === undefined) return undefined
  const isFilter = (each: unknown): boolean => typeof each === 'string' && topicFilterError(each) === ''
  return Array.isArray(value) && value.every(isFilter) ? (value as string[]) : 'invalid'
}

type Verified = Pick<JWTVerifyResult, 'payload'> & { readonly key: unknown }

async function verifyWith(keys: KeyObject | KeySet, token: string, options: Parameters<typeof jwtVerify>[2]): Promise<Verified> {
  if (keys instanceof KeyObject) return { payload: (await jwtVerify(token, keys, options)).payload, key: keys }
  try {
    return await jwtVerify(token, keys, options)
  } catch (error) {
    // A set whose keys have no names, and a token that names none: each that fits may be the one.
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    let last: unknown = error
    for await (const key of error) {
      try {
        return { payload: (await jwtVerify(token, key, options)).payload, key }
      } catch (failed) {
        last = failed
      }
    }
    throw last
  }
}

const single = (key: KeyObject, algorithms: string[]): Source => ({ keys: key, algorithms, names: [nameOf(key)] })

/** Distinguishes keys without revealing them. */
const nameOf = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.type === 'secret' ? key.export() : key.export({ type: 'spki', format: 'der' }))
    .digest('base64')

function secretOf(path: string): KeyObject {
  const secret = read(path, 'jwt_secret_file')
  // An editor's newline at the end is not part of the secret.
  const trimmed = secret.at(-1) === 0x0a ? secret.subarray(0, -1) : secret
  if (trimmed.length < 32)
    throw new StartError(`jwt_secret_file ${path}: a secret needs at least 32 bytes, this has ${trimmed.length}`)
  return createSecretKey(trimmed)
}

function publicKeyOf(path: string): KeyObject {
  const pem = read(path, 'jwt_public_key_file')
  try {
    return pem.includes('BEGIN CERTIFICATE') ? new X509Certificate(pem).publicKey : createPublicKey(pem)
  } catch {
    throw new StartError(`jwt_public_key_file ${path}: contains no public key or certificate in PEM`)
  }
}

/** Only public keys count: a shared secret has no place in a set that is fetched. */
function keySetOf(source: string): Source {
  const algorithms = PUBLIC_ALGORITHMS
  if (isUrl(source)) {
    const service = new HttpService(source)
    return {
      keys: createRemoteJWKSet(new URL(service.url), {
        timeoutDuration: REMOTE_TIMEOUT_MS,
        headers: service.headers,
        [customFetch]: keySetFetcher(service, REMOTE_TIMEOUT_MS),
      }),
      algorithms,
      names: [service.url],
      url: service.url,
      place: service.place,
    }
  }
  try {
    const set = JSON.parse(read(source, 'jwt_jwks').toString()) as JSONWebKeySet
    const names = set.keys
      .filter(({ kty }) => kty === 'RSA' || kty === 'EC' || kty === 'OKP')
      .map((jwk) => nameOf(createPublicKey({ key: jwk, format: 'jwk' })))
    return { keys: createLocalJWKSet(set), algorithms, names, file: source }
  } catch (error) {
    throw error instanceof StartError ? error : new StartError(`jwt_jwks ${source}: contains no JSON Web Key Set`)
  }
}

function read(path: string, option: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new StartError(`${option} ${path}: ${reasonOf(error)}`)
  }
}

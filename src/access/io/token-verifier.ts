import { createHash, createPublicKey, createSecretKey, KeyObject, type webcrypto, X509Certificate } from 'node:crypto'
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
import { readRegularFile } from '../../base/io/regular-file.ts'
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

/** JSON allows what no MQTT string may contain: lone surrogates, which UTF-8 cannot express, and U+0000. */
const UNSTORABLE = /[\p{Surrogate}\0]/u

/** The claims of a token. */
export interface TokenClaims {
  readonly username: string
  /** Filters, which may contain %c and %u; `undefined` if the token does not specify rights. */
  readonly publish: readonly string[] | undefined
  readonly subscribe: readonly string[] | undefined
  readonly validSeconds: number | undefined
  /** The key by which it was verified: one of `TokenVerifier.keys`. */
  readonly key: string
}

type KeySet = ReturnType<typeof createLocalJWKSet> | ReturnType<typeof createRemoteJWKSet>

/** Keys from one source, and the algorithms for which they may be used. */
interface Source {
  readonly keys: KeyObject | KeySet
  readonly algorithms: string[]
  /** Names of the keys; the URL for a set at a URL, which may change at any time. */
  readonly names: readonly string[]
  readonly url?: string
  /** Location of the URL for logs. */
  readonly place?: string
  readonly file?: string
}

const SECRET_ALGORITHMS = ['HS256', 'HS384', 'HS512']
const PUBLIC_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
/** Maximum difference between clocks in seconds. */
const CLOCK_TOLERANCE = 5
const REMOTE_TIMEOUT_MS = 5000

/**
 * Maximum length of a token in characters. Verifying makes several copies of it, each of which may have to wait for
 * keys from a URL.
 */
const TOKEN_LENGTH_MAX = 16 * 1024

/**
 * Maximum number of keys of a set that are tried for one token. A set of 1 MiB may contain 4,000 that fit a token
 * without a key id: half a second for each guess.
 */
const KEYS_TRIED_MAX = 8
const NO_MORE_TRIED = `none of the first ${KEYS_TRIED_MAX} keys that fit has signed it, and no more are tried (jwt_jwks): it needs the key id (kid) of one key`

/** Verifies JSON Web Tokens, which clients send instead of a password. */
export class TokenVerifier {
  /** Names of the keys for verification; a name changes with its key. */
  readonly keys: readonly string[]
  /** Key set files without a key, by which no token is valid. */
  readonly emptySets: readonly string[]
  readonly #options: TokenOptions
  readonly #sources: readonly Source[]

  private constructor(options: TokenOptions, sources: readonly Source[]) {
    this.keys = sources.flatMap(({ names }) => names)
    this.emptySets = sources.flatMap(({ names, file }) => (names.length === 0 && file !== undefined ? [file] : []))
    this.#options = options
    this.#sources = sources
  }

  /** Loads the keys. Returns `undefined` if none is configured. @throws StartError that names option and file */
  static load(options: TokenOptions): TokenVerifier | undefined {
    const { jwtSecretFile, jwtPublicKeyFile, jwtJwks } = options
    const sources: Source[] = []
    if (jwtSecretFile !== undefined) sources.push(single(secretOf(jwtSecretFile), SECRET_ALGORITHMS))
    if (jwtPublicKeyFile !== undefined) sources.push(single(publicKeyOf(jwtPublicKeyFile), PUBLIC_ALGORITHMS))
    if (jwtJwks !== undefined) sources.push(keySetOf(jwtJwks))
    return sources.length === 0 ? undefined : new TokenVerifier(options, sources)
  }

  /**
   * Returns the claims of a valid token, or the reason why it is refused.
   * @throws ServiceFailure if the keys are unavailable
   */
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
    // The token may be valid, so this does not count as a guess.
    if (failure !== undefined) throw failure
    return reason
  }

  #claims(payload: JWTPayload, key: string): TokenClaims | string {
    const { jwtUsernameClaim } = this.#options
    const username = payload[jwtUsernameClaim]
    if (typeof username !== 'string' || username === '') return `no claim ${jwtUsernameClaim}`
    if (UNSTORABLE.test(username)) return `the claim ${jwtUsernameClaim} is not well-formed text`
    const publish = filtersOf(payload.publish)
    const subscribe = filtersOf(payload.subscribe)
    if (publish === 'invalid' || subscribe === 'invalid') return 'publish and subscribe have to be lists of topic filters'
    const validSeconds = payload.exp === undefined ? undefined : Math.max(0, payload.exp - Date.now() / 1000)
    return { username, publish, subscribe, validSeconds, key }
  }
}

/**
 * Returns whether the error concerns a key set at a URL that is unavailable or invalid; it says nothing about the
 * token.
 */
const isOfKeySet = ({ place }: Source, error: unknown): boolean =>
  error instanceof ServiceFailure || (place !== undefined && !(error instanceof errors.JOSEError))

/** Returns the filters of a right in a token or an answer: a list of topic filters; `undefined` if absent. */
export function filtersOf(value: unknown): readonly string[] | 'invalid' | undefined {
  if (value === undefined) return undefined
  const isFilter = (each: unknown): boolean => typeof each === 'string' && topicFilterError(each) === '' && !UNSTORABLE.test(each)
  return Array.isArray(value) && value.every(isFilter) ? (value as string[]) : 'invalid'
}

type Verified = Pick<JWTVerifyResult, 'payload'> & { readonly key: unknown }

async function verifyWith(keys: KeyObject | KeySet, token: string, options: Parameters<typeof jwtVerify>[2]): Promise<Verified> {
  if (keys instanceof KeyObject) return { payload: (await jwtVerify(token, keys, options)).payload, key: keys }
  try {
    return await jwtVerify(token, keys, options)
  } catch (error) {
    // Several keys fit, because the token has no key id or they share it.
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    return tryEach(error, token, options)
  }
}

async function tryEach(
  keys: errors.JWKSMultipleMatchingKeys,
  token: string,
  options: Parameters<typeof jwtVerify>[2],
): Promise<Verified> {
  let last: unknown = keys
  let tried = 0
  for await (const key of keys) {
    if (tried++ === KEYS_TRIED_MAX) throw new errors.JWSSignatureVerificationFailed(NO_MORE_TRIED)
    try {
      return { payload: (await jwtVerify(token, key, options)).payload, key }
    } catch (failed) {
      // The key is the right one: claims are checked after the signature.
      if (failed instanceof errors.JWTExpired || failed instanceof errors.JWTClaimValidationFailed) throw failed
      last = failed
    }
  }
  throw last
}

const single = (key: KeyObject, algorithms: string[]): Source => ({ keys: key, algorithms, names: [nameOf(key)] })

/** Returns a name that distinguishes a key without revealing it. */
const nameOf = (key: KeyObject): string =>
  createHash('sha256')
    .update(key.type === 'secret' ? key.export() : key.export({ type: 'spki', format: 'der' }))
    .digest('base64')

function secretOf(path: string): KeyObject {
  const secret = read(path, 'jwt_secret_file')
  // A trailing newline, as editors add it, is not part of the secret.
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

/** Returns a key set, of which only public keys are used: a shared secret must not be in a set that is fetched. */
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
    return readRegularFile(path)
  } catch (error) {
    throw new StartError(`${option} ${path}: ${reasonOf(error)}`)
  }
}

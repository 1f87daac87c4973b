import { createPublicKey, createSecretKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createLocalJWKSet, createRemoteJWKSet, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose'
import { StartError } from '../../config.ts'
import { reasonOf } from '../../io/text-file.ts'

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
}

type Keys = KeyObject | ReturnType<typeof createLocalJWKSet> | ReturnType<typeof createRemoteJWKSet>

const SECRET_ALGORITHMS = ['HS256', 'HS384', 'HS512']
const PUBLIC_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
/** Seconds by which clocks may differ. */
const CLOCK_TOLERANCE = 5
const REMOTE_TIMEOUT_MS = 5000

/** Verifies JSON Web Tokens, which clients send in place of a password. */
export class TokenVerifier {
  readonly #options: TokenOptions
  readonly #keys: readonly { readonly keys: Keys; readonly algorithms: string[] }[]

  private constructor(options: TokenOptions, keys: readonly { keys: Keys; algorithms: string[] }[]) {
    this.#options = options
    this.#keys = keys
  }

  /** `undefined` if no key is configured. @throws StartError that names option and file */
  static load(options: TokenOptions): TokenVerifier | undefined {
    const { jwtSecretFile, jwtPublicKeyFile, jwtJwks } = options
    const keys: { keys: Keys; algorithms: string[] }[] = []
    if (jwtSecretFile !== undefined) keys.push({ keys: secretOf(jwtSecretFile), algorithms: SECRET_ALGORITHMS })
    if (jwtPublicKeyFile !== undefined) keys.push({ keys: publicKeyOf(jwtPublicKeyFile), algorithms: PUBLIC_ALGORITHMS })
    // Only public keys: a shared secret has no place in a set that is fetched.
    if (jwtJwks !== undefined) keys.push({ keys: keySetOf(jwtJwks), algorithms: PUBLIC_ALGORITHMS })
    return keys.length === 0 ? undefined : new TokenVerifier(options, keys)
  }

  /** Why it is refused, as text, or what it claims. */
  async verify(token: string): Promise<TokenClaims | string> {
    let reason = 'no key'
    for (const { keys, algorithms } of this.#keys) {
      const { jwtIssuer, jwtAudience } = this.#options
      const options = {
        algorithms,
        clockTolerance: CLOCK_TOLERANCE,
        ...(jwtIssuer !== undefined && { issuer: jwtIssuer }),
        ...(jwtAudience !== undefined && { audience: jwtAudience }),
      }
      try {
        const { payload } = await jwtVerify(token, keys as KeyObject, options)
        return this.#claims(payload)
      } catch (error) {
        reason = (error as Error).message
      }
    }
    return reason
  }

  #claims(payload: JWTPayload): TokenClaims | string {
    const { jwtUsernameClaim } = this.#options
    const username = payload[jwtUsernameClaim]
    if (typeof username !== 'string' || username === '') return `no claim ${jwtUsernameClaim}`
    const publish = filtersOf(payload.publish)
    const subscribe = filtersOf(payload.subscribe)
    if (publish === 'invalid' || subscribe === 'invalid') return 'publish and subscribe have to be lists of topic filters'
    const validSeconds = payload.exp === undefined ? undefined : Math.max(0, payload.exp - Date.now() / 1000)
    return { username, publish, subscribe, validSeconds }
  }
}

/** Rights in a token or an answer: a list of texts, absent, or wrong. */
export function filtersOf(value: unknown): readonly string[] | 'invalid' | undefined {
  if (value === undefined) return undefined
  return Array.isArray(value) && value.every((filter) => typeof filter === 'string') ? value : 'invalid'
}

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
    throw new StartError(`jwt_public_key_file ${path}: holds no public key or certificate in PEM`)
  }
}

function keySetOf(source: string): Keys {
  if (/^https?:/.test(source)) return createRemoteJWKSet(new URL(source), { timeoutDuration: REMOTE_TIMEOUT_MS })
  try {
    return createLocalJWKSet(JSON.parse(read(source, 'jwt_jwks').toString()) as JSONWebKeySet)
  } catch (error) {
    throw error instanceof StartError ? error : new StartError(`jwt_jwks ${source}: holds no JSON Web Key Set`)
  }
}

function read(path: string, option: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new StartError(`${option} ${path}: ${reasonOf(error)}`)
  }
}

import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type JWTPayload, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type TokenOptions, TokenVerifier } from '../../../src/access/io/token-verifier.ts'

const SECRET = Buffer.from('0123456789abcdef0123456789abcdef')
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const NOTHING: TokenOptions = {
  jwtSecretFile: undefined,
  jwtPublicKeyFile: undefined,
  jwtJwks: undefined,
  jwtIssuer: undefined,
  jwtAudience: undefined,
  jwtUsernameClaim: 'sub',
}

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-jwt-'))
})
afterAll(() => rmSync(dir, { recursive: true }))
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(dir, name), content)
  return join(dir, name)
}
const pem = (name: string, key: KeyObject): string => file(name, key.export({ type: 'spki', format: 'pem' }))
const jwk = (key: KeyObject, kid?: string) => ({ ...key.export({ format: 'jwk' }), ...(kid !== undefined && { kid }) })
const jwks = (name: string, ...keys: object[]): string => file(name, JSON.stringify({ keys }))

const verifier = (options: Partial<TokenOptions>): TokenVerifier => TokenVerifier.load({ ...NOTHING, ...options })!
const sign = (payload: JWTPayload, key: KeyObject | Uint8Array, alg: string, kid?: string): Promise<string> =>
  new SignJWT({ sub: 'alice', ...payload }).setProtectedHeader({ alg, ...(kid !== undefined && { kid }) }).sign(key)
const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds

test('without a key there is no verifier', () => expect(TokenVerifier.load(NOTHING)).toBeUndefined())

describe('HS256 with a secret in a file', () => {
  test('with or without a newline at its end', async () => {
    const token = await sign({ exp: inSeconds(60) }, SECRET, 'HS256')
    for (const content of [SECRET, Buffer.concat([SECRET, Buffer.from('\n')])]) {
      const claims = await verifier({ jwtSecretFile: file('secret', content) }).verify(token)
      expect(claims).toMatchObject({ username: 'alice', publish: undefined, subscribe: undefined })
      expect((claims as { validSeconds: number }).validSeconds).toBeGreaterThan(55)
    }
  })

  test('a token without an end is valid for ever', async () => {
    const claims = await verifier({ jwtSecretFile: file('secret', SECRET) }).verify(await sign({}, SECRET, 'HS256'))
    expect(claims).toMatchObject({ validSeconds: undefined })
  })

  test.each(['al\ud800ice', 'al\udfffice', 'al\0ice'])(
    '%j is no user name: it could not be told from another in the store',
    async (sub) => {
      const token = await sign({ sub }, SECRET, 'HS256')
      expect(await verifier({ jwtSecretFile: file('secret', SECRET) }).verify(token)).toBe(
        'the claim sub is not well-formed text',
      )
    },
  )

  test('rights, and another claim for the name', async () => {
    const rights = { publish: ['dev/%c/#'], subscribe: ['cmd/+', '#'] }
    const token = await sign({ ...rights, device: 's1' }, SECRET, 'HS256')
    const verify = (jwtUsernameClaim: string) =>
      verifier({ jwtSecretFile: file('secret', SECRET), jwtUsernameClaim }).verify(token)
    expect(await verify('device')).toMatchObject({ username: 's1', ...rights })
    expect(await verify('none')).toBe('no claim none')
    expect(await verify('publish')).toBe('no claim publish')
    expect(await verify('toString')).toBe('no claim toString')
  })

  test.each<[string, JWTPayload]>([
    ['text', { publish: 'a/#' }],
    ['numbers', { subscribe: [1] }],
    ['a filter that is none', { publish: ['a/#/b'] }],
    ['an empty filter', { subscribe: [''] }],
    ['nothing', { publish: null as never }],
    ['a lone surrogate', { subscribe: ['a/\ud800'] }],
    ['U+0000', { publish: ['a/\0'] }],
  ])('rights that are %s are refused, not taken for none or all', async (_, payload) => {
    const token = await sign(payload, SECRET, 'HS256')
    expect(await verifier({ jwtSecretFile: file('secret', SECRET) }).verify(token)).toMatch(/^publish and subscribe have to be/)
  })
})

describe('public keys', () => {
  test.each<[string, KeyObject, KeyObject, string]>([
    ['RS256', rsa.privateKey, rsa.publicKey, 'rsa.pem'],
    ['PS256', rsa.privateKey, rsa.publicKey, 'rsa.pem'],
    ['ES256', ec.privateKey, ec.publicKey, 'ec.pem'],
  ])('%s with a file', async (alg, own, open, name) => {
    const claims = await verifier({ jwtPublicKeyFile: pem(name, open) }).verify(await sign({}, own, alg))
    expect(claims).toMatchObject({ username: 'alice' })
  })

  test('a set in a file: by the name of the key, and without names by trying those that fit', async () => {
    const named = verifier({ jwtJwks: jwks('named.json', jwk(rsa.publicKey, 'r'), jwk(ec.publicKey, 'e')) })
    expect(await named.verify(await sign({}, rsa.privateKey, 'RS256', 'r'))).toMatchObject({ username: 'alice' })
    expect(await named.verify(await sign({}, ec.privateKey, 'ES256', 'e'))).toMatchObject({ username: 'alice' })
    expect(await named.verify(await sign({}, ec.privateKey, 'ES256', 'x'))).toMatch(/no applicable key/)
    const nameless = verifier({ jwtJwks: jwks('nameless.json', jwk(other.publicKey), jwk(ec.publicKey)) })
    expect(await nameless.verify(await sign({}, ec.privateKey, 'ES256'))).toMatchObject({ username: 'alice' })
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    expect(await nameless.verify(await sign({}, stranger.privateKey, 'ES256'))).toMatch(/signature verification failed/)
  })

  test('a set in a file: at most eight keys are tried for a token', async () => {
    const many = Array.from({ length: 9 }, () => generateKeyPairSync('ec', { namedCurve: 'P-256' }))
    const reason =
      'none of the first 8 keys that fit has signed it, and no more are tried (jwt_jwks): it needs the key id (kid) of one key'
    for (const kid of [undefined, 'same']) {
      const keys = many.map(({ publicKey }) => jwk(publicKey, kid))
      // Keys of other kinds do not count.
      const set = verifier({ jwtJwks: jwks('many.json', ...Array.from({ length: 9 }, () => jwk(rsa.publicKey, kid)), ...keys) })
      expect(await set.verify(await sign({}, many[7]!.privateKey, 'ES256', kid))).toMatchObject({ username: 'alice' })
      expect(await set.verify(await sign({}, many[8]!.privateKey, 'ES256', kid))).toBe(reason)
    }
    const exactly = verifier({ jwtJwks: jwks('eight.json', ...many.slice(1).map(({ publicKey }) => jwk(publicKey))) })
    expect(await exactly.verify(await sign({}, many[0]!.privateKey, 'ES256'))).toBe('signature verification failed')
  })

  test('secrets in a set do not count, and kinds that nobody knows do not matter', async () => {
    const oct = { kty: 'oct', k: SECRET.toString('base64url'), kid: 's' }
    const set = verifier({ jwtJwks: jwks('oct.json', oct, { kty: 'NEW', kid: 'n' }, jwk(ec.publicKey, 'e')) })
    expect(typeof (await set.verify(await sign({}, SECRET, 'HS256', 's')))).toBe('string')
    expect(await set.verify(await sign({}, ec.privateKey, 'ES256', 'e'))).toMatchObject({ username: 'alice' })
  })

  test('a file and a secret at once: either will do', async () => {
    const both = verifier({ jwtPublicKeyFile: pem('ec.pem', ec.publicKey), jwtSecretFile: file('secret', SECRET) })
    expect(await both.verify(await sign({}, ec.privateKey, 'ES256'))).toMatchObject({ username: 'alice' })
    expect(await both.verify(await sign({}, SECRET, 'HS256'))).toMatchObject({ username: 'alice' })
  })

  test('the name of the key that vouched is one of the verifier, and changes with the key', async () => {
    const token = await sign({}, ec.privateKey, 'ES256')
    const loaded = [
      verifier({ jwtPublicKeyFile: pem('ec.pem', ec.publicKey) }),
      verifier({ jwtJwks: jwks('one.json', jwk(rsa.publicKey), jwk(ec.publicKey)) }),
    ]
    for (const each of loaded) {
      const { key } = (await each.verify(token)) as { key: string }
      expect(each.keys).toContain(key)
      expect(verifier({ jwtPublicKeyFile: pem('other.pem', other.publicKey) }).keys).not.toContain(key)
    }
  })
})

/** Stands for a body that goes on for as long as it is read. */
const ENDLESS = 'endless'
const CHUNK = Buffer.alloc(64 * 1024, ' ')

describe('a set behind a URL', () => {
  let server: Server
  let asked = 0
  let sent = 0
  let authorization: string | undefined
  let answer: { status: number; body: string; location?: string } = { status: 200, body: '' }
  let url: string
  beforeAll(async () => {
    server = createServer(({ headers }, response) => {
      asked++
      response.writeHead(answer.status, {
        'content-type': 'application/json',
        ...(answer.location && { location: answer.location }),
      })
      authorization = headers.authorization
      if (answer.body !== ENDLESS) response.end(answer.body)
      else {
        const pump = (): void => {
          while (!response.destroyed && response.write(CHUNK)) sent += CHUNK.length
          if (!response.destroyed) response.once('drain', pump)
        }
        pump()
      }
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`
  })
  afterAll(() => server.close().closeAllConnections())

  test('is fetched once for many tokens', async () => {
    answer = { status: 200, body: JSON.stringify({ keys: [jwk(ec.publicKey, 'e')] }) }
    asked = 0
    const remote = verifier({ jwtJwks: url })
    const token = await sign({}, ec.privateKey, 'ES256', 'e')
    const claims = await Promise.all(Array.from({ length: 20 }, () => remote.verify(token)))
    expect(claims.every((claim) => typeof claim === 'object')).toBe(true)
    expect(asked).toBe(1)
    expect(claims[0]).toMatchObject({ key: url })
    expect(remote.keys).toEqual([url])
  })

  const one = (): Promise<string> => sign({}, ec.privateKey, 'ES256', 'e')

  test.each([
    ['an error', { status: 500, body: '' }, 'answered with status 500'],
    ['garbage', { status: 200, body: '<html>' }, 'the answer is no JSON Web Key Set'],
    ['something else', { status: 200, body: 'null' }, 'the answer is no JSON Web Key Set'],
    ['no set', { status: 200, body: '{}' }, 'the answer is no JSON Web Key Set'],
    ['a set of what are no keys', { status: 200, body: '{"keys":[1]}' }, 'the answer is no JSON Web Key Set'],
    [
      'a key that makes no sense',
      { status: 200, body: '{"keys":[{"kty":"EC","crv":"P-256","kid":"e","alg":"ES256","x":"!","y":"!"}]}' },
      '',
    ],
    ['a redirect', { status: 302, body: '', location: '/other' }, 'answered with status 302'],
  ])('that answers with %s: nobody can be verified, and it is no fault of the token', async (_, given, reason) => {
    answer = given
    await expect(verifier({ jwtJwks: url }).verify(await one())).rejects.toThrow(`jwt_jwks ${url}: ${reason}`)
  })

  test('that answers with a set of nothing lets nobody in', async () => {
    answer = { status: 200, body: '{"keys":[]}' }
    expect(typeof (await verifier({ jwtJwks: url }).verify(await one()))).toBe('string')
  })

  test('that cannot be had does not stand in the way of another key', async () => {
    answer = { status: 500, body: '' }
    const both = verifier({ jwtJwks: url, jwtSecretFile: file('secret', SECRET) })
    expect(await both.verify(await sign({}, SECRET, 'HS256'))).toMatchObject({ username: 'alice' })
  })

  test('with a user name and a password: sent as HTTP Basic, and told to nobody', async () => {
    answer = { status: 200, body: JSON.stringify({ keys: [jwk(ec.publicKey, 'e')] }) }
    const remote = verifier({ jwtJwks: url.replace('//', '//roost:s%3Acret@') })
    expect(await remote.verify(await one())).toMatchObject({ username: 'alice' })
    expect(authorization).toBe(`Basic ${Buffer.from('roost:s:cret').toString('base64')}`)
    expect(JSON.stringify(remote.keys)).not.toContain('cret')
    answer = { status: 403, body: '' }
    const other = verifier({ jwtJwks: `${url.replace('//', '//roost:s%3Acret@')}?key=hidden` })
    await expect(other.verify(await one())).rejects.toThrow(
      /^jwt_jwks http:\/\/127\.0\.0\.1:\d+\/keys: answered with status 403$/,
    )
  })

  test('whose answer has no end: given up after 1 MiB, and not asked again for a second', async () => {
    answer = { status: 200, body: ENDLESS }
    asked = 0
    sent = 0
    const remote = verifier({ jwtJwks: url })
    for (let i = 0; i < 20; i++)
      await expect(remote.verify(await one())).rejects.toThrow(`jwt_jwks ${url}: an answer of more than 1048576 bytes`)
    expect(asked).toBe(1)
    // What the sockets take beyond it differs.
    expect(sent).toBeLessThan(16 * 1024 * 1024)
  })
})

describe('what is refused', () => {
  const options = (): Partial<TokenOptions> => ({ jwtSecretFile: file('secret', SECRET) })
  const base64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

  test('no algorithm', async () => {
    for (const alg of ['none', 'None', '']) {
      const token = `${base64({ alg })}.${base64({ sub: 'alice' })}.`
      for (const each of [verifier(options()), verifier({ jwtPublicKeyFile: pem('rsa.pem', rsa.publicKey) })])
        expect(typeof (await each.verify(token))).toBe('string')
    }
  })

  test('one of more than 16 KiB, unread', async () => {
    expect(await verifier(options()).verify('x'.repeat(60_000))).toBe('a token of 60000 characters, of 16384 allowed')
  })

  test('a public key that is taken for a secret', async () => {
    const path = pem('rsa.pem', rsa.publicKey)
    const head = `${base64({ alg: 'HS256' })}.${base64({ sub: 'alice' })}`
    const key = rsa.publicKey.export({ type: 'spki', format: 'pem' })
    const forged = `${head}.${createHmac('sha256', key).update(head).digest('base64url')}`
    expect(await verifier({ jwtPublicKeyFile: path }).verify(forged)).toMatch(/"alg"/)
  })

  test('a key of another, and a token that was changed', async () => {
    const token = await sign({}, SECRET, 'HS256')
    const [head, , signature] = token.split('.')
    const changed = `${head}.${base64({ sub: 'root' })}.${signature}`
    expect(await verifier(options()).verify(changed)).toBe('signature verification failed')
    const stranger = await sign({}, other.privateKey, 'ES256')
    expect(await verifier({ jwtPublicKeyFile: pem('ec.pem', ec.publicKey) }).verify(stranger)).toBe(
      'signature verification failed',
    )
  })

  test.each<[string, JWTPayload, Partial<TokenOptions>]>([
    ['expired', { exp: inSeconds(-60) }, {}],
    ['not valid yet', { nbf: inSeconds(60) }, {}],
    ['of another issuer', { iss: 'them' }, { jwtIssuer: 'us' }],
    ['of no issuer', {}, { jwtIssuer: 'us' }],
    ['for somebody else', { aud: ['them', 'others'] }, { jwtAudience: 'us' }],
    ['for nobody', {}, { jwtAudience: 'us' }],
    ['without a name', { sub: '' }, {}],
    ['with a number for a name', { sub: 7 as never }, {}],
  ])('one that is %s', async (_, payload, more) => {
    expect(typeof (await verifier({ ...options(), ...more }).verify(await sign(payload, SECRET, 'HS256')))).toBe('string')
  })

  test('clocks may differ by a few seconds; such a token is valid for no time', async () => {
    const claims = await verifier(options()).verify(await sign({ exp: inSeconds(-2) }, SECRET, 'HS256'))
    expect(claims).toMatchObject({ validSeconds: 0 })
  })

  test.each(['', '.', '..', 'a.b.c', 'secret', '\0', 'e30.e30.e30'])('%j', async (text) => {
    expect(typeof (await verifier(options()).verify(text))).toBe('string')
  })

  test('one for us among others is fine', async () => {
    const token = await sign({ iss: 'us', aud: ['them', 'us'] }, SECRET, 'HS256')
    expect(await verifier({ ...options(), jwtIssuer: 'us', jwtAudience: 'us' }).verify(token)).toMatchObject({
      username: 'alice',
    })
  })
})

describe('a start names the option and the file', () => {
  test.each<[Partial<TokenOptions>, RegExp]>([
    [{ jwtSecretFile: '/none' }, /^jwt_secret_file \/none: no such file/],
    [{ jwtPublicKeyFile: '/none' }, /^jwt_public_key_file \/none: no such file/],
    [{ jwtJwks: '/none' }, /^jwt_jwks \/none: no such file/],
  ])('%j', (options, line) => expect(() => verifier(options)).toThrow(line))

  test('short secrets, and files that hold no key', () => {
    expect(() => verifier({ jwtSecretFile: file('short', 'x'.repeat(31)) })).toThrow(/at least 32 bytes, this has 31$/)
    expect(() => verifier({ jwtPublicKeyFile: file('no.pem', 'x') })).toThrow(
      /no\.pem: contains no public key or certificate in PEM$/,
    )
    for (const text of ['x', '{}', '[]', 'null', '{"keys":1}', '{"keys":[{"kty":"EC"}]}'])
      expect(() => verifier({ jwtJwks: file('no.json', text) })).toThrow(/no\.json: contains no JSON Web Key Set$/)
  })
})

import { execFileSync } from 'node:child_process'
import { createHash, createHmac, generateKeyPairSync, pbkdf2Sync } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { SignJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { hashPassword } from '../../src/access/io/password-hash.ts'
import { scramLine } from '../../src/access/io/scram.ts'
import type { Auth, Connack, Connect } from '../../src/mqtt/packets.ts'
import type { Publish } from '../../src/mqtt/publish.ts'
import { clientFinal } from '../access/io/scram-client.ts'
import { connectPacket } from '../broker/harness.ts'
import { Certificates } from '../mqtt/io/certificates.ts'
import { PacketClient } from './packet-client.ts'
import { StartedProcess } from './started-process.ts'

const RSA = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
let dir: string
const cleanUp: (() => unknown)[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-access-'))
})
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
  rmSync(dir, { recursive: true })
})
const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text, { mode: 0o600 })
  return join(dir, name)
}
const start = async (...flags: string[]): Promise<StartedProcess> => {
  const roost = await StartedProcess.start('--memory', ...flags)
  cleanUp.push(() => roost.stop())
  return roost
}
const passwordLine = async (user: string): Promise<string> => `${user}:${await hashPassword(Buffer.from(user), 10)}\n`
const lines = (...users: string[]): Promise<string> => Promise.all(users.map(passwordLine)).then((all) => all.join(''))

const open = (port: number): PacketClient => {
  const client = PacketClient.to(port)
  cleanUp.push(() => client.close())
  return client
}
/** A client that is in, as the user whose password is the name. */
async function login(roost: StartedProcess, username?: string, options: Partial<Connect> = {}): Promise<PacketClient> {
  const client = open(roost.mqttPort)
  expect([username, await client.connect({ ...(username !== undefined && { username }), ...options })]).toEqual([username, 0])
  return client
}
/** Of CONNACK. */
const outcome = (roost: StartedProcess, username?: string, options: Partial<Connect> = {}): Promise<number> =>
  open(roost.mqttPort).connect({ ...(username !== undefined && { username }), ...options })
const LASTING: Partial<Connect> = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } }
const READ_ANEW = /^info SIGHUP: passwords, access lists and certificates were reloaded$/
const topicOf = (packet: unknown): string => (packet as Publish).topic

describe('SIGHUP', () => {
  test('a user who is gone or has another password is told and closed, others stay, and new ones get in', async () => {
    const passwords = file('passwords', await lines('alice', 'bob', 'carol'))
    const roost = await start('--password-file', passwords)
    const [alice, bob, carol] = [await login(roost, 'alice'), await login(roost, 'bob'), await login(roost, 'carol')]
    file('passwords', (await lines('dave')) + (await lines('alice')).replace('alice', 'bob') + (await lines('carol')))
    roost.child.kill('SIGHUP')
    await roost.logged(READ_ANEW)
    for (const client of [alice, bob, carol]) {
      // Salted anew: the line is another even where the password is not.
      expect(await client.next()).toMatchObject({
        type: 14,
        reasonCode: 0x87,
        properties: { reasonString: 'the rules have changed' },
      })
      expect(await client.next()).toBe('closed')
    }
    expect([await outcome(roost, 'alice'), await outcome(roost, 'carol'), await outcome(roost, 'dave')]).toEqual([0x86, 0, 0])
  })

  test('who has not changed notices nothing', async () => {
    const own = await lines('alice')
    const passwords = file('passwords', own)
    const roost = await start('--password-file', passwords)
    const alice = await login(roost, 'alice')
    file('passwords', `# more\n${await lines('bob')}${own}`)
    roost.child.kill('SIGHUP')
    await roost.logged(READ_ANEW)
    expect(await alice.isAlive()).toBe(true)
    expect(await outcome(roost, 'bob')).toBe(0)
  })

  test('a right that is taken away and returns: deliveries stop and resume, for a session that is away too', async () => {
    const acl = file('acl', 'user alice\ntopic #\nuser bob\ntopic #\n')
    const roost = await start('--password-file', file('passwords', await lines('alice', 'bob')), '--acl-file', acl)
    const here = await login(roost, 'alice', { clientId: 'here' })
    const away = await login(roost, 'alice', { clientId: 'away', ...LASTING })
    for (const client of [here, away]) expect(await client.subscribe('a/#')).toBe(1)
    away.close()
    await roost.logged(/client-lost mqtt:away/)
    const bob = await login(roost, 'bob')
    for (const [right, topic] of [
      ['b/#', 'a/1'],
      ['a/#', 'a/2'],
    ] as const) {
      file('acl', `user alice\ntopic read ${right}\nuser bob\ntopic #\n`)
      roost.child.kill('SIGHUP')
      await roost.logged(READ_ANEW)
      await bob.publish(topic)
    }
    expect(topicOf(await here.next())).toBe('a/2')
    const back = await login(roost, 'alice', { clientId: 'away', ...LASTING })
    expect(topicOf(await back.next())).toBe('a/2')
  })

  test('with subscription_access whole a forbidden subscription ends, of a session that is away too, and the rest goes on', async () => {
    const acl = file('acl', 'user alice\ntopic #\nuser bob\ntopic #\n')
    const passwords = file('passwords', await lines('alice', 'bob'))
    const roost = await start('--password-file', passwords, '--acl-file', acl, '--subscription-access', 'whole')
    const here = await login(roost, 'alice', { clientId: 'here' })
    const away = await login(roost, 'alice', { clientId: 'away', ...LASTING })
    for (const client of [here, away]) for (const filter of ['a/#', 'b/#']) expect(await client.subscribe(filter)).toBe(1)
    away.close()
    await roost.logged(/client-lost mqtt:away/)
    file('acl', 'user alice\ntopic read b/#\nuser bob\ntopic #\n')
    roost.child.kill('SIGHUP')
    await roost.logged(READ_ANEW)
    const bob = await login(roost, 'bob')
    for (const topic of ['a/1', 'b/1']) await bob.publish(topic)
    expect(topicOf(await here.next())).toBe('b/1')
    expect(await here.isAlive()).toBe(true)
    const back = await login(roost, 'alice', { clientId: 'away', ...LASTING })
    expect(topicOf(await back.next())).toBe('b/1')
    expect(roost.levels.filter((line) => line.includes('a/# is not allowed any more'))).toHaveLength(2)
  })

  test.each<[string, () => void, RegExp]>([
    [
      'a bad password line',
      () => file('passwords', 'alice:x\n'),
      /^error reload-failed: nothing has changed.*passwords:1: no hash for user alice/,
    ],
    [
      'a bad line of the access list',
      () => file('acl', '\ntopic a/#/b\n'),
      /^error reload-failed: .*acl:2: # is not the last level/,
    ],
    [
      'a password file that is gone',
      () => rmSync(join(dir, 'passwords')),
      /^error reload-failed: .*passwords: no such file or directory/,
    ],
    ['an access list that is gone', () => rmSync(join(dir, 'acl')), /^error reload-failed: .*acl: no such file or directory/],
    [
      'an access list that is a pipe, to which nobody writes',
      () => {
        rmSync(join(dir, 'acl'))
        execFileSync('mkfifo', [join(dir, 'acl')])
      },
      /^error reload-failed: .*acl: it is a pipe, not a regular file/,
    ],
  ])('%s: everything stays as it was, and the log says so', async (_, spoil, line) => {
    const passwords = file('passwords', await lines('alice', 'bob'))
    const acl = file('acl', 'user alice\ntopic a/#\n')
    const roost = await start('--password-file', passwords, '--acl-file', acl, '--sys-interval', '1')
    const alice = await login(roost, 'alice')
    file('acl', 'user alice\ntopic #\ntopic $SYS/#\n')
    file('passwords', `${await lines('mallory')}`)
    spoil()
    roost.child.kill('SIGHUP')
    await roost.logged(line)
    expect(await alice.publish('b')).toBe(0x87)
    expect(await alice.publish('a/b')).not.toBe(0x87)
    expect([await outcome(roost), await outcome(roost, 'mallory'), await outcome(roost, 'bob')]).toEqual([0x87, 0x86, 0])
    // And again, once it is mended.
    for (const name of ['passwords', 'acl']) rmSync(join(dir, name), { force: true })
    file('passwords', await lines('mallory', 'bob'))
    file('acl', 'user mallory\ntopic #\ntopic read $SYS/#\n')
    roost.child.kill('SIGHUP')
    await roost.logged(READ_ANEW)
    const mallory = await login(roost, 'mallory')
    expect(await mallory.subscribe('$SYS/broker/roost/notices/reload-failed')).toBe(1)
    expect(Buffer.from(((await mallory.next()) as Publish).payload).toString()).toBe('1')
  })

  test('a password file that is empty for a moment throws nobody out', async () => {
    const own = await lines('alice', 'bob')
    const passwords = file('passwords', own)
    const roost = await start('--password-file', passwords, '--sys-interval', '1')
    const alice = await login(roost, 'alice')
    file('passwords', '')
    roost.child.kill('SIGHUP')
    await roost.logged(
      /^error reload-failed: nothing has changed.*passwords: contains no user any more: all clients would be excluded/,
    )
    expect([await alice.isAlive(), await outcome(roost, 'bob')]).toEqual([true, 0])
    file('passwords', own + (await lines('carol')))
    roost.child.kill('SIGHUP')
    await roost.logged(READ_ANEW)
    expect([await alice.isAlive(), await outcome(roost, 'carol')]).toEqual([true, 0])
  })

  test('without file descriptors nothing opens up: the old rules stay', async () => {
    const passwords = file('passwords', await lines('alice'))
    const acl = file('acl', 'user alice\ntopic a\n')
    const roost = await start('--password-file', passwords, '--acl-file', acl)
    const alice = await login(roost, 'alice')
    const waiting = open(roost.mqttPort)
    await alice.isAlive()
    const inUse = readdirSync(`/proc/${roost.child.pid}/fd`).length
    execFileSync('prlimit', ['--pid', String(roost.child.pid), `--nofile=${Math.min(3, inUse)}:4096`])
    roost.child.kill('SIGHUP')
    await roost.logged(/^error reload-failed: .*too many open files/)
    expect(await waiting.connect()).toBe(0x87)
    expect(await alice.publish('b')).toBe(0x87)
    execFileSync('prlimit', ['--pid', String(roost.child.pid), '--nofile=4096:4096'])
    roost.child.kill('SIGHUP')
    await roost.logged(READ_ANEW)
    expect([await outcome(roost), await outcome(roost, 'alice')]).toEqual([0x87, 0])
    expect(await alice.isAlive()).toBe(true)
  })

  test('certificates are read anew with everything else, and nobody is dropped; a bad one changes nothing', async () => {
    const certificates = new Certificates()
    cleanUp.push(() => certificates.remove())
    for (const name of ['one', 'two']) certificates.issue(name, `/CN=${name}`, 'server')
    const put = (name: string): void => {
      for (const end of ['pem', 'key']) copyFileSync(certificates.path(`${name}.${end}`), join(dir, `live.${end}`))
    }
    put('one')
    const passwords = file('passwords', await lines('alice'))
    const tls = ['--certfile', join(dir, 'live.pem'), '--keyfile', join(dir, 'live.key')]
    const roost = await start('--password-file', passwords, ...tls)
    const shown = async (): Promise<{ name: string; client: PacketClient }> => {
      const socket = connectTls({
        host: '127.0.0.1',
        port: roost.mqttPort,
        ca: certificates.read('ca.pem'),
        checkServerIdentity: () => undefined,
      })
      await once(socket, 'secureConnect')
      const client = new PacketClient(socket)
      cleanUp.push(() => client.close())
      expect(await client.connect({ username: 'alice' })).toBe(0)
      return { name: String(socket.getPeerCertificate().subject.CN), client }
    }
    const first = await shown()
    file('live.pem', 'nothing')
    file('passwords', await lines('alice', 'bob'))
    roost.child.kill('SIGHUP')
    await roost.logged(/^error reload-failed: .*live\.pem/)
    const second = await shown()
    put('two')
    file('passwords', await lines('alice'))
    roost.child.kill('SIGHUP')
    await roost.logged(READ_ANEW)
    const third = await shown()
    expect([first.name, second.name, third.name]).toEqual(['one', 'one', 'two'])
    // Salted anew: that, and no certificate, is why these two go.
    expect(await first.client.next()).toMatchObject({ reasonCode: 0x87 })
    roost.child.kill('SIGHUP')
    await roost.logged(READ_ANEW)
    expect(await third.client.isAlive()).toBe(true)
  })
})

describe('JSON Web Tokens', () => {
  const secret = '0123456789abcdef0123456789abcdef'
  const token = (claims: object, expiresAt?: string): Promise<string> => {
    const signer = new SignJWT({ sub: 'device', ...claims }).setProtectedHeader({ alg: 'HS256' })
    return (expiresAt === undefined ? signer : signer.setExpirationTime(expiresAt)).sign(Buffer.from(secret))
  }
  const show = async (roost: StartedProcess, password: string): Promise<[number, PacketClient]> => {
    const client = open(roost.mqttPort)
    return [await client.connect({ password: Buffer.from(password) }), client]
  }

  test('says who it is and what may be done; its end is the end of the connection', async () => {
    const roost = await start('--jwt-secret-file', file('secret', secret), '--jwt-audience', 'site')
    const rights = { aud: 'site', publish: ['dev/%u/#'], subscribe: ['cmd/%u'] }
    const [code, client] = await show(roost, await token(rights, '2 s'))
    expect(code).toBe(0)
    expect([await client.publish('dev/device/x'), await client.publish('dev/other/x')]).toEqual([0x10, 0x87])
    expect([await client.subscribe('cmd/device'), await client.subscribe('cmd/other')]).toEqual([1, 0x87])
    expect(await client.next()).toMatchObject({ type: 14, reasonCode: 0xa0 })
    expect(await client.next()).toBe('closed')
    for (const bad of [await token({}), await token({ aud: 'site' }, '-1 min'), 'a.b.c', ''])
      expect((await show(roost, bad))[0]).toBe(0x86)
    expect(await outcome(roost)).toBe(0x87)
  })

  test('a key that is changed ends the connections of its tokens', async () => {
    const roost = await start('--jwt-secret-file', file('secret', secret))
    const [, client] = await show(roost, await token({}))
    roost.child.kill('SIGHUP')
    await roost.logged(READ_ANEW)
    expect(await client.isAlive()).toBe(true)
    file('secret', secret.toUpperCase())
    roost.child.kill('SIGHUP')
    expect(await client.next()).toMatchObject({ type: 14, reasonCode: 0x87 })
    expect((await show(roost, await token({})))[0]).toBe(0x86)
  })
})

describe('an HTTP service', () => {
  test('decides who gets in, with which rights and for how long', async () => {
    const asked: unknown[] = []
    const service = createServer(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += String(chunk)
      const { username } = JSON.parse(body) as { username: string }
      asked.push(JSON.parse(body))
      if (username === 'slow') return
      if (username === 'moved') response.writeHead(302, { location: '/' })
      if (username === 'broken') response.statusCode = 500
      if (username === 'bad') response.statusCode = 403
      response.end(
        username === 'alice'
          ? '{"result":"allow","publish":["a"],"subscribe":["b"],"expires_in":1}'
          : username === 'odd'
            ? 'ok'
            : '',
      )
    }).listen(0, '127.0.0.1')
    await once(service, 'listening')
    cleanUp.push(() => service.close().closeAllConnections())
    const url = `http://127.0.0.1:${(service.address() as AddressInfo).port}/auth`
    const roost = await start('--http-auth-url', url, '--http-auth-timeout-seconds', '0.3')
    const alice = await login(roost, 'alice', { clientId: 'c1' })
    expect(asked[0]).toMatchObject({ username: 'alice', password: 'alice', client_id: 'c1', peer: expect.stringMatching(/^127/) })
    expect([await alice.publish('a'), await alice.publish('b'), await alice.subscribe('b'), await alice.subscribe('c')]).toEqual([
      0x10, 0x87, 1, 0x87,
    ])
    expect(await alice.next()).toMatchObject({ type: 14, reasonCode: 0xa0 })
    const users = ['anybody', 'bad', 'slow', 'moved', 'broken', 'odd']
    expect(await Promise.all(users.map((user) => outcome(roost, user)))).toEqual([0, 0x86, 0x88, 0x88, 0x88, 0x88])
  })
})

test('clientid_file: who squats on the id of another has to go at SIGHUP, and its owner gets a session of his own', async () => {
  const ids = file('ids.yaml', 'bob: bob-*\n')
  const roost = await start('--password-file', file('passwords', await lines('alice', 'mallory')), '--clientid-file', ids)
  const mallory = await login(roost, 'mallory', { clientId: 'house', ...LASTING })
  expect(await mallory.subscribe('#')).toBe(1)
  expect(await outcome(roost, 'alice', { clientId: 'house', ...LASTING })).toBe(0x87)
  file('ids.yaml', 'bob: bob-*\nalice: house\n')
  roost.child.kill('SIGHUP')
  await roost.logged(READ_ANEW)
  expect(await mallory.next()).toMatchObject({ type: 14, reasonCode: 0x87 })
  const alice = open(roost.mqttPort)
  alice.send(connectPacket('house', { username: 'alice', password: Buffer.from('alice'), ...LASTING }))
  expect(await alice.next()).toMatchObject({ type: 2, reasonCode: 0, sessionPresent: false })
  await roost.logged(/^warn client-revoked mqtt:house .*clientid_file/)
  expect(await outcome(roost, 'mallory', { clientId: 'house', ...LASTING })).toBe(0x85)
  file('ids.yaml', '')
  roost.child.kill('SIGHUP')
  await roost.logged(/^error reload-failed: .*ids\.yaml: expected at least one user with client ids, got none/)
  expect(await outcome(roost, 'mallory', { clientId: 'house', ...LASTING })).toBe(0x85)
})

test('the challenge to a user that does not exist is the same after a restart; without SCRAM lines nothing is kept for it', async () => {
  const data = join(dir, 'data')
  const passwords = file('passwords', `a:${await scramLine('pw', 4096)}\n`)
  const challenge = async (name: string): Promise<string> => {
    const roost = await StartedProcess.start('--data-dir', data, '--password-file', passwords)
    cleanUp.push(() => roost.stop())
    const client = open(roost.mqttPort)
    const authenticationData = Buffer.from(`n,,n=${name},r=abc`)
    client.send(connectPacket('', { properties: { authenticationMethod: 'SCRAM-SHA-256', authenticationData } }))
    const serverFirst = Buffer.from(((await client.next()) as Auth).properties.authenticationData!).toString()
    await roost.stop()
    return serverFirst.split(',s=')[1]!
  }
  for (const name of ['a', 'ghost']) expect(await challenge(name)).toBe(await challenge(name))
  expect(readdirSync(data)).toContain('scram-secret')
  rmSync(join(data, 'scram-secret'))
  file('passwords', await lines('a'))
  await challenge('ghost')
  expect(readdirSync(data)).not.toContain('scram-secret')
})

describe('what a client that is refused is told', () => {
  const reasonTo = async (roost: StartedProcess, options: Partial<Connect>): Promise<string> => {
    const client = open(roost.mqttPort)
    client.send(connectPacket('', options))
    const { reasonCode, properties } = (await client.next()) as Connack
    return `0x${reasonCode.toString(16)} ${properties.reasonString}`
  }
  const AT_THE_MOMENT = '0x88 nobody can be authenticated at the moment'

  test('nothing of services, addresses and URLs, which the log has without their passwords', async () => {
    const nobody = createServer().listen(0, '127.0.0.1')
    await once(nobody, 'listening')
    const { port } = nobody.address() as AddressInfo
    nobody.close()
    const url = `http://roost:s3cret@127.0.0.1:${port}/auth?key=hidden`
    const roost = await start('--http-auth-url', url, '--jwt-jwks', url)
    const password = Buffer.from('x')
    expect(await reasonTo(roost, { username: 'alice', password })).toBe(AT_THE_MOMENT)
    await roost.logged(/^warn authentication-failed: the HTTP service: connect ECONNREFUSED 127\.0\.0\.1:\d+$/)
    const token = await new SignJWT({ sub: 'a' }).setProtectedHeader({ alg: 'RS256' }).sign(RSA)
    expect(await reasonTo(roost, { password: Buffer.from(token) })).toBe(AT_THE_MOMENT)
    await roost.logged(/^warn authentication-failed: jwt_jwks http:\/\/127\.0\.0\.1:\d+\/auth: connect ECONNREFUSED/)
    expect(await reasonTo(roost, { password: Buffer.from('a.b.c') })).toBe('0x86 user name or password')
    await roost.logged(/^info client-refused .*: token: .*\(reason code 0x86\)/)
    expect(roost.log.join()).not.toMatch(/s3cret|hidden/)
  })

  test('the same in DISCONNECT, where it authenticates again', async () => {
    const method = 'SCRAM-SHA-256'
    const roost = await start('--password-file', file('passwords', `a:${await scramLine('pw', 4096)}\n`))
    const client = open(roost.mqttPort)
    const bare = 'n=a,r=abc'
    client.send(
      connectPacket('', { properties: { authenticationMethod: method, authenticationData: Buffer.from(`n,,${bare}`) } }),
    )
    const serverFirst = Buffer.from(((await client.next()) as Auth).properties.authenticationData!).toString()
    const proof = Buffer.from(clientFinal(serverFirst, bare, 'pw'))
    client.send({ type: 15, reasonCode: 0x18, properties: { authenticationMethod: method, authenticationData: proof } })
    expect(await client.next()).toMatchObject({ type: 2, reasonCode: 0 })
    client.send({
      type: 15,
      reasonCode: 0x19,
      properties: { authenticationMethod: method, authenticationData: Buffer.from('x') },
    })
    expect(await client.next()).toMatchObject({ type: 14, reasonCode: 0x87, properties: { reasonString: 'not allowed' } })
    await roost.logged(/^info protocol-error .*: no SCRAM client-first-message/)
  })
})

describe('enhanced authentication: SCRAM-SHA-256 through AUTH packets', () => {
  const METHOD = 'SCRAM-SHA-256'
  const hmac = (key: Uint8Array, text: string): Buffer => createHmac('sha256', key).update(text).digest()

  /** Client's side of one exchange; gives the packet that ends it. `password` and `nonce` may be wrong. */
  async function exchange(
    client: PacketClient,
    first: (data: Uint8Array) => void,
    user: string,
    password: string,
    nonce?: string,
  ) {
    const bare = `n=${user},r=${nonce ?? Math.random().toString(36)}`
    first(Buffer.from(`n,,${bare}`))
    const challenge = (await client.next()) as Auth | Connack
    if (challenge.type !== 15) return { challenge: '', final: '', end: challenge, bare }
    const serverFirst = Buffer.from(challenge.properties.authenticationData!).toString()
    const [, together, salt, iterations] = /^r=(.*),s=(.*),i=(\d+)$/.exec(serverFirst)!
    const salted = pbkdf2Sync(password, Buffer.from(salt!, 'base64'), Number(iterations), 32, 'sha256')
    const clientKey = hmac(salted, 'Client Key')
    const withoutProof = `c=biws,r=${together}`
    const signature = hmac(createHash('sha256').update(clientKey).digest(), `${bare},${serverFirst},${withoutProof}`)
    const final = `${withoutProof},p=${Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]!)).toString('base64')}`
    send(client, 0x18, final)
    const end = (await client.next()) as Connack | Auth
    const verifier = hmac(hmac(salted, 'Server Key'), `${bare},${serverFirst},${withoutProof}`).toString('base64')
    return { challenge: serverFirst, final, end, bare, verifier }
  }
  const send = (client: PacketClient, reasonCode: number, data: string): void =>
    client.send({ type: 15, reasonCode, properties: { authenticationMethod: METHOD, authenticationData: Buffer.from(data) } })
  const byConnect = (client: PacketClient) => (data: Uint8Array) =>
    client.send(connectPacket('c', { properties: { authenticationMethod: METHOD, authenticationData: data } }))

  const begin = async (): Promise<StartedProcess> =>
    start('--password-file', file('passwords', `alice:${await scramLine('pencil', 4096)}\n`))

  test('in, with the proof of the server; again while connected; and out when that fails', async () => {
    const roost = await begin()
    const client = open(roost.mqttPort)
    const { end, verifier } = await exchange(client, byConnect(client), 'alice', 'pencil')
    expect(end).toMatchObject({ type: 2, reasonCode: 0, properties: { authenticationMethod: METHOD } })
    expect(Buffer.from((end as Connack).properties.authenticationData!).toString()).toBe(`v=${verifier}`)
    expect(await client.publish('a')).toBe(0x10)
    const again = await exchange(client, (data) => send(client, 0x19, String(data)), 'alice', 'pencil')
    expect(again.end).toMatchObject({ type: 15, reasonCode: 0 })
    expect(Buffer.from((again.end as Auth).properties.authenticationData!).toString()).toBe(`v=${again.verifier}`)
    const failed = await exchange(client, (data) => send(client, 0x19, String(data)), 'alice', 'crayon')
    expect(failed.end).toMatchObject({ type: 14, reasonCode: 0x87 })
    expect(await client.next()).toBe('closed')
  })

  test('a wrong proof, and a user who does not exist, who gets a challenge of the same shape', async () => {
    const roost = await begin()
    const [wrong, ghost] = [open(roost.mqttPort), open(roost.mqttPort)]
    const answers = [
      await exchange(wrong, byConnect(wrong), 'alice', 'crayon', 'abc'),
      await exchange(ghost, byConnect(ghost), 'ghost', 'pencil', 'abc'),
    ]
    for (const { end } of answers) expect(end).toMatchObject({ type: 2, reasonCode: 0x87 })
    const [one, two] = answers.map(({ challenge }) => challenge.replaceAll(/(?<=[rs]=)[^,]*/g, ({ length }) => String(length)))
    expect(one).toBe(two)
  })

  test('a message that was used before, channel binding, another method', async () => {
    const roost = await begin()
    const first = open(roost.mqttPort)
    const { final } = await exchange(first, byConnect(first), 'alice', 'pencil', 'abc')
    const replay = open(roost.mqttPort)
    byConnect(replay)(Buffer.from('n,,n=alice,r=abc'))
    expect(await replay.next()).toMatchObject({ type: 15, reasonCode: 0x18 })
    send(replay, 0x18, final)
    expect(await replay.next()).toMatchObject({ type: 2, reasonCode: 0x87 })
    const bound = open(roost.mqttPort)
    byConnect(bound)(Buffer.from('p=tls-exporter,,n=alice,r=abc'))
    expect(await bound.next()).toMatchObject({ type: 2, reasonCode: 0x87 })
    const plain = { properties: { authenticationMethod: 'PLAIN', authenticationData: Buffer.from('\0alice\0pencil') } }
    expect(await outcome(roost, undefined, plain)).toBe(0x8c)
  })
})

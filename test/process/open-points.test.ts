import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run } from '../../src/cli/cli.ts'
import { DEFAULT_CONFIG } from '../../src/config/config.ts'
import { openPoints } from '../../src/process/open-points.ts'
import { StubHost } from '../cli/stub-host.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'roost-'))
  writeFileSync(join(folder, 'passwords'), `alice:$7$210000$${'A'.repeat(16)}$${'A'.repeat(86)}==\n`, { mode: 0o600 })
  writeFileSync(join(folder, 'acl'), 'user alice\ntopic readwrite a/#\n', { mode: 0o600 })
  writeFileSync(join(folder, 'all.acl'), 'pattern readwrite #\n', { mode: 0o600 })
  writeFileSync(join(folder, 'guests.acl'), 'topic readwrite #\nuser alice\ntopic readwrite #\n', { mode: 0o600 })
  const rule = '- clients: "*"\n  username: field\n'
  writeFileSync(join(folder, 'bound.yaml'), `${rule}  networks: 10.1.0.0/16\n- networks: 0.0.0.0/0\n  deny: true\n`)
  writeFileSync(join(folder, 'unbound.yaml'), `- clients: b*\n  username: b\n  networks: 10.1.0.0/16\n${rule}`)
})
afterAll(() => rmSync(folder, { recursive: true }))

/** What would run with this file. */
async function configOf(yaml: string): Promise<readonly string[]> {
  const path = join(folder, 'roost.yaml')
  writeFileSync(path, yaml.replaceAll('FOLDER', folder))
  const host = new StubHost()
  expect([await run(['serve', '--config', path], host), host.err]).toEqual([0, ''])
  return openPoints(host.config!)
}

const PASSWORDS = 'http: false\nmemory: true\npassword_file: FOLDER/passwords\nacl_file: FOLDER/acl\n'

describe('what a configuration leaves open', () => {
  test('nobody but the users of this machine', () => {
    expect(openPoints(DEFAULT_CONFIG)).toEqual([
      'mqtt-1883: every user of this machine may connect without a password (password_file, or socket_path with socket_mode)',
      'http: every user of this machine may see clients and figures (http_password_file, or http: false)',
    ])
  })

  test('HTTP with users, without TLS', async () => {
    const lines = [PASSWORDS.replace('http: false', 'http: true'), 'http_password_file: FOLDER/passwords', 'http_host: ADDRESS']
    expect(await configOf(lines.join('\n').replace('ADDRESS', '127.0.0.1'))).toEqual([])
    expect(await configOf(lines.join('\n').replace('ADDRESS', '0.0.0.0'))).toEqual([
      'http: passwords and tokens can be read on the way, because it does not use TLS (http_certfile, http_keyfile)',
    ])
  })

  test('nothing on loopback with passwords', async () => {
    expect(await configOf(PASSWORDS)).toEqual([])
  })

  test.each([
    ['host: 0.0.0.0', ['passwords and messages can be read and changed on the way', 'the first user who connects with it']],
    ['host: 0.0.0.0\nclientid_prefixes: "%u-"', ['passwords and messages can be read and changed on the way']],
    [
      'host: 0.0.0.0\nmax_connections_per_address: 10000',
      ['can be read', 'the first user', 'one address can take all connections'],
    ],
    ['host: "::"\nproxy_protocol: true', ['the first user', 'any address in a PROXY header']],
    ['ban_after: 0', ['passwords can be guessed without limit']],
    ['session_ownership: false', ['anyone who knows a client id can take over its session']],
    ['http_auth_url: http://auth.example.org/login', ['requests to auth.example.org can be read']],
    ['http_auth_url: http://127.0.0.1:8080/login', []],
    ['http_auth_url: https://auth.example.org/login', []],
    ['sn_host: 0.0.0.0\nsn_username: field', ['anyone who knows the client id of a sensor', 'no encryption', 'forged addresses']],
    ['sn_host: 0.0.0.0\nsn_username: field\ntrusted_networks: ""', ['anyone who knows the client id', 'no encryption']],
    ['sn_host: 0.0.0.0\nsn_users: FOLDER/bound.yaml', ['no encryption', 'forged addresses']],
    ['sn_users: FOLDER/unbound.yaml', []],
    [
      'sn_host: 0.0.0.0\nsn_users: FOLDER/unbound.yaml',
      ['from any address (networks in each rule of sn_users)', 'no encryption', 'forged addresses'],
    ],
    [
      'sn_host: 0.0.0.0\nsn_users: FOLDER/bound.yaml\nroam: anywhere',
      ['at any address (roam: asleep)', 'no encryption', 'forged addresses'],
    ],
    ['memory_limit: 1099511627776', ['memory_limit is 1048576 MiB, but ']],
    [
      'sn_host: 0.0.0.0\nsn_username: field\nstandby: true',
      ['anyone who knows', 'no encryption', 'forged', 'silence a gateway on standby'],
    ],
  ])('%s', async (yaml, points) => {
    expect(await configOf(`${PASSWORDS}${yaml}\n`)).toEqual(points.map((point) => expect.stringContaining(point)))
  })

  test.each([
    [
      'host: 0.0.0.0\npassword_file: FOLDER/passwords\nacl_file: FOLDER/all.acl',
      ['every client may read and publish everything'],
    ],
    ['host: 0.0.0.0\npassword_file: FOLDER/passwords\nacl_file: FOLDER/guests.acl', []],
    [
      'host: 0.0.0.0\nallow_anonymous: true\nacl_file: FOLDER/guests.acl',
      ['without a user name may read and publish everything (acl_file: topic readwrite #)'],
    ],
    ['socket_path: FOLDER/socket\nallow_anonymous: true\nsocket_mode: "0666"', ['without a password (socket_mode: "0660"']],
    ['socket_path: FOLDER/socket\nallow_anonymous: true\nsocket_mode: "0660"', []],
    ['socket_path: FOLDER/socket\npassword_file: FOLDER/passwords\nsocket_mode: "0666"', []],
  ])('%s: rights of everybody', async (yaml, points) => {
    const found = (await configOf(`memory: true\n${yaml}\n`)).filter((point) => /everything|socket_mode/.test(point))
    expect(found).toEqual(points.map((point) => expect.stringContaining(point)))
  })

  test('everything, where anybody is let in from anywhere', async () => {
    const yaml =
      'http: false\nmemory: true\nallow_anonymous: true\nhost: 0.0.0.0\nprotocol: websockets\nwebsockets_origin: "*"\nsn_host: 0.0.0.0\n'
    expect(await configOf(yaml)).toEqual(
      [
        'may connect without a password (allow_anonymous)',
        'messages can be read and changed on the way',
        'every client may read and publish everything (acl_file)',
        'every web page that a user of this network opens may connect (websockets_origin)',
        'may connect as any sensor',
        'no encryption',
        'forged addresses',
      ].map((point) => expect.stringContaining(point)),
    )
  })
})

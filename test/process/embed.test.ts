import { once } from 'node:events'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hashPassword } from '../../src/access/io/password-hash.ts'
import { type Config, DEFAULT_CONFIG, type EmbeddedLog, type Running, StartError, startRoost } from '../../src/index.ts'
import { embeddedConfig } from '../../src/process/embed.ts'

let dir: string
let passwordFile: string
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'roost-embed-'))
  passwordFile = join(dir, 'passwords')
  writeFileSync(passwordFile, `alice:${await hashPassword(Buffer.from('secret'), 1)}\n`, { mode: 0o600 })
})
afterAll(() => rmSync(dir, { recursive: true }))

const QUIET: Config = { ...DEFAULT_CONFIG, memory: true, port: 0, snPort: 0 }
const CONNECT = Buffer.from('100d00044d5154540402003c000163', 'hex')

async function connack({ mqtt: [listener] }: Running): Promise<string> {
  const socket = connect(listener!.port, '127.0.0.1')
  socket.write(CONNECT)
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return bytes.toString('hex')
}

test('keys of the default listener are obeyed: port, passwords, allow_anonymous', async () => {
  const roost = await startRoost({ ...QUIET, passwordFile, allowAnonymous: false })
  expect(await connack(roost)).toBe('20020005')
  expect(roost.mqtt[0]!.port).not.toBe(1883)
  await roost.stop()
  const closed = await startRoost({ ...QUIET, allowAnonymous: false })
  expect(await connack(closed)).toBe('20020005')
  await closed.stop()
})

test('an access list that changes while the process starts is not taken by halves', async () => {
  const files = mkdtempSync(join(dir, 'start-'))
  const [aclFile, passwords] = [join(files, 'acl'), join(files, 'passwords')]
  writeFileSync(aclFile, 'topic readwrite #\n')
  // A broken line is a warning, which comes when everything has been read.
  writeFileSync(passwords, `${readFileSync(passwordFile)}\nnonsense\n`)
  const log = { warn: () => appendFileSync(aclFile, 'topic deny secret/#\n') }
  const start = startRoost({ ...QUIET, aclFile, passwordFile: passwords }, log)
  await expect(start).rejects.toThrow(`${aclFile} (acl_file): changed while it was read; start again when it is complete`)
})

test('stop() again is the same stop', async () => {
  const roost = await startRoost(QUIET)
  const stopped = roost.stop()
  await expect(Promise.all([roost.stop(), stopped])).resolves.toEqual([undefined, undefined])
  await expect(roost.stop()).resolves.toBeUndefined()
})

const lines: unknown[][] = []
const throwing = (): never => {
  throw new Error('the log is full')
}
test.each<[string, EmbeddedLog]>([
  ['nothing', {}],
  ['console', { ...console, info: (...parts: unknown[]) => lines.push(parts), warn: () => {} }],
  ['methods that throw', { info: throwing, warn: throwing, error: throwing, debug: throwing }],
])('a log of %s', async (_, log) => {
  const roost = await startRoost(QUIET, log)
  expect(await connack(roost)).toBe('20020000')
  await roost.stop()
  if ('log' in log) expect(lines).toContainEqual([expect.anything(), expect.stringContaining('client-connected mqtt:c')])
})

describe('a key is obeyed or refused', () => {
  const [listener] = DEFAULT_CONFIG.listeners
  const [snListener] = DEFAULT_CONFIG.snListeners
  test.each<[object, string]>([
    [{ pasword_file: 'x' }, 'pasword_file: unknown key (did you mean passwordFile?)'],
    [{ password_file: 'x' }, 'password_file: unknown key (did you mean passwordFile?)'],
    [{ port: '1883' }, 'port: expected a whole number from 0 to 65535, got "1883"'],
    [{ host: '0.0.0.0' }, 'host: 0.0.0.0 is not loopback'],
    [{ certfile: 'x' }, 'certfile: needs keyfile too'],
    [{ port: 5, listeners: [{ ...listener, port: 6 }] }, 'port: has no effect on listeners that are given'],
    [{ passwordFile: 'p', listeners: [{ ...listener, port: 6 }] }, 'passwordFile: has no effect on listeners that are given'],
    [{ listeners: [{ ...listener, passwrodFile: 'p' }] }, 'listeners[0].passwrodFile: unknown key (did you mean passwordFile?)'],
    [
      {
        listeners: [
          { ...listener, port: 1 },
          { ...listener, port: 2 },
        ],
      },
      'listeners[1].name: expected a name that no other',
    ],
    [{ listeners: [{ ...listener, host: '0.0.0.0' }] }, 'listeners[0].allowAnonymous: is true'],
    [{ listeners: [{ ...listener, passwordFile: 'p' }] }, 'listeners[0].allowAnonymous: is true'],
    [{ snListeners: [{ ...snListener, host: '0.0.0.0' }] }, 'snListeners[0].host: 0.0.0.0 is not loopback'],
    [{ listeners: [] }, 'listeners: expected at least one listener, got none'],
    [{ snPort: 5, snListeners: [{ ...snListener, port: 6 }] }, 'snPort: has no effect on snListeners that are given: set port'],
  ])('%j', (more, error) => {
    const refused = (): unknown => embeddedConfig({ ...DEFAULT_CONFIG, ...more } as Config)
    expect(refused).toThrow(StartError)
    expect(refused).toThrow(error)
  })

  test('the defaults are in force as they are, and what is given is', () => {
    expect(embeddedConfig(DEFAULT_CONFIG)).toEqual(DEFAULT_CONFIG)
    const listeners = [{ ...listener!, name: 'a', port: 7, passwordFile: 'p', allowAnonymous: false }]
    expect(embeddedConfig({ ...DEFAULT_CONFIG, maxConnections: 5, passwordFile: 'p', listeners })).toMatchObject({
      maxConnections: 5,
      listeners,
    })
    const sysInterval = Number.POSITIVE_INFINITY
    expect(embeddedConfig({ ...DEFAULT_CONFIG, sysInterval, snPort: 9 })).toMatchObject({
      sysInterval,
      snListeners: [{ port: 9 }],
    })
  })
})

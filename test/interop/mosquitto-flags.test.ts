import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Certificates } from './certificates.ts'
import { describeWithMosquitto, MosquittoSub, mosquittoPub } from './mosquitto.ts'
import { StartedProcess } from './started-process.ts'

/** Of `-D <command> <property>` in the manual of each program, all that there are; authentication is apart. */
const CONNECT = [
  ...[
    ['maximum-packet-size', '1000'],
    ['receive-maximum', '5'],
    ['request-problem-information', '1'],
  ],
  ...[
    ['request-response-information', '1'],
    ['session-expiry-interval', '60'],
    ['topic-alias-maximum', '5'],
  ],
  ['user-property', 'k', 'v'],
]
const WILL = [
  ...[
    ['content-type', 'text/plain'],
    ['correlation-data', 'c'],
    ['message-expiry-interval', '60'],
  ],
  ...[
    ['payload-format-indicator', '1'],
    ['response-topic', 'r'],
    ['user-property', 'k', 'v'],
    ['will-delay-interval', '1'],
  ],
]
const DISCONNECT = [
  ['session-expiry-interval', '60'],
  ['user-property', 'k', 'v'],
]
const PUBLISH = [
  ...[
    ['content-type', 'text/plain'],
    ['correlation-data', 'c'],
    ['message-expiry-interval', '60'],
  ],
  ...[
    ['payload-format-indicator', '1'],
    ['response-topic', 'r'],
    ['topic-alias', '3'],
    ['user-property', 'k', 'v'],
  ],
]
const SUBSCRIBE = [
  ['subscription-identifier', '7'],
  ['user-property', 'k', 'v'],
]
const UNSUBSCRIBE = [['user-property', 'k', 'v']]

const of = (command: string, properties: readonly string[][]) =>
  properties.map(([name, ...values]) => [command, name!, values] as const)

/** What mosquitto_pub and mosquitto_sub have in every version, and each property of each command. */
describeWithMosquitto('mosquitto_pub and mosquitto_sub', () => {
  let roost: StartedProcess
  let certificates: Certificates
  let subs: MosquittoSub[] = []
  const FIVE = ['-V', 'mqttv5']
  const address = (): string[] => ['-h', '127.0.0.1', '-p', String(roost.mqttPort)]
  const sub = async (...flags: string[]): Promise<MosquittoSub> => {
    const started = await MosquittoSub.start(roost.mqttPort, ...flags)
    subs.push(started)
    return started
  }
  /** Runs to its own end: exit code, and what it printed. */
  const run = (program: 'mosquitto_pub' | 'mosquitto_sub', ...flags: string[]): { code: number | null; out: string } => {
    const { status, stdout, stderr } = spawnSync(program, flags, { encoding: 'utf8', timeout: 15_000 })
    return { code: status, out: stdout + stderr }
  }

  beforeAll(async () => {
    certificates = new Certificates()
    const config = join(certificates.directory, 'roost.yaml')
    writeFileSync(
      config,
      `memory: true
listeners:
  - {name: mqtt, port: 0}
  - {name: tls, port: 0, certfile: server.crt, keyfile: server.key}
`,
    )
    roost = await StartedProcess.startWith('--config', config)
  })
  afterAll(async () => {
    await roost.stop()
    certificates.remove()
  })
  afterEach(async () => {
    await Promise.all(subs.map((one) => one.stop()))
    subs = []
  })

  describe('-D', () => {
    test.each([...of('connect', CONNECT), ...of('publish', PUBLISH), ...of('disconnect', DISCONNECT), ...of('will', WILL)])(
      'mosquitto_pub -D %s %s %s',
      (command, name, values) => {
        const will = command === 'will' ? ['--will-topic', 'w', '--will-payload', 'x'] : []
        // DISCONNECT cannot raise an expiry of 0.
        const session = command === 'disconnect' ? ['-c', '-i', 'lasting-pub', '-x', '60'] : []
        const flags = [...address(), ...FIVE, ...session, '-t', 'd/pub', '-m', 'x', '-q', '1', ...will]
        expect(run('mosquitto_pub', ...flags, '-D', command, name, ...values)).toEqual({ code: 0, out: '' })
      },
    )

    test.each([
      ...[...of('connect', CONNECT), ...of('subscribe', SUBSCRIBE), ...of('unsubscribe', UNSUBSCRIBE)],
      ...[...of('disconnect', DISCONNECT), ...of('will', WILL)],
    ])('mosquitto_sub -D %s %s %s', (command, name, values) => {
      const will = command === 'will' ? ['--will-topic', 'w', '--will-payload', 'x'] : []
      const session = command === 'disconnect' ? ['-c', '-i', 'lasting-sub', '-x', '60'] : []
      const unsubscribe = command === 'unsubscribe' ? ['-U', 'd/other'] : []
      const flags = [...address(), ...FIVE, ...session, '-t', 'd/sub', ...unsubscribe, '-E', ...will]
      expect(run('mosquitto_sub', ...flags, '-D', command, name, ...values)).toEqual({ code: 0, out: '' })
    })

    test.each(['mosquitto_pub', 'mosquitto_sub'] as const)(
      '%s -D connect authentication-method, -data: refused by name',
      (program) => {
        const method = ['-D', 'connect', 'authentication-method', 'NO-SUCH', '-D', 'connect', 'authentication-data', 'x']
        const flags = program === 'mosquitto_pub' ? ['-m', 'x'] : ['-E']
        const { code, out } = run(program, ...address(), ...FIVE, '-t', 'a', ...flags, ...method)
        expect(out).toMatch(/bad authentication method/i)
        expect(code).not.toBe(0)
      },
    )
  })

  test.each(['mqttv31', 'mqttv311', 'mqttv5'])('-V %s: -t several times, -q 0 to 2, -v, -C, -W', async (version) => {
    const got = await sub('-V', version, '-t', `v/${version}/a`, '-t', `v/${version}/b/#`, '-q', '2')
    for (const qos of ['0', '1', '2'])
      await mosquittoPub(roost.mqttPort, '-V', version, '-t', `v/${version}/a`, '-m', qos, '-q', qos)
    await mosquittoPub(roost.mqttPort, '-V', version, '-t', `v/${version}/b/c`, '-m', 'deep')
    for (const qos of ['0', '1', '2']) expect(await got.next()).toBe(`v/${version}/a ${qos}`)
    expect(await got.next()).toBe(`v/${version}/b/c deep`)
    expect(run('mosquitto_sub', ...address(), '-V', version, '-t', 'silence', '-W', '1').code).toBe(27)
  })

  test('-i, -I, -k, -c in version 3.1.1: a session that lasts', async () => {
    const lasting = ['-V', 'mqttv311', '-i', 'flags-lasting', '-c', '-q', '1', '-t', 'flags/queue', '-k', '5']
    await (await sub(...lasting)).stop()
    await mosquittoPub(roost.mqttPort, '-I', 'prefix-', '-t', 'flags/queue', '-q', '1', '-m', 'kept')
    expect(await (await sub(...lasting)).next()).toBe('flags/queue kept')
  })

  test('-f, -m, -n, -s, -l, -r, --repeat, --repeat-delay, --nodelay, --quiet, -d', async () => {
    const got = await sub('-t', 'flags/input')
    const file = join(certificates.directory, 'message')
    writeFileSync(file, 'of a file')
    for (const source of [['-f', file], ['-m', 'of a flag', '--nodelay', '--quiet'], ['-n']])
      await mosquittoPub(roost.mqttPort, '-t', 'flags/input', ...source)
    expect([await got.next(), await got.next(), await got.next()]).toEqual([
      'flags/input of a file',
      'flags/input of a flag',
      'flags/input (null)',
    ])
    await mosquittoPub(roost.mqttPort, '-t', 'flags/input', '-m', 'again', '--repeat', '3', '--repeat-delay', '0.01')
    for (let i = 0; i < 3; i++) expect(await got.next()).toBe('flags/input again')
    await mosquittoPub(roost.mqttPort, '-t', 'flags/kept', '-m', 'state', '-r')
    expect(run('mosquitto_sub', ...address(), '-t', 'flags/kept', '-C', '1', '-W', '5').out).toBe('state\n')
  })

  test('-R, -F', async () => {
    await mosquittoPub(roost.mqttPort, '-t', 'flags/stale', '-m', 'kept', '-r')
    const fresh = await sub('-t', 'flags/stale', '-R', '-F', '%t %p %q %r %l')
    await mosquittoPub(roost.mqttPort, '-t', 'flags/stale', '-m', 'new', '-q', '1')
    expect(await fresh.next()).toBe('flags/stale new 0 0 3')
  })

  test('--will-topic, --will-payload, --will-qos, --will-retain', async () => {
    const watcher = await sub('-t', 'flags/will', '-q', '1', '-F', '%t %p %q')
    const mortal = await sub(
      '-t',
      'x',
      '--will-topic',
      'flags/will',
      '--will-payload',
      'gone',
      '--will-qos',
      '1',
      '--will-retain',
    )
    await mortal.stop('SIGKILL')
    expect(await watcher.next()).toBe('flags/will gone 1')
    expect(run('mosquitto_sub', ...address(), '-t', 'flags/will', '-C', '1', '-W', '5').out).toBe('gone\n')
  })

  test('-L: a URL for mqtt and mqtts; -A: from an address of this machine', () => {
    const flags = ['-m', 'x', '-q', '1']
    expect(run('mosquitto_pub', '-L', `mqtt://127.0.0.1:${roost.mqttPort}/flags/url`, ...flags).code).toBe(0)
    const cafile = ['--cafile', certificates.path('ca.crt')]
    expect(run('mosquitto_pub', '-L', `mqtts://localhost:${roost.ports.get('tls')}/flags/url`, ...cafile, ...flags).code).toBe(0)
    expect(run('mosquitto_pub', ...address(), '-A', '127.0.0.1', '-t', 'flags/bound', ...flags).code).toBe(0)
  })

  test('--capath, --ciphers, --tls-version, --tls-alpn, --insecure', () => {
    const capath = join(certificates.directory, 'authorities')
    mkdirSync(capath)
    copyFileSync(certificates.path('ca.crt'), join(capath, 'ca.pem'))
    spawnSync('openssl', ['rehash', capath])
    const to = ['-p', String(roost.ports.get('tls')), '-t', 'flags/tls', '-m', 'x', '-q', '1']
    const over = (...flags: string[]): number | null => run('mosquitto_pub', ...to, ...flags).code
    expect(over('-h', 'localhost', '--capath', capath)).toBe(0)
    expect(
      over('-h', 'localhost', '--capath', capath, '--tls-version', 'tlsv1.2', '--ciphers', 'ECDHE-ECDSA-AES128-GCM-SHA256'),
    ).toBe(0)
    expect(over('-h', 'localhost', '--capath', capath, '--tls-version', 'tlsv1.3', '--tls-alpn', 'mqtt')).toBe(0)
    // Names only localhost and 127.0.0.1.
    expect(over('-h', '127.0.0.2', '--capath', capath)).not.toBe(0)
    expect(over('-h', 'localhost', '--capath', join(certificates.directory, 'nowhere'))).not.toBe(0)
    expect(over('-h', 'localhost', '--capath', capath, '--insecure')).toBe(0)
  })
})

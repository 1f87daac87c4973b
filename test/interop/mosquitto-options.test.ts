import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Certificates } from './certificates.ts'
import { describeWithMosquitto, MosquittoSub, mosquittoPub } from './mosquitto.ts'
import { StartedProcess } from './started-process.ts'

/** Every option that mosquitto_pub and mosquitto_sub have for MQTT 5.0, each with what it should do. */
describeWithMosquitto('mosquitto_pub and mosquitto_sub with the options of MQTT 5.0', () => {
  let roost: StartedProcess
  let subs: MosquittoSub[] = []
  const FIVE = ['-V', 'mqttv5']
  const sub = async (...flags: string[]): Promise<MosquittoSub> => {
    const started = await MosquittoSub.start(roost.mqttPort, ...FIVE, ...flags)
    subs.push(started)
    return started
  }
  const pub = (...flags: string[]): Promise<void> => mosquittoPub(roost.mqttPort, ...FIVE, ...flags)
  /** Runs mosquitto_sub to its own end; what it printed. */
  const ended = (...flags: string[]): string =>
    spawnSync('mosquitto_sub', ['-h', '127.0.0.1', '-p', String(roost.mqttPort), ...FIVE, ...flags], { encoding: 'utf8' }).stdout

  beforeAll(async () => {
    roost = await StartedProcess.start('--memory')
  })
  afterAll(() => roost.stop())
  afterEach(async () => {
    await Promise.all(subs.map((one) => one.stop()))
    subs = []
  })

  test('-D publish: every property of PUBLISH arrives', async () => {
    const got = await sub('-t', 'p/#', '-F', '%t|%C|%D|%E|%F|%P|%R')
    await pub(
      ...['-t', 'p/all', '-m', 'x'],
      ...['-D', 'publish', 'content-type', 'text/plain'],
      ...['-D', 'publish', 'correlation-data', 'c-17'],
      ...['-D', 'publish', 'message-expiry-interval', '60'],
      ...['-D', 'publish', 'payload-format-indicator', '1'],
      ...['-D', 'publish', 'response-topic', 'answers/1'],
      ...['-D', 'publish', 'user-property', 'b', '1'],
      ...['-D', 'publish', 'user-property', 'a', '2'],
    )
    expect(await got.next()).toBe('p/all|text/plain|c-17|60|1|b:1 a:2|answers/1')
  })

  test('-D publish topic-alias: the topic comes through', async () => {
    const got = await sub('-t', 'alias/#')
    await pub('-t', 'alias/topic', '-m', 'x', '-D', 'publish', 'topic-alias', '3', '--repeat', '3')
    for (let i = 0; i < 3; i++) expect(await got.next()).toBe('alias/topic x')
  })

  test('-D connect topic-alias-maximum: each topic comes with its alias', async () => {
    // libmosquitto 2.0 takes an alias beside a topic, and not in place of one: MQTT.js and paho show that.
    const got = await sub('-t', 'outgoing/#', '-D', 'connect', 'topic-alias-maximum', '2', '-F', '%t %A')
    for (const level of ['one', 'two', 'three']) await pub('-t', `outgoing/long-enough/${level}`, '-m', 'x')
    expect(await got.next()).toBe('outgoing/long-enough/one 1')
    expect(await got.next()).toBe('outgoing/long-enough/two 2')
    expect((await got.next()).trim()).toBe('outgoing/long-enough/three')
  })

  test('-D connect receive-maximum, maximum-packet-size: what is too large stays away, the rest comes one by one', async () => {
    const bounds = ['-D', 'connect', 'receive-maximum', '1', '-D', 'connect', 'maximum-packet-size', '100']
    const got = await sub('-t', 'bounds/#', '-q', '2', ...bounds)
    await pub('-t', 'bounds/a', '-q', '2', '-m', 'x'.repeat(200))
    for (const text of ['1', '2', '3']) await pub('-t', 'bounds/a', '-q', '2', '-m', text)
    for (const text of ['1', '2', '3']) expect(await got.next()).toBe(`bounds/a ${text}`)
  })

  test('-D connect request-problem-information, request-response-information, user-property', async () => {
    const asked = ['request-problem-information', 'request-response-information'].flatMap((name) => ['-D', 'connect', name, '1'])
    const got = await sub('-t', 'asked', ...asked, '-D', 'connect', 'user-property', 'k', 'v')
    await pub('-t', 'asked', '-m', 'x')
    expect(await got.next()).toBe('asked x')
  })

  test('-D subscribe subscription-identifier: comes with each message', async () => {
    const got = await sub('-t', 'ids/#', '-D', 'subscribe', 'subscription-identifier', '42', '-F', '%t %S')
    await pub('-t', 'ids/a', '-m', 'x')
    expect(await got.next()).toBe('ids/a 42')
  })

  test('-D will: its properties, and its delay', async () => {
    const got = await sub('-t', 'will/#', '-F', '%t|%p|%C|%R|%D|%P')
    const victim = await sub(
      ...['-t', 'x', '--will-topic', 'will/1', '--will-payload', 'gone', '--will-qos', '2'],
      ...['-D', 'will', 'content-type', 'text/plain', '-D', 'will', 'response-topic', 'answers'],
      ...['-D', 'will', 'correlation-data', 'c', '-D', 'will', 'user-property', 'k', 'v'],
      ...['-D', 'will', 'message-expiry-interval', '60', '-D', 'will', 'will-delay-interval', '0'],
    )
    await victim.stop('SIGKILL')
    expect(await got.next()).toBe('will/1|gone|text/plain|answers|c|k:v')
  })

  test('-c -x: a session that lasts, and -D disconnect session-expiry-interval 0 ends it', async () => {
    const lasting = ['-c', '-i', 'lasting', '-x', '60', '-q', '1', '-t', 'lasting/a']
    await (await sub(...lasting)).stop()
    await pub('-t', 'lasting/a', '-q', '1', '-m', 'kept')
    const again = await sub(...lasting, '-D', 'disconnect', 'session-expiry-interval', '0')
    expect(await again.next()).toBe('lasting/a kept')
    await again.stop()
    await pub('-t', 'lasting/a', '-q', '1', '-m', 'nobody')
    const last = await sub(...lasting)
    await pub('-t', 'lasting/a', '-q', '1', '-m', 'new')
    expect(await last.next()).toBe('lasting/a new')
  })

  test('-U with -D unsubscribe user-property: what was unsubscribed stays away', async () => {
    await pub('-t', 'u/kept', '-m', 'x')
    const got = await sub('-t', 'u/#', '-U', 'u/#', '-t', 'other/#', '-D', 'unsubscribe', 'user-property', 'k', 'v')
    await pub('-t', 'u/a', '-m', 'away')
    await pub('-t', 'other/a', '-m', 'here')
    expect(await got.next()).toBe('other/a here')
  })

  test('--retain-as-published, --retained-only, --remove-retained, -R, --retain-handling', async () => {
    await pub('-t', 'kept/a', '-r', '-m', 'state')
    const published = await sub('-t', 'kept/#', '--retain-as-published', '-F', '%t %r')
    expect(await published.next()).toBe('kept/a 1')
    await pub('-t', 'kept/b', '-r', '-m', 'live')
    expect(await published.next()).toBe('kept/b 1')
    expect(ended('-t', 'kept/#', '--retained-only', '-C', '2', '-v', '-W', '5').trim().split('\n').toSorted()).toEqual([
      'kept/a state',
      'kept/b live',
    ])
    expect(ended('-t', 'kept/#', '--remove-retained', '-C', '2', '-W', '5').trim().split('\n')).toHaveLength(2)
    expect(ended('-t', 'kept/#', '-W', '1')).toBe('')
  })

  test('-E, -N, -T, -C, -W', async () => {
    expect(ended('-t', 'ends/a', '-E')).toBe('')
    const got = await sub('-t', 'filter/#', '-T', 'filter/out')
    await pub('-t', 'filter/out', '-m', 'x')
    await pub('-t', 'filter/in', '-m', 'y')
    expect(await got.next()).toBe('filter/in y')
  })

  test('-l, -n, -s, --repeat', async () => {
    const got = await sub('-t', 'lines')
    const input = { input: 'one\ntwo\n' }
    const lines = ['-h', '127.0.0.1', '-p', String(roost.mqttPort), ...FIVE, '-t', 'lines', '-q', '1']
    spawnSync('mosquitto_pub', [...lines, '-l'], input)
    expect([await got.next(), await got.next()]).toEqual(['lines one', 'lines two'])
    spawnSync('mosquitto_pub', [...lines, '-s'], { input: 'whole' })
    expect(await got.next()).toBe('lines whole')
    await pub('-t', 'lines', '-n')
    expect(await got.next()).toBe('lines (null)')
  })

  test('shared subscriptions: each message comes to one of two', async () => {
    const two = [await sub('-t', '$share/g/shared/#', '-q', '1'), await sub('-t', '$share/g/shared/#', '-q', '1')]
    for (let i = 0; i < 4; i++) await pub('-t', `shared/${i}`, '-q', '1', '-m', 'x')
    const got = [await two[0]!.next(), await two[0]!.next(), await two[1]!.next(), await two[1]!.next()]
    expect(got.toSorted()).toEqual(['shared/0 x', 'shared/1 x', 'shared/2 x', 'shared/3 x'])
  })

  test('--cafile, --cert, --key, --tls-version, --insecure, --tls-alpn', async () => {
    const certificates = new Certificates()
    const [cafile, cert, key] = (['ca.crt', 'client.crt', 'client.key'] as const).map((name) => certificates.path(name))
    const secure = await StartedProcess.start(
      ...['--memory', '--certfile', certificates.path('server.crt'), '--keyfile', certificates.path('server.key')],
      ...['--cafile', cafile!, '--require-certificate', 'required'],
    )
    try {
      const tls = ['--cafile', cafile!, '--cert', cert!, '--key', key!]
      const got = await MosquittoSub.start(secure.mqttPort, ...FIVE, ...tls, '-t', 'tls/#')
      subs.push(got)
      for (const version of ['tlsv1.2', 'tlsv1.3']) {
        await mosquittoPub(secure.mqttPort, ...FIVE, ...tls, '--tls-version', version, '-t', 'tls/a', '-m', version)
        expect(await got.next()).toBe(`tls/a ${version}`)
      }
      await expect(mosquittoPub(secure.mqttPort, ...FIVE, '--cafile', cafile!, '-t', 'tls/a', '-m', 'no')).rejects.toThrow()
    } finally {
      await secure.stop()
      certificates.remove()
    }
  })

  test('--unix: a Unix socket', async () => {
    const certificates = new Certificates()
    const path = join(certificates.directory, 'roost.sock')
    const local = await StartedProcess.startWith('--memory', '--socket-path', path)
    try {
      const got = spawnSync('mosquitto_sub', ['--unix', path, ...FIVE, '-t', 'a', '-E'], { encoding: 'utf8' })
      expect(got.status).toBe(0)
    } finally {
      await local.stop()
      certificates.remove()
    }
  })
})

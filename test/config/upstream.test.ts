import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/io/config-file.ts'
import type { OptionKey } from '../../src/config/options.ts'
import { upstreamTargets } from '../../src/config/upstream.ts'
import { effectiveConfig } from '../../src/http/effective-config.ts'
import { resolveOptions } from '../../src/library/options.ts'
import { openPoints } from '../../src/process/open-points.ts'
import { upstreamOptions } from '../../src/process/upstream-options.ts'

let dir: string

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-upstream-'))
  writeFileSync(join(dir, 'password'), 'secret-%c\n')
  writeFileSync(join(dir, 'bad-password'), 'sec%ret\n')
  writeFileSync(join(dir, 'empty'), '')
})

afterAll(() => rmSync(dir, { recursive: true }))

/** The configuration of a file with this text, and of flags. */
function load(text: string, flags: Record<string, unknown> = {}) {
  writeFileSync(join(dir, 'roost.yaml'), text)
  const flagged = Object.entries({ config: 'roost.yaml', ...flags })
  return loadConfig(new Map(flagged.map(([key, value]) => [key as OptionKey, { value, origin: `--${key}` }])), dir)
}

const core = (text: string, flags = {}) => {
  const config = load(text, flags)
  return upstreamOptions(config, config.upstream!)
}

describe('upstream', () => {
  test('defaults', () => {
    expect(core('upstream: {targets: "mqtts://a, mqtts://b:8884"}\ngateway_id: 7')).toMatchObject({
      targets: {
        roundRobin: false,
        version: 'auto',
        backoff: { baseMs: 1000, maxMs: 60_000 },
        connectTimeoutMs: 10_000,
        maximumQos: 2,
      },
      ...{ gatewayId: 7, clientId: '%c', username: undefined, password: undefined, keepAliveSeconds: 900, sleepers: 'keep' },
      ...{ quietMs: 100, window: 20, wills: 'auto', willDelaySeconds: 60, heldMessages: 100, heldBytes: 65_536 },
      ...{ sessionExpirySeconds: Number.POSITIVE_INFINITY, dialsPerSecond: 50 },
    })
  })

  test('all of it', () => {
    const options = core(`
persistent_client_expiration: 3600
upstream:
  targets: [wss://a/mqtt, "mqtts://[::1]:7"]
  round_robin: true
  protocol_version: mqttv311
  client_id: site-7:%c
  username: "%u"
  password_file: password
  sleepers: park
  maximum_qos: 1
  wills: gateway
  restart_timeout: 5
  tls_version: tlsv1.3
`)
    expect(options).toMatchObject({
      targets: { roundRobin: true, version: 4, backoff: { baseMs: 5000, maxMs: 5000 }, maximumQos: 1 },
      ...{ clientId: 'site-7:%c', username: '%u', password: 'secret-%c', sleepers: 'park', wills: 'gateway' },
      sessionExpirySeconds: 3600,
    })
    expect(options.targets.addresses.map(({ url, tls }) => [url, tls?.tlsVersion])).toEqual([
      ['wss://a:443/mqtt', 'tlsv1.3'],
      ['mqtts://[::1]:7', 'tlsv1.3'],
    ])
  })

  test('flags name targets, alone or in place of those of the file', () => {
    const flags = { upstream: ['mqtt://c', 'mqtt://d'] }
    const urls = (text: string) => core(text, flags).targets.addresses.map(({ url }) => url)
    expect(urls('')).toEqual(['mqtt://c:1883', 'mqtt://d:1883'])
    expect(urls('upstream: {targets: mqtt://a, sleepers: park}')).toEqual(['mqtt://c:1883', 'mqtt://d:1883'])
    expect(core('upstream: {sleepers: park}', flags).sleepers).toBe('park')
  })

  test('there is no listener for MQTT clients unless it is asked for', () => {
    expect(load('upstream: {targets: mqtt://a}').listeners).toEqual([])
    expect(load('upstream: {targets: mqtt://a}\nport: 1884').listeners).toHaveLength(1)
    expect(load('upstream: {targets: mqtt://a}\nlisteners: [{port: 1884}, {port: 1885}]').listeners).toHaveLength(2)
  })

  test.each([
    [
      'targets: mqtt://u:p@a',
      'upstream.targets: credentials do not belong in a URL, which ends up in logs: use username and password_file',
    ],
    ['targets: http://a', "upstream.targets: 'http://a' is no address"],
    ['targets: []', 'upstream.targets: expected addresses'],
    ['sleepers: keep', 'upstream: expected targets, got none'],
    ['targets: a, client_id: "s-%x"', 'upstream.client_id: %x has no meaning'],
    ['targets: a, client_id: "%c%"', 'upstream.client_id: ends with %'],
    ['targets: a, client_id: "one-%%c"', 'upstream.client_id: expected %c in it'],
    ['targets: a, username: "%p"', 'upstream.username: %p has no meaning'],
    ['targets: a, password_file: password', 'upstream.password_file: needs username too'],
    ['targets: a, username: u, password_file: none', 'upstream.password_file: cannot read'],
    ['targets: a, username: u, password_file: empty', 'the first line of'],
    ['targets: a, username: u, password_file: bad-password', 'write %% for a percent sign'],
    ['targets: a, password: p', 'upstream.password: passwords do not belong in a configuration: use password_file'],
    ['targets: a, sleeper: keep', 'upstream.sleeper: unknown key (did you mean sleepers?)'],
    ['targets: a, sleepers: drop', 'upstream.sleepers: expected one of keep, park, got "drop"'],
    ['targets: a, quiet_time_ms: -1', 'upstream.quiet_time_ms: expected a whole number from 0 to 60000'],
    ['targets: a, maximum_qos: 0', 'upstream.maximum_qos: expected a whole number from 1 to 2'],
    ['targets: a, protocol_version: mqttv31', 'upstream.protocol_version: expected one of'],
    ['targets: a, certfile: password', 'upstream.certfile: needs keyfile too'],
    ['targets: a, cafile: none.pem', 'upstream.cafile: cannot read'],
    ['targets: mqtt://a, cafile: password', 'does not use TLS, but there are keys for TLS'],
    ['targets: a, restart_timeout: 9 3', 'upstream.restart_timeout: expected at least 1'],
    ['targets: a, __proto__: 1', 'upstream.__proto__: unknown key'],
  ])('{%s} is refused in one line', (text, message) => {
    const line = refusal(() => core(`upstream: {${text}}`))
    expect(line).toContain(message)
    expect(line).not.toMatch(/\n|sec%ret|u:p/)
  })

  test.each([
    ['upstream: mqtt://a', 'upstream'],
    ['upstream: {targets: "mqtt://127.0.0.1:1883"}\nport: 1883', 'mqtt://127.0.0.1:1883 is a listener of this Roost itself'],
    ['upstream: {targets: "mqtt://localhost"}\nhost: 0.0.0.0\nport: 1883\nallow_anonymous: true', 'is a listener of this Roost'],
    ['upstream: {targets: mqtt://a}\nprotocol: websockets', 'there is none of with upstream: set port too'],
    ['gateway_topic_ids: 9-1', 'gateway_topic_ids: expected a range of topic ids within 1-65534'],
    ['gateway_topic_ids: 1-65535', 'gateway_topic_ids: expected a range'],
    ['gateway_topic_ids: 0-5', 'gateway_topic_ids: expected a range'],
    ['gateway_topic_ids: 5', 'gateway_topic_ids: expected a range'],
  ])('%s is refused in one line', (text, message) => {
    const line = refusal(() => core(text))
    expect(line).toMatch(/^roost\.yaml:\d+:\d+: /)
    expect(line).toContain(message)
  })

  test('a program gives it as an object', () => {
    const { config } = resolveOptions({ upstream: { targets: ['mqtt://a'], clientId: 'x-%c' } }, dir)
    expect(upstreamTargets(config.upstream!).map(({ url }) => url)).toEqual(['mqtt://a:1883'])
    expect(config).toMatchObject({ listeners: [], upstream: { clientId: 'x-%c' } })
    const wrong = { upstream: { targets: 'a', sleepers: 'no' } } as never
    expect(refusal(() => resolveOptions(wrong, dir))).toContain('upstream.sleepers: expected one of keep, park')
  })

  test('is shown with the configuration in effect, and what it leaves open', () => {
    const config = load('gateway_topic_ids: 5000-9000\nupstream: {targets: mqtt://a, username: u, password_file: password}')
    expect(effectiveConfig(config)).toMatchObject({
      upstream: { targets: ['mqtt://a'], client_id: '%c', username: 'u' },
      options: { gateway_topic_ids: '5000-9000' },
    })
    expect(openPoints(config)).toContainEqual(
      expect.stringMatching(/^upstream: passwords and messages can be read .* mqtt:\/\/a:1883/),
    )
    expect(openPoints(load('upstream: {targets: "mqtt://127.0.0.1"}')).filter((line) => line.startsWith('upstream'))).toEqual([])
  })
})

function refusal(load: () => unknown): string {
  try {
    load()
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('it was accepted')
}

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bridgesOfObjects } from '../../src/config/bridges.ts'
import { loadConfig, parseConfigFile } from '../../src/config/io/config-file.ts'
import { parseConf } from '../../src/config/io/mosquitto-conf.ts'
import { importMosquitto } from '../../src/config/io/mosquitto-import.ts'
import { YamlFile } from '../../src/config/io/yaml-file.ts'
import { resolveTargets } from '../../src/config/targets.ts'

const bridges = (text: string) => parseConfigFile(new YamlFile('roost.yaml', `bridges:\n${text}`)).bridges
const only = (text: string) => bridges(`  - {name: b, address: far, topics: ["a/# out"], ${text}}`)[0]!
const urls = (text: string) => resolveTargets(only(text), '').map(({ url }) => url)

describe('an entry of bridges', () => {
  test('topics as lines of mosquitto.conf and as maps', () => {
    const [bridge] = bridges(`
  - name: head
    addresses: [one:1884, two]
    topics:
      - sensors/# out 1 site/ all/site-7/
      - '"" both 2 here there'
      - pattern: commands/#
        direction: in
        local_prefix: site/
      - plain
`)
    expect(bridge!.topics).toEqual([
      { pattern: 'sensors/#', direction: 'out', qos: 1, localPrefix: 'site/', remotePrefix: 'all/site-7/' },
      { pattern: '', direction: 'both', qos: 2, localPrefix: 'here', remotePrefix: 'there' },
      { pattern: 'commands/#', direction: 'in', qos: 0, localPrefix: 'site/', remotePrefix: '' },
      { pattern: 'plain', direction: 'out', qos: 0, localPrefix: '', remotePrefix: '' },
    ])
    expect(bridge).toMatchObject({ name: 'head', addresses: ['one:1884', 'two'], startType: 'automatic', tryPrivate: true })
  })

  test('names of Mosquitto, with and without bridge_', () => {
    expect(only('bridge_protocol_version: mqttv50, username: u, password: 123, clientid: 7')).toMatchObject({
      ...{ protocolVersion: 'mqttv50', remoteUsername: 'u', remotePassword: '123', remoteClientid: '7' },
    })
  })

  test.each([
    ['', ['mqtt://far:1883']],
    ['cafile: ca.pem', ['mqtts://far:1883']],
    ['protocol: websockets', ['ws://far:1883/mqtt']],
    ['protocol: websockets, capath: certs', ['wss://far:1883/mqtt']],
  ])('%s leads to %j', (text, expected) => {
    expect(urls(text)).toEqual(expected)
  })

  test.each([
    ['mqtts://far', ['mqtts://far:8883']],
    ['wss://far/path, 10.0.0.1:1884', ['wss://far:443/path', 'mqtt://10.0.0.1:1884']],
    ['::1 [::2]:7', ['mqtt://[::1]:1883', 'mqtt://[::2]:7']],
  ])('the address %s is %j', (address, expected) => {
    const [bridge] = bridges(`  - {name: b, addresses: "${address}", topics: ["a/# out"]}`)
    expect(resolveTargets(bridge!, '').map(({ url }) => url)).toEqual(expected)
  })

  test.each([
    ['{address: far, topics: [a]}', 'roost.yaml:2:5: bridges[0]: expected name, got none'],
    ['{name: b, topics: [a]}', 'roost.yaml:2:5: bridges[0]: expected addresses, got none'],
    ['{name: b, address: far}', 'roost.yaml:2:5: bridges[0]: expected topics, got none'],
    ['{name: b, address: far, topics: []}', 'bridges[0].topics: expected a list of 1 to 1000 topics like'],
    ['{name: b, address: far, topics: [a in 3]}', 'roost.yaml:2:38: bridges[0].topics[0]: expected a QoS of 0, 1 or 2, got "3"'],
    ['{name: b, address: far, topics: [a inn]}', 'topics[0]: expected one of in, out, both as direction, got "inn"'],
    ['{name: b, address: far, topics: ["a/#/b"]}', 'topics[0]: # is not the last level: "a/#/b"'],
    ['{name: b, address: far, topics: ["a/# out 0 x+/"]}', 'topics[0]: a prefix must not contain + or #, got "x+/"'],
    ['{name: b, address: far, topics: [\'"" out\']}', 'topics[0]: empty topic filter: ""'],
    ['{name: b, address: far, topics: [$share/g/a in]}', 'topics[0]: a bridge cannot have shared subscriptions'],
    ['{name: b, address: far, topics: [{patern: a}]}', 'roost.yaml:2:39: patern: unknown key (did you mean pattern?)'],
    [
      '{name: b, address: far, topics: [a], adress: x}',
      'roost.yaml:2:42: bridges[0].adress: unknown key (did you mean addresses?)',
    ],
    ['{name: b, address: far, topics: [a], address: x}', 'Map keys must be unique'],
    ['{name: b, address: far, topics: [a], topic: x}', 'bridges[0].topic: is the same as topics; leave one of them out'],
    [
      '{name: b, address: far, topics: [a], bridge_psk: x}',
      'bridges[0].bridge_psk: TLS with pre-shared keys is not supported; use certificates',
    ],
    [
      '{name: b, address: far, topics: [a], local_username: x}',
      'bridges[0].local_username: access rules do not apply to bridges',
    ],
    ['{name: b, address: far, topics: [a], password: x}', 'bridges[0].password: needs remote_username too'],
    ['{name: b, address: far, topics: [a], username: u, password: x, password_file: f}', 'password: excludes'],
    ['{name: b, address: far, topics: [a], certfile: x}', 'bridges[0].certfile: needs keyfile too'],
    [
      '{name: b, address: far, topics: [a], restart_timeout: 60 1}',
      'restart_timeout: expected at least 1, and a cap that is not below',
    ],
    [
      '{name: b, address: far, topics: [a], keepalive_interval: 1}',
      'keepalive_interval: expected a whole number from 5 to 65535, got 1',
    ],
    ['{name: b, address: "mqtt://u:p@far", topics: [a]}', 'bridges[0].address: credentials do not belong in a URL'],
    ['{name: b, address: "mqtt://far", cafile: x, topics: [a]}', 'mqtt://far:1883 does not use TLS, but there are keys for TLS'],
    ['{name: b, address: "http://far", topics: [a]}', 'bridges[0].address: '],
    ['{name: a b, address: far, topics: [a]}', 'bridges[0].name: expected a name of letters'],
  ])('%s is refused', (text, expected) => {
    expect(() => bridges(`  - ${text}`)).toThrow(expected)
  })

  test('two bridges with one name', () => {
    const text = '  - {name: b, address: far, topics: [a]}\n'
    expect(() => bridges(text + text)).toThrow('roost.yaml:3:5: bridges[1]: name b is already that of roost.yaml:2:5: bridges[0]')
  })

  test('objects of a program, with keys in either spelling; what comes out goes in again', () => {
    const given = [{ name: 'b', address: 'far', topics: ['a/# out 1', { pattern: 'b', localPrefix: 'x/' }], remoteUsername: 'u' }]
    const once = bridgesOfObjects(given)
    expect(once[0]).toMatchObject({ remoteUsername: 'u', topics: [{ pattern: 'a/#', qos: 1 }, { localPrefix: 'x/' }] })
    expect(bridgesOfObjects(once)).toEqual(once)
    expect(() => bridgesOfObjects([{ ...given[0], remotePasword: 'x' }])).toThrow(
      'bridges[0].remotePasword: unknown key (did you mean',
    )
    expect(() => bridgesOfObjects({})).toThrow('bridges: expected a list, got a map')
  })
})

/** In the style of what is found in public configurations, one for each kind of remote broker. */
const FOUND: Readonly<Record<string, string>> = {
  aws: `
connection to-aws
address EXAMPLE-ats.iot.eu-west-1.amazonaws.com:8883
topic cloud/in in 1
topic local/out out 1
topic shared both 1
bridge_protocol_version mqttv311
bridge_insecure false
cleansession true
clientid bridge-1
start_type automatic
notifications false
log_type all
bridge_cafile DIR/ca.pem
bridge_certfile DIR/cert.pem
bridge_keyfile DIR/key.pem
`,
  azure: `
connection to-azure
bridge_cafile DIR/ca.pem
address hub-1.azure-devices.net:8883
remote_username hub-1.azure-devices.net/device-1/?api-version=2018-06-30
remote_password SharedAccessSignature sr=hub-1.azure-devices.net%2Fdevices%2Fdevice-1&sig=abc%3D&se=1800000000
remote_clientid device-1
topic devices/device-1/messages/events/# out 1
topic devices/device-1/messages/devicebound/# in 1
bridge_protocol_version mqttv311
try_private false
cleansession true
bridge_insecure false
bridge_attempt_unsubscribe false
notifications false
`,
  hivemq: `
connection hivemq-cloud
address 0123456789abcdef.s1.eu.hivemq.cloud:8883
bridge_capath DIR
bridge_tls_version tlsv1.2
remote_username site
remote_password hunter2
topic # out 1 "" site/7/
topic # in 1 site/7/ commands/
start_type automatic
restart_timeout 5 30
keepalive_interval 30
`,
  'thin-edge': `
connection edge_to_cloud
address tenant.example.com:8883
bridge_capath DIR
remote_clientid device-1
local_clientid Cloud
bridge_certfile DIR/cert.pem
bridge_keyfile DIR/key.pem
try_private false
start_type automatic
cleansession false
notifications true
notifications_local_only true
notification_topic te/device/main/service/mosquitto-bridge/status/health
bridge_attempt_unsubscribe false
topic s/dcr in 2 c8y/ ""
topic s/us/# out 2 c8y/ ""
topic $SYS/x/y out 2 c8y/ ""
topic inventory/managedObjects/update/# out 2 c8y/ ""
`,
  'home-assistant': `
connection_messages true
connection energy
address 192.168.1.5:1883
remote_username ha
remote_password secret
clientid ha_bridge
try_private false
cleansession true
notifications false
bridge_protocol_version mqttv311
topic N/portal/# in 0
topic R/portal/keepalive out 0
topic W/portal/# out 0
`,
  'mosquitto.org': `
listener 1883
allow_anonymous true
connection public
address test.mosquitto.org:1883
remote_clientid me
topic bridge/test/# both 2
idle_timeout 30
threshold 3
start_type lazy
addresses other.example:1883 third.example
round_robin true
bridge_outgoing_retain false
bridge_max_packet_size 0
bridge_max_topic_alias 5
bridge_receive_maximum 30
bridge_session_expiry_interval 86400
bridge_bind_address 192.0.2.1
bridge_tcp_keepalive 10 3 1
connection other
address broker.example
topic plant/# out 1
bridge_tls_use_os_certs true
local_username x
local_password y
local_cleansession true
`,
}

describe('connection blocks as found in public configurations', () => {
  let dir = ''
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'roost-bridges-'))
    for (const name of ['ca.pem', 'cert.pem', 'key.pem']) writeFileSync(join(dir, name), '')
  })
  afterAll(() => rmSync(dir, { recursive: true }))

  const load = (name: string) => {
    const text = FOUND[name]!.replaceAll('DIR', dir)
    const { yaml, findings, summary } = importMosquitto(parseConf(text, 'm.conf'), join(dir, 'm.conf'))
    const path = join(dir, `${name}.yaml`)
    writeFileSync(path, yaml)
    const config = loadConfig(new Map([['config', { value: path, origin: '--config' }]]), dir)
    return {
      config,
      findings,
      summary,
      targets: config.bridges.map((bridge) => resolveTargets(bridge, '').map(({ url }) => url)),
    }
  }

  test.each(Object.keys(FOUND))('%s is accepted after the import, and nothing protective is lost', (name) => {
    const { config, summary } = load(name)
    expect(config.bridges.length).toBeGreaterThan(0)
    expect(summary.losesProtection).toBe(false)
  })

  test('all settings of AWS, Azure, HiveMQ and thin-edge.io are taken', () => {
    for (const name of ['aws', 'azure', 'hivemq', 'thin-edge']) expect([name, load(name).findings]).toEqual([name, []])
    expect(load('aws').targets).toEqual([['mqtts://EXAMPLE-ats.iot.eu-west-1.amazonaws.com:8883']])
    expect(load('azure').config.bridges[0]).toMatchObject({
      remoteUsername: 'hub-1.azure-devices.net/device-1/?api-version=2018-06-30',
      remotePassword: 'SharedAccessSignature sr=hub-1.azure-devices.net%2Fdevices%2Fdevice-1&sig=abc%3D&se=1800000000',
      ...{ attemptUnsubscribe: false, cleansession: true, protocolVersion: 'mqttv311', tryPrivate: false, notifications: false },
    })
    expect(load('hivemq').config.bridges[0]).toMatchObject({ restartTimeout: '5 30', keepaliveInterval: 30, capath: dir })
    expect(load('thin-edge').config.bridges[0]).toMatchObject({ localClientid: 'Cloud', notificationsLocalOnly: true })
  })

  test('what has no counterpart is reported, and the rest is taken', () => {
    const { config, findings, targets } = load('mosquitto.org')
    expect(findings).toEqual([
      'm.conf:15: bridge_max_topic_alias 5: no counterpart: topic aliases are used as far as the remote broker allows',
      'm.conf:19: bridge_tcp_keepalive 10 3 1: no counterpart: a dead connection is found with keepalive_interval',
      'm.conf:24: local_username x: access rules do not apply to bridges, so they need no local user',
      'm.conf:25: local_password ***: access rules do not apply to bridges, so they need no local user',
    ])
    expect(targets).toEqual([
      ['mqtt://test.mosquitto.org:1883', 'mqtt://other.example:1883', 'mqtt://third.example:1883'],
      ['mqtts://broker.example:1883'],
    ])
    expect(config.bridges[0]).toMatchObject({ startType: 'lazy', threshold: 3, roundRobin: true, outgoingRetain: false })
    expect(config.bridges[0]).toMatchObject({ receiveMaximum: 30, sessionExpiryInterval: 86_400, bindAddress: '192.0.2.1' })
    expect(config.bridges[1]).toMatchObject({ localCleansession: true })
  })

  test('TLS-PSK: the connection is not taken, and every line of it is reported', () => {
    const text =
      'connection b\naddress far\ntopic # out\nbridge_psk 12\nbridge_identity me\nconnection c\naddress far\ntopic a out\n'
    const { yaml, findings } = importMosquitto(parseConf(text, 'm.conf'), '/m.conf')
    expect(findings).toContain(
      'm.conf:1: connection b: not taken: TLS with pre-shared keys is not supported; use certificates (cafile, certfile, keyfile)',
    )
    expect(findings).toHaveLength(5)
    expect(bridges(yaml.slice(yaml.indexOf('bridges:\n') + 9)).map(({ name }) => name)).toEqual(['c'])
  })

  test('a bridge without its CA, or with an invalid topic', () => {
    const told = (text: string) => importMosquitto(parseConf(text, 'm.conf'), '/m.conf').findings
    expect(told('connection b\naddress far\ntopic a in 4\ntopic b')).toEqual([
      'm.conf:3: topic a in 4: not taken: expected a QoS of 0, 1 or 2, got "4"',
    ])
    expect(told('connection b\naddress far\ntopic b\nbridge_insecure true')).toEqual([])
    expect(told('topic b')).toEqual(['m.conf:1: topic b: not taken: there is no connection above it'])
  })
})

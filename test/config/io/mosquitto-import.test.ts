import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run } from '../../../src/cli/cli.ts'
import { resolveConfig } from '../../../src/config/config.ts'
import { loadConfig, parseConfigFile } from '../../../src/config/io/config-file.ts'
import { parseConf } from '../../../src/config/io/mosquitto-conf.ts'
import { importMosquitto } from '../../../src/config/io/mosquitto-import.ts'
import { noCounterpart } from '../../../src/config/io/mosquitto-options.ts'
import { YamlFile } from '../../../src/config/io/yaml-file.ts'
import { StubHost } from '../../cli/stub-host.ts'

const imported = (text: string) => {
  const { yaml, findings, summary } = importMosquitto(parseConf(text, 'm.conf'), '/etc/m/m.conf')
  const { global, listeners } = parseConfigFile(new YamlFile('roost.yaml', yaml))
  // Whatever comes out, our own loader takes it.
  return { yaml, findings, summary, config: resolveConfig(new Map(), global, listeners) }
}
const findings = (text: string) => imported(text).findings

describe('lines', () => {
  test('comments, blanks, the rest of the line', () => {
    expect(parseConf('# a\n\n  #b\nport 1883\r\n\ttopic  a b #  \nx', 'm')).toEqual([
      { name: 'port', value: '1883', file: 'm', line: 4 },
      { name: 'topic', value: 'a b #', file: 'm', line: 5 },
      { name: 'x', value: '', file: 'm', line: 6 },
    ])
  })
})

describe('the broker', () => {
  test('what has the same name keeps its value', () => {
    const text =
      'max_inflight_messages 0\nsys_interval 0\nqueue_qos0_messages 1\nclientid_prefixes dev "1"\nset_tcp_nodelay false\n'
    const { config, findings: told } = imported(text)
    expect(told).toEqual([])
    expect(config).toMatchObject({ maxInflightMessages: 65_535, queueQos0Messages: true, clientidPrefixes: 'dev "1"' })
    expect(config).toMatchObject({ sysInterval: Number.POSITIVE_INFINITY, setTcpNodelay: false })
  })

  test.each([
    ['', { memory: true }],
    ['persistence false\n', { memory: true }],
    ['persistence true\n', { memory: false, dataDir: 'roost-data' }],
    ['persistence 1\n', { memory: false, dataDir: 'roost-data' }],
    ['persistent_client_expiration 2m\n', { persistentClientExpiration: 2 * 30 * 86_400 }],
    ['persistent_client_expiration 1h\n', { persistentClientExpiration: 3600 }],
    ['log_type error\nlog_type notice\n', { logLevel: 'info' }],
    ['log_type error\nlog_type warning\n', { logLevel: 'warn' }],
    ['log_type all\n', { logLevel: 'debug' }],
    ['log_type all\nlog_dest none\n', { logLevel: 'silent' }],
    ['log_dest stdout\n', { logLevel: 'info' }],
    // Destinations and types add up; none takes away those before it.
    ['log_dest none\nlog_dest stdout\n', { logLevel: 'info' }],
    ['log_dest stdout\nlog_dest none\n', { logLevel: 'silent' }],
    ['log_type none\nlog_type error\n', { logLevel: 'error' }],
    ['log_type error\nlog_type none\n', { logLevel: 'silent' }],
    ['log_type error\nlog_type none\nlog_type warning\n', { logLevel: 'warn' }],
  ])('%j', (text, config) => {
    expect(imported(text)).toMatchObject({ config, findings: [] })
  })

  test('log_dest file is log_file; with standard output as well, that is said', () => {
    expect(imported('log_dest file /var/log/m q.log').config.logFile).toBe('/var/log/m q.log')
    expect(imported('log_dest file /var/log/m.log\nlog_dest none\nlog_dest stdout').config.logFile).toBeUndefined()
    expect(imported('log_dest stdout\nlog_dest file /var/log/m.log').findings).toContain(
      'm.conf:1: log_dest stdout: not taken: with log_file the log goes there alone',
    )
  })

  test('log_dest none before a file is not silence', () => {
    expect(imported('log_dest none\nlog_dest file /var/log/m.log').config.logLevel).toBe('info')
    expect(imported('log_dest file /var/log/m.log\nlog_dest none').config.logLevel).toBe('silent')
  })

  test.each([
    ['user mosquitto', 'm.conf:1: user mosquitto: no counterpart: left to what starts the process, such as systemd'],
    ['frobnicate', 'm.conf:1: frobnicate: unknown: Mosquitto 2.1 has no such option'],
    ['log_dest syslog', 'm.conf:1: log_dest syslog: no counterpart: Roost logs to standard output, or to log_file'],
    ['log_type subscribe', 'm.conf:1: log_type subscribe: no counterpart: see log_level'],
    [
      'persistence_location x',
      'm.conf:1: persistence_location x: no counterpart: the files in data_dir are those of Roost alone',
    ],
    ['acl_file acl', 'm.conf:1: acl_file acl: relative path: taken as /etc/m/acl'],
    ['sys_interval x', 'm.conf:1: sys_interval x: not taken: expected a whole number from 1 to 65535, or 0 for off'],
    ['persistent_client_expiration 1x', 'm.conf:1: persistent_client_expiration 1x: not taken: expected'],
    ['persistence maybe', 'm.conf:1: persistence maybe: not taken: expected true or false'],
    ['socket_domain ipx', 'm.conf:1: socket_domain ipx: not taken: expected ipv4 or ipv6'],
    ['per_listener_settings x', 'm.conf:1: per_listener_settings x: not taken: expected true or false'],
    ['log_dest stderr', 'm.conf:1: log_dest stderr: no counterpart'],
    ['sys_interval', 'm.conf:1: sys_interval: not taken: it has no value'],
    ['sys_interval 1\nsys_interval 2', 'm.conf:2: sys_interval 2: given again: takes the place of 1'],
    ['connection b', 'm.conf:1: connection b: not taken: expected addresses, got none'],
    ['remote_password hush', 'm.conf:1: remote_password ***: not taken: there is no connection above it'],
    ['pid_file 1\u001b[2J', 'm.conf:1: pid_file 1?[2J: no counterpart'],
    ['include_dir x', 'm.conf:1: include_dir x: not taken: only the main file may include others'],
  ])('%j is told, and stands in the file', (text, finding) => {
    const { findings: told, yaml } = imported(text)
    expect(told.some((line) => line.startsWith(finding))).toBe(true)
    for (const line of told) expect(yaml).toContain(`# ${line}`)
    expect(yaml).not.toContain('hush')
  })
})

describe('listeners', () => {
  const of = (text: string) => imported(text).config.listeners

  test('none: the default one, for this machine', () => {
    expect(of('')).toMatchObject([{ host: '127.0.0.1', port: 1883, allowAnonymous: true }])
    expect(of('password_file /p')).toMatchObject([{ host: '127.0.0.1', passwordFile: '/p', allowAnonymous: true }])
    expect(of('password_file /p\nallow_anonymous false')).toMatchObject([{ host: '127.0.0.1', allowAnonymous: false }])
  })

  test('port and bind_address are the default one, wherever they stand', () => {
    expect(of('allow_anonymous true\nport 1884')).toMatchObject([{ host: '::', port: 1884 }])
    expect(of('allow_anonymous true\nlistener 1\nbind_address 10.0.0.1')).toMatchObject([
      { host: '10.0.0.1', port: 1883 },
      { host: '::', port: 1 },
    ])
    expect(of('allow_anonymous true\nmax_connections 5\nlistener 1')).toMatchObject([{ maxConnections: 5 }, { port: 1 }])
  })

  test('the default one is left out where Mosquitto leaves it out', () => {
    const { config, findings: told } = imported('max_topic_alias 5\nallow_anonymous true\nlistener 1 10.0.0.1')
    expect(config.listeners).toMatchObject([{ port: 1, host: '10.0.0.1', maxTopicAlias: 10 }])
    expect(told).toEqual(['m.conf:1: max_topic_alias 5: not taken: Mosquitto does not start the default listener'])
  })

  test('each has what stands below it; the rest is for all', () => {
    const text = [
      ...['listener 8883 0.0.0.0', 'certfile /c', 'keyfile /k', 'cafile /a', 'require_certificate true', 'max_qos 1'],
      ...[
        'use_identity_as_username true',
        'tls_version tlsv1.3',
        'listener 0 /run/m.sock',
        'mount_point x/',
        'max_connections -1',
      ],
      ...['listener 9001', 'protocol websockets', 'allow_anonymous true', 'max_topic_alias 0', 'auto_id_prefix no'],
    ]
    const { config, findings: told } = imported(text.join('\n'))
    expect(told).toEqual([])
    expect(config.maxConnections).toBe(1_000_000)
    expect(config.listeners).toMatchObject([
      { host: '0.0.0.0', port: 8883, certfile: '/c', requireCertificate: 'required', maximumQos: 1, tlsVersion: 'tlsv1.3' },
      { socketPath: '/run/m.sock', mountPoint: 'x/', certfile: undefined, allowAnonymous: true },
      { host: '::', port: 9001, protocol: 'websockets', maxTopicAlias: 0, autoIdPrefix: 'no' },
    ])
  })

  test('per_listener_settings: rules are those of the listener above', () => {
    const text = 'per_listener_settings true\nlistener 1\npassword_file /a\nlistener 2\nallow_anonymous true\nacl_file /b'
    expect(of(text)).toMatchObject([
      { passwordFile: '/a', aclFile: undefined, allowAnonymous: false },
      { passwordFile: undefined, aclFile: '/b', allowAnonymous: true },
    ])
    expect(of(text.replace('true', 'false'))).toMatchObject([
      { passwordFile: '/a', aclFile: '/b', allowAnonymous: true },
      { passwordFile: '/a', aclFile: '/b', allowAnonymous: true },
    ])
  })

  test('of two names from one certificate Mosquitto takes the common name', () => {
    const text = 'listener 1\ncertfile /c\nkeyfile /k\ncapath /a\nrequire_certificate true\nuse_subject_as_username true\n'
    expect(imported(text)).toMatchObject({
      findings: [],
      config: { listeners: [{ host: '::', capath: '/a', allowAnonymous: false }] },
    })
    const { config, findings: told } = imported(`${text}use_identity_as_username true`)
    expect(config.listeners).toMatchObject([{ useIdentityAsUsername: true, useSubjectAsUsername: false }])
    expect(told).toEqual(['m.conf:6: use_subject_as_username true: not taken: use_identity_as_username counts'])
  })

  test('a user name from the certificate needs no require_certificate', () => {
    const text = 'listener 1\ncertfile /c\nkeyfile /k\ncafile /a\nuse_identity_as_username true\n'
    expect(imported(text)).toMatchObject({
      findings: [],
      config: { listeners: [{ host: '::', useIdentityAsUsername: true, allowAnonymous: false }] },
    })
  })

  test('lists of ciphers keep both versions of TLS', () => {
    const tls = 'allow_anonymous true\nlistener 1\ncertfile /c\nkeyfile /k\n'
    const suites = 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256'
    expect(of(`${tls}ciphers A:B`)[0]?.ciphers).toBe(`${suites}:A:B`)
    expect(of(`${tls}ciphers_tls1.3 TLS_X`)[0]?.ciphers).toBe('TLS_X:DEFAULT')
    expect(of(`${tls}ciphers A\nciphers_tls1.3 TLS_X`)[0]?.ciphers).toBe('TLS_X:A')
    expect(of(`${tls}ciphers_tls1.3 TLS_X\nciphers A`)[0]?.ciphers).toBe('TLS_X:A')
  })

  test.each([
    ['listener 1', 'no client could connect to Mosquitto here'],
    ['listener 1\nallow_anonymous false\nacl_file /a', 'no client could connect to Mosquitto here'],
    ['port 1', 'no client could connect to Mosquitto here'],
    ['listener 1\nallow_anonymous true\nfrobnicate', 'an option that protects it has no counterpart'],
    ['frobnicate 1\nallow_anonymous true\nlistener 1', 'an option that protects it has no counterpart'],
    ['listener 1\nallow_anonymous true\nprotocol http_api', 'an option that protects it has no counterpart'],
    ['allow_anonymous true\nlistener 1\nacl_file\nmount_point', 'an option that protects it has no counterpart'],
    ['listener 1\nallow_anonymous true\nproxy_protocol_v2_require_tls true', 'an option that protects it has no counterpart'],
    ['plugin /p.so\nlistener 1', 'an option that protects it has no counterpart; no client can connect'],
    ['listener 1\nallow_anonymous true\npsk_hint x', 'an option that protects it has no counterpart'],
    ['listener 1\npassword_file /p\nuse_username_as_clientid true', 'an option that protects it has no counterpart'],
    ['listener 1\npassword_file /p\nmount_point +', 'an option that protects it has no counterpart'],
    ['listener 1\npassword_file /p\nbind_interface eth0', 'an option that protects it has no counterpart'],
    ['plugin /p.so\nlistener 1\npassword_file /p', 'an option that protects it has no counterpart'],
    [
      'listener 1\npassword_file /p\ncertfile /c\nkeyfile /k\nrequire_certificate true\nuse_identity_as_username true',
      'an option that protects it has no counterpart',
    ],
  ])('%j is put on loopback', (text, why) => {
    const { config, findings: told } = imported(text)
    expect(config.listeners).toMatchObject([{ host: '127.0.0.1' }])
    expect(told).toContainEqual(expect.stringMatching(new RegExp(`1: put on 127.0.0.1 instead of ::: ${why}`)))
  })

  test('where no client could connect to Mosquitto, none can connect here', () => {
    const why = 'no client can connect: no client could connect to Mosquitto here'
    for (const text of [
      'listener 1 127.0.0.1',
      'listener 0 /x',
      'listener 1883 127.0.0.1\nallow_anonymous false\nauth_plugin x.so',
      'allow_anonymous true\nlistener 1\ncertfile /c\nkeyfile /k\nuse_identity_as_username true',
      'per_listener_settings true\nallow_anonymous true\nlistener 1\nallow_anonymous false',
    ])
      expect([text, of(text).map(({ allowAnonymous }) => allowAnonymous)]).toEqual([text, [false]])
    expect(findings('listener 1 127.0.0.1')).toEqual([`m.conf:1: listener 1: ${why}`])
    expect(findings('listener 0 /x')).toEqual([`m.conf:1: listener /x: ${why}`])
    expect(findings('allow_anonymous true\nlistener 0 /x')).toEqual([])
  })
})

test('options of Mosquitto 2.1 that are for one listener', () => {
  const { config, summary } = imported(
    'allow_anonymous true\nlistener 1\nlistener_allow_anonymous false\nlistener 2\nlistener_auto_id_prefix x-\nenable_proxy_protocol 2',
  )
  expect(config.listeners).toMatchObject([
    { allowAnonymous: false, host: '127.0.0.1' },
    { allowAnonymous: true, host: '::', autoIdPrefix: 'x-', proxyProtocol: true },
  ])
  expect(summary).toMatchObject({ carriedOver: 6, lost: [], losesProtection: false })
})

describe('options that Mosquitto 2.1 brought', () => {
  test('limits of the whole broker, above those of listeners', () => {
    const { config, summary } = imported(
      'global_max_clients 50\nglobal_max_connections 40\nallow_anonymous true\nlistener 1\nlistener 2',
    )
    expect(config).toMatchObject({ maxSessions: 50, maxConnections: 40 })
    expect(summary).toMatchObject({ carriedOver: 5, attention: 0, lost: [] })
  })

  test('the plugins for password files and access lists are the options of these names', () => {
    const text = (global: string) =>
      [
        'per_listener_settings true\nlistener 1\nallow_anonymous false',
        `${global}plugin /usr/lib/mosquitto_password_file.so\nplugin_opt_password_file /etc/p`,
        'plugin_load acl /usr/lib/mosquitto_acl_file.so\nplugin_opt_acl_file /etc/a\nlistener 2\nallow_anonymous true',
      ].join('\n')
    const { config, summary } = imported(text(''))
    expect(config.listeners).toMatchObject([
      { passwordFile: '/etc/p', aclFile: '/etc/a', host: '::' },
      { passwordFile: undefined },
    ])
    expect(summary).toMatchObject({ lost: [], losesProtection: false, verifiesUsers: true })
    expect(imported(text('global_')).config.passwordFile).toBe('/etc/p')
    expect(imported('listener 1\nplugin /x/other.so\nplugin_opt_password_file /p').summary.losesProtection).toBe(true)
  })

  test('persist_sqlite is no plugin that protects, and means that state is kept', () => {
    const {
      config,
      findings: told,
      summary,
    } = imported('plugin /usr/lib/mosquitto_persist_sqlite.so\nallow_anonymous true\nlistener 1')
    expect(config).toMatchObject({ memory: false, listeners: [{ host: '::' }] })
    expect(told).toEqual([expect.stringMatching(/^m\.conf:1: plugin .*: Roost keeps its state without a plugin/)])
    expect(summary).toMatchObject({ losesProtection: false, verifiesUsers: false })
  })

  test('a listener for its HTTP API is none here', () => {
    const { config, findings: told } = imported('allow_anonymous true\nlistener 1\nlistener 8080\nprotocol http_api\nhttp_dir /x')
    expect(config.listeners).toMatchObject([{ port: 1 }])
    expect(told[0]).toBe('m.conf:4: protocol http_api: not taken, nor its listener: see http and the other http_ options')
  })

  test.each([
    ['accept_protocol_versions 5', false],
    ['packet_buffer_size 4096', false],
    ['retain_expiry_interval 60', false],
    ['proxy_protocol_v2_require_tls true', true],
    ['plugin_use one', true],
  ])('%s has no counterpart', (line, protects) => {
    const { findings: told, summary } = imported(`allow_anonymous true\nlistener 1\n${line}`)
    expect(told[0]).toMatch(new RegExp(`^m\\.conf:3: ${line}: no counterpart: `))
    expect(summary.losesProtection).toBe(protects)
  })
})

/** All options that mosquitto.conf(5) of 2.1.2 describes or Mosquitto 2.1.2 reads. */
const MAN_PAGE =
  'accept_protocol_versions acl_file address addresses allow_anonymous allow_duplicate_messages ' +
  'allow_zero_length_clientid auth_plugin auth_plugin_deny_special_chars auto_id_prefix autosave_interval ' +
  'autosave_on_changes bind_address bind_interface bridge_alpn bridge_attempt_unsubscribe bridge_bind_address ' +
  'bridge_cafile bridge_capath bridge_certfile bridge_ciphers bridge_ciphers_tls1.3 bridge_identity bridge_insecure ' +
  'bridge_keyfile bridge_max_packet_size bridge_max_topic_alias bridge_outgoing_retain bridge_protocol_version ' +
  'bridge_psk bridge_receive_maximum bridge_reload_type bridge_require_ocsp bridge_session_expiry_interval ' +
  'bridge_tcp_keepalive bridge_tcp_user_timeout bridge_tls_use_os_certs bridge_tls_version cafile capath certfile ' +
  'check_retain_source ciphers ciphers_tls1.3 cleansession clientid clientid_prefixes connection connection_messages ' +
  'crlfile dhparamfile disable_client_cert_date_checks enable_control_api enable_proxy_protocol global_max_clients ' +
  'global_max_connections global_plugin http_dir idle_timeout include_dir keepalive_interval keyfile listener ' +
  'listener_allow_anonymous listener_auto_id_prefix local_cleansession local_clientid local_password local_username ' +
  'log_dest log_facility log_timestamp log_timestamp_format log_type max_connections max_inflight_bytes ' +
  'max_inflight_messages max_keepalive max_packet_size max_qos max_queued_bytes max_queued_messages max_topic_alias ' +
  'max_topic_alias_broker maximum_qos memory_limit message_size_limit mount_point notification_topic notifications ' +
  'notifications_local_only packet_buffer_size password password_file per_listener_settings persistence ' +
  'persistence_file persistence_location persistent_client_expiration pid_file plugin plugin_load plugin_use port ' +
  'protocol proxy_protocol_v2_require_tls psk_file psk_hint queue_qos0_messages remote_clientid remote_password ' +
  'remote_username require_certificate restart_timeout retain_available retain_expiry_interval retained_persistence ' +
  'retry_interval round_robin set_tcp_nodelay socket_domain start_type sys_interval threshold tls_engine ' +
  'tls_engine_kpass_sha1 tls_keyform tls_version topic try_private upgrade_outgoing_qos use_identity_as_username ' +
  'use_subject_as_username use_username_as_clientid user username websockets_headers_size websockets_log_level ' +
  'websockets_origin'

test.each(MAN_PAGE.split(' '))('%s of the manual of Mosquitto 2.1 is known', (name) => {
  expect(noCounterpart(name) ?? '').not.toMatch(/^unknown/)
})

test('websockets_origin, of which each line names one more', () => {
  const text =
    'listener 9001\nprotocol websockets\nallow_anonymous true\nwebsockets_origin example.org\nwebsockets_origin https://b.example'
  const { config, summary } = imported(text)
  const allowed = [{ host: 'example.org' }, { scheme: 'https:', host: 'b.example' }]
  expect(config.listeners).toMatchObject([{ websocketsOrigin: allowed }])
  expect(summary).toMatchObject({ lost: [], losesProtection: false })
  expect(imported(text.replace('example.org', 'no/origin')).summary).toMatchObject({ losesProtection: true })
})

test('an unknown option below a listener closes that one alone', () => {
  const { config, summary } = imported('allow_anonymous true\nlistener 1\nfrobnicate\nlistener 2\nbridge_frobnicate')
  expect(config.listeners).toMatchObject([{ host: '127.0.0.1' }, { host: '::' }])
  expect(summary).toEqual({
    ...{ carriedOver: 3, attention: 1, lost: ['frobnicate', 'bridge_frobnicate'], losesProtection: true, state: undefined },
    verifiesUsers: false,
  })
})

test('the saved state of Mosquitto stays behind', () => {
  expect(imported('persistence true').summary.state).toBe('/etc/m/mosquitto.db')
  expect(imported('persistence true\npersistence_location /var/lib/m/\npersistence_file x.db').summary.state).toBe(
    '/var/lib/m/x.db',
  )
  expect(imported('persistence false\npersistence_location /var/lib/m/').summary.state).toBeUndefined()
})

describe('files', () => {
  let dir = ''
  const put = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text)
    return join(dir, name)
  }
  const ran = async (...argv: string[]) => {
    const host = new StubHost()
    return { code: await run(['config', ...argv], host), out: host.out, err: host.err }
  }
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'roost-import-'))
    mkdirSync(join(dir, 'conf.d'))
  })
  afterAll(() => rmSync(dir, { recursive: true }))

  test('include_dir is followed in its order, and each file starts at the default listener', async () => {
    const main = put('main.conf', 'listener 1\ninclude_dir conf.d\nmount_point m/\n')
    put('conf.d/b.conf', 'allow_anonymous true\nsys_interval 2\n')
    put('conf.d/A.conf', 'max_connections 7\nsys_interval 3\n')
    put('conf.d/c.txt', 'sys_interval 4\n')
    const { code, err } = await ran('import', main, '-o', join(dir, 'roost.yaml'))
    expect({ code, err }).toEqual({
      code: 0,
      err: `${dir}/conf.d/b.conf:2: sys_interval 2: given again: takes the place of 3
Carried over: 5 settings.
Needs attention: 1 finding above.
Lost: no setting.
`,
    })
    const { sysInterval, listeners } = loadConfig(new Map([['config', { value: 'roost.yaml', origin: '--config' }]]), dir)
    expect(sysInterval).toBe(2)
    expect(listeners).toMatchObject([
      { port: 1883, maxConnections: 7, mountPoint: undefined },
      { port: 1, mountPoint: 'm/' },
    ])
  })

  test.each([
    [['import', 'gone.conf'], '/srv/gone.conf: cannot read /srv/gone.conf: no such file or directory'],
    [['import'], "missing required argument 'mosquitto.conf'"],
    [['imprt'], 'imprt: unknown command (did you mean import?); see roost config --help'],
    [['import', 'x', '--out', 'y'], '--out: unknown option (did you mean --output?); see roost config import --help'],
  ])('%j', async (argv, error) => {
    expect(await ran(...argv)).toEqual({ code: 2, out: '', err: `${error}\n` })
  })

  test('what cannot be included or written', async () => {
    const main = put('lost.conf', '\ninclude_dir gone\n')
    const error = `${main}:2: include_dir: cannot read ${dir}/gone: no such file or directory\n`
    expect(await ran('import', main)).toEqual({ code: 2, out: '', err: error })
    const fine = put('fine.conf', '')
    const cannot = `--output: cannot write ${dir}: illegal operation on a directory\n`
    expect(await ran('import', fine, '--output', dir, '--force')).toEqual({ code: 2, out: '', err: cannot })
  })

  test('an output that exists is overwritten with --force alone', async () => {
    const main = put('again.conf', 'sys_interval 5\n')
    const output = put('kept.yaml', 'port: 1\n')
    const error = `--output: ${output} exists already; --force overwrites it\n`
    expect(await ran('import', main, '-o', output)).toEqual({ code: 2, out: '', err: error })
    expect(readFileSync(output, 'utf8')).toBe('port: 1\n')
    expect(await ran('import', main, '-o', output, '--force')).toMatchObject({ code: 0 })
    expect(readFileSync(output, 'utf8')).toContain('sys_interval: 5')
  })

  test('options that protect a listener and are lost: exit code 3, or 0 with --accept-losses', async () => {
    const main = put('lossy.conf', 'listener 1\nallow_anonymous true\npsk_hint x\nuser mosquitto\npersistence true\n')
    const { code, out, err } = await ran('import', main)
    expect(code).toBe(3)
    expect(out).toContain('host: "127.0.0.1"')
    expect(err.split('\n').slice(-7)).toEqual([
      'Carried over: 3 settings.',
      'Needs attention: 1 finding above.',
      'Lost: psk_hint, user.',
      `Not imported: sessions, queued and retained messages in ${dir}/mosquitto.db. To bring them over, stop Mosquitto, and then:`,
      `roost import ${dir}/mosquitto.db`,
      'Some of the lost options protect a listener, or may: such listeners are on 127.0.0.1 (--accept-losses exits with 0).',
      '',
    ])
    expect(await ran('import', main, '--accept-losses')).toEqual({ code: 0, out, err })
    const harmless = put('harmless.conf', 'user mosquitto\n')
    expect(await ran('import', harmless)).toMatchObject({ code: 0 })
  })

  test('a file that Mosquitto would not take either is told as such', async () => {
    const main = put('bad.conf', 'allow_anonymous true\nlistener nowhere\n')
    const { code, err } = await ran('import', main)
    expect(code).toBe(2)
    expect(err).toContain('listener nowhere: not taken: expected a whole number from 0 to 65535')
  })
})

const EXAMPLE = '/usr/share/doc/mosquitto/examples/mosquitto.conf'
test.skipIf(!existsSync(EXAMPLE))('every option of the example that comes with Mosquitto is known', () => {
  const text = readFileSync(EXAMPLE, 'utf8')
  const names = [...text.matchAll(/^#([a-z][a-z0-9_.]+)(?: \S+)?$/gm)].map(([, name]) => name!)
  expect(names.length).toBeGreaterThan(80)
  expect(names.filter((name) => noCounterpart(name)?.startsWith('unknown'))).toEqual([])
  expect(findings(text)).toEqual([])
})

test.skipIf(!existsSync(EXAMPLE))('the example with everything that it has a value for is taken or told, line by line', () => {
  const settings = [...readFileSync(EXAMPLE, 'utf8').matchAll(/^#([a-z][a-z0-9_.]+ [^ \n]+)$/gm)].map(([, line]) => line!)
  const { yaml, findings: told } = imported(`per_listener_settings true\nlistener 1\n${settings.join('\n')}`)
  expect(settings.length).toBeGreaterThan(30)
  settings.forEach((setting, index) => {
    const key = setting.split(' ')[0]!.replace('max_qos', 'maximum_qos')
    const kept = new RegExp(`^[ -]*(${KEY_OF[key] ?? key}):`, 'm').test(yaml)
    expect(kept || told.some((line) => line.includes(`:${index + 3}: `)) ? '' : setting).toBe('')
  })
})

/** Under which of our keys a value is found. */
const KEY_OF: Record<string, string> = { persistence: 'memory', log_type: 'log_level' }

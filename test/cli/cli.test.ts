import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run } from '../../src/cli/cli.ts'
import { DEFAULT_CONFIG } from '../../src/config/config.ts'
import { fixedKeys } from '../../src/config/fixed.ts'
import { OPTION_GROUPS } from '../../src/config/options/kinds.ts'
import { FIRST_OPTIONS, flagOf, options } from '../../src/config/options.ts'
import { StubHost } from './stub-host.ts'

const ran = async (...argv: string[]) => {
  const host = new StubHost()
  return { host, code: await run(argv, host) }
}

test('roost alone shows the help', async () => {
  const { host, code } = await ran()
  expect(code).toBe(0)
  expect(host.out).toMatch(/^Usage: roost /)
  expect(host.out).toContain('serve')
  expect(await ran('--help')).toMatchObject({ code: 0, host: { out: host.out, err: '' } })
})

test('--version', async () => {
  expect(await ran('--version')).toMatchObject({ code: 0, host: { out: '1.2.3\n', err: '' } })
})

test('serve --help has the ten options that everyone needs first, and says what else there is', async () => {
  const { host, code } = await ran('serve', '--help')
  expect({ code, err: host.err }).toEqual({ code: 0, err: '' })
  expect(FIRST_OPTIONS).toHaveLength(10)
  const shown = Array.from(host.out.matchAll(/^ {2}(--[\w-]+)/gm), ([, flag]) => flag)
  expect(shown).toEqual(['--help-all', ...FIRST_OPTIONS.map(flagOf)])
  for (const group of Object.keys(OPTION_GROUPS)) expect(host.out).toMatch(new RegExp(`\n {2}${group} +[A-Z]`))
  expect(host.out.split('\n').length).toBeLessThan(60)
  expect(host.out).toContain('--help-all')
})

test('serve --help-all has every flag under its heading', async () => {
  const { host, code } = await ran('serve', '--help-all')
  expect(code).toBe(0)
  const headings = Object.keys(OPTION_GROUPS).map((group) => host.out.indexOf(`\n${group}:\n`))
  expect(headings).toEqual(headings.toSorted((a, b) => a - b))
  expect(headings).not.toContain(-1)
  for (const { flag } of options) expect(host.out).toMatch(new RegExp(`\n {2}${flag} `))
  for (const key of fixedKeys) expect(host.out).not.toContain(flagOf(key))
  // The option before it does not matter, as with --help.
  expect(await ran('serve', '--port', '1', '--help-all')).toMatchObject({ code: 0, host: { out: host.out, err: '' } })
})

test('config example prints a file that a site can start with', async () => {
  const { host, code } = await ran('config', 'example')
  expect({ code, err: host.err }).toEqual({ code: 0, err: '' })
  const dir = mkdtempSync(join(tmpdir(), 'roost-cli-'))
  try {
    for (const name of ['passwords', 'http-passwords', 'acl', 'sensors.yaml', 'topics.yaml', 'tls/chain.pem', 'tls/key.pem']) {
      mkdirSync(join(dir, name, '..'), { recursive: true })
      writeFileSync(join(dir, name), '')
    }
    writeFileSync(join(dir, 'roost.yaml'), host.out)
    expect(await ran('serve', '--config', join(dir, 'roost.yaml'))).toMatchObject({
      code: 0,
      host: { err: '', config: { host: '0.0.0.0', passwordFile: join(dir, 'passwords'), dataDir: '/var/lib/roost' } },
    })
    // What is in comments is right too.
    writeFileSync(join(dir, 'roost.yaml'), host.out.replaceAll(/^#(?=\w+: )/gm, ''))
    expect(await ran('serve', '--config', join(dir, 'roost.yaml'))).toMatchObject({ code: 0, host: { err: '' } })
  } finally {
    rmSync(dir, { recursive: true })
  }
  expect(host.out.split('\n').filter((line) => line.length > 80)).toEqual([])
  for (const key of FIRST_OPTIONS) if (key !== 'config') expect(host.out).toMatch(new RegExp(`^#?${key}: `, 'm'))
})

describe('without --data-dir', () => {
  const dir = mkdtempSync(join(tmpdir(), 'roost-cli-'))
  const [system, cwd] = [join(dir, 'system'), join(dir, 'cwd')]
  beforeAll(() => mkdirSync(join(cwd, 'roost-data'), { recursive: true }))
  afterAll(() => rmSync(dir, { recursive: true }))
  const installed = async (...argv: string[]) => {
    const host = Object.assign(new StubHost(), { dataDir: system, cwd })
    return { host, code: await run(argv, host) }
  }

  test('every command takes the directory of the system', async () => {
    const helped = async (command: string) => (await installed(command, '--help')).host.out.replaceAll(/\s+/g, ' ')
    for (const command of ['serve', 'restore', 'import']) expect(await helped(command)).toContain(`(default: "${system}")`)
    const { host } = await installed('serve')
    expect([host.config?.dataDir, host.err]).toEqual([system, ''])
    mkdirSync(system)
    const commands = [
      ['sessions', 'list'],
      ['sessions', 'rm', 'x'],
      ['backup', join(dir, 'new')],
      ['store', 'info'],
      ['store', 'check'],
      ['store', 'dump'],
    ]
    for (const argv of commands) expect((await installed(...argv)).host.err).toBe(`${system}: there is no store in it\n`)
  })

  test('a flag and the file come first, and a store in the working directory is told of', async () => {
    writeFileSync(join(cwd, 'roost-data', 'roost.db'), '')
    writeFileSync(join(cwd, 'roost.yaml'), 'data_dir: theirs\n')
    const before = join(cwd, 'roost-data')
    expect((await installed('serve', '--data-dir', 'mine')).host).toMatchObject({
      config: { dataDir: join(cwd, 'mine') },
      err: '',
    })
    expect((await installed('serve', '--config', 'roost.yaml')).host).toMatchObject({
      config: { dataDir: join(cwd, 'theirs') },
      err: '',
    })
    const line = `warning: the store in ${before} is not used, but that in ${system}: to use it, start with --data-dir roost-data\n`
    expect((await installed('serve')).host.err).toBe(line)
    expect((await installed('serve', '--memory')).host.err).toBe('')
  })
})

describe('an option that is gone', () => {
  test('with the value that it is fixed at: a warning', async () => {
    const { host, code } = await ran('serve', '--t-wait', '300', '--sn-max-queued-frames=1000')
    expect({ code, err: host.err.split('\n').toSorted() }).toEqual({
      code: 0,
      err: [
        '',
        'warning: --sn-max-queued-frames: no longer an option, fixed at 1000; it can be removed',
        'warning: --t-wait: no longer an option, fixed at 300; it can be removed',
      ],
    })
    expect(host.config).toEqual({ ...DEFAULT_CONFIG, dataDir: '/srv/roost-data' })
  })

  test.each<[string[], string]>([
    [['--t-wait', '60'], '--t-wait: no longer an option, fixed at 300; remove it'],
    [['--retry-jitter', 'x'], '--retry-jitter: no longer an option, fixed at 0.25; remove it'],
    [['--t-wai', '60'], '--t-wai: unknown option; see roost serve --help'],
  ])('%j: one line and exit code 2', async (argv, line) => {
    expect(await ran('serve', ...argv)).toMatchObject({ code: 2, host: { err: `${line}\n`, config: undefined } })
  })

  test('in a file', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'roost-cli-'))
    const path = join(dir, 'roost.yaml')
    try {
      writeFileSync(path, 'port: 1\nt_wait: 300\n')
      expect(await ran('serve', '--config', path)).toMatchObject({
        code: 0,
        host: {
          err: `warning: ${path}:2:1: t_wait: no longer an option, fixed at 300; it can be removed\n`,
          config: { port: 1 },
        },
      })
      writeFileSync(path, 'port: 1\nt_wait: 60\n')
      const err = `${path}:2:1: t_wait: no longer an option, fixed at 300; remove it\n`
      expect(await ran('serve', '--config', path)).toMatchObject({ code: 2, host: { err, config: undefined } })
    } finally {
      rmSync(dir, { recursive: true })
    }
  })
})

test.each([
  ['--http-auth-url', 'http://roost:s3cret@', 'http://***@'],
  ['--http-auth-url', 'ftp://roost:s3cret@host/', 'ftp://***@host/'],
  ['--http-auth-url', 'http://roost:s3/cr@et@host:x/', 'http://***@host:x/'],
  ['--jwt-jwks', 'https://roost:s3cret@ho st/', 'https://***@ho st/'],
  ['--jwt-jwks', 'HTTPS:roost:s3cret@h^st/', 'HTTPS:***@h^st/'],
])('%s %s: the error does not tell the password', async (flag, url, told) => {
  const { host, code } = await ran('serve', '--test-config', flag, url)
  expect({ code, err: host.err }).toEqual({ code: 2, err: expect.stringMatching(new RegExp(`^${flag}: expected [^\n]*\n$`)) })
  expect(host.err).toContain(`got "${told}"`)
  const folder = mkdtempSync(join(tmpdir(), 'roost-'))
  const path = join(folder, 'roost.yaml')
  writeFileSync(path, `${flag.slice(2).replaceAll('-', '_')}: "${url}"\n`)
  const fromFile = await ran('serve', '--test-config', '--config', path)
  rmSync(folder, { recursive: true })
  expect(fromFile.host.err).toContain(`got "${told}"`)
  expect((await ran('serve', url)).host.err).not.toMatch(/s3|cret/)
})

test('a scheme in capitals is that of a URL, not the name of a file', async () => {
  expect(await ran('serve', '--test-config', '--jwt-jwks', 'HTTPS://roost:s3cret@host/')).toMatchObject({ code: 0 })
})

test('--test-config checks everything, and starts nothing', async () => {
  const { host, code } = await ran('serve', '--test-config', '--memory', '--port', '2883', '--http', 'false')
  expect({ code, out: host.out, err: host.err, config: host.config }).toEqual({
    code: 0,
    out: 'The configuration is valid.\n',
    err: expect.stringMatching(/^warning: mqtt-2883: every user of this machine may connect without a password [^\n]*\n$/),
    config: undefined,
  })
  const err = '--acl-file: cannot read gone: no such file or directory\n'
  expect(await ran('serve', '--acl-file', 'gone', '--test-config')).toMatchObject({ code: 2, host: { out: '', err } })
})

test('--test-config reads the files as a start would: access list, passwords, certificates', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'roost-'))
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content, { mode: 0o644 })
    return join(folder, name)
  }
  try {
    const acl = file('acl', 'user a\nread x\n')
    const pem = file('pem', 'nothing')
    const passwords = file('passwords', `alice:$7$1$${'A'.repeat(16)}$${'A'.repeat(86)}==\n`)
    expect((await ran('serve', '--test-config', '--acl-file', acl)).host.err).toMatch(`${acl}:2: `)
    const tls = await ran('serve', '--test-config', '--memory', '--certfile', pem, '--keyfile', pem)
    expect(tls).toMatchObject({ code: 2, host: { out: '', err: expect.stringMatching(`certfile ${pem}: `) } })
    const lax = await ran('serve', '--test-config', '--memory', '--password-file', passwords, '--http', 'false')
    expect(lax).toMatchObject({ code: 0, host: { err: expect.stringMatching(/^warning: password_file .*: chmod 600\n$/) } })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('--test-config looks whether the store and the sockets have a place, and makes nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'roost-'))
  const at = (name: string): string => join(folder, name)
  const checked = (...flags: string[]) => ran('serve', '--test-config', ...flags)
  writeFileSync(at('file'), '')
  try {
    expect(await checked('--data-dir', at('made/when/it/starts'))).toMatchObject({ code: 0 })
    expect(await checked('--data-dir', at('file/below'))).toMatchObject({
      code: 2,
      host: { err: `--data-dir: ${at('file')} is not a directory\n` },
    })
    expect(await checked('--memory', '--socket-path', at('gone/roost.sock'))).toMatchObject({
      code: 2,
      host: { err: `--socket-path: cannot write to ${at('gone')}: no such file or directory\n` },
    })
    expect(await checked('--memory', '--socket-path', at('roost.sock'))).toMatchObject({ code: 0 })
    expect(readdirSync(folder)).toEqual(['file'])
    writeFileSync(at('data.mdb'), '')
    expect(await checked('--data-dir', folder)).toMatchObject({
      code: 2,
      host: { err: `--data-dir: ${at('data.mdb')} is a store of an older version\n` },
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('serve without flags runs with the defaults', async () => {
  const { host, code } = await ran('serve')
  expect(code).toBe(0)
  expect(host.config).toEqual({ ...DEFAULT_CONFIG, dataDir: '/srv/roost-data' })
})

/** A value for each placeholder that does not list its values. */
const SAMPLES: Record<string, string> = {
  address: '127.0.0.9',
  dir: '/x',
  level: 'warn',
  path: '/x/y',
  mode: '0600',
  prefix: 'a/',
  topic: 'roost/sensors/%c',
  list: 'AES256',
  ids: 'ids',
  url: 'https://x.example/auth',
  group: '225.1.1.9',
  interface: 'eth0',
  networks: '::1',
  origins: '*',
  'topic-prefix': 'homeassistant',
  users: 'alice',
  names: 'roost.example.org',
  'file|url': 'https://x.example/keys',
  'from-to': '2000-3000',
}

/** Flags that make no sense alone, and what they need. */
const FILE = fileURLToPath(import.meta.url)
const TLS = ['--certfile', FILE, '--keyfile', FILE]
const NEEDS: Record<string, string[]> = {
  '--socket-mode': ['--socket-path', '/x'],
  '--websockets-path': ['--protocol', 'websockets'],
  '--certfile': ['--keyfile', FILE],
  '--keyfile': ['--certfile', FILE],
  '--cafile': TLS,
  '--crlfile': [...TLS, '--cafile', FILE],
  '--capath': TLS,
  '--tls-version': TLS,
  '--ciphers': TLS,
  '--use-identity-as-username': [...TLS, '--cafile', FILE, '--require-certificate', 'required'],
  '--use-subject-as-username': [...TLS, '--cafile', FILE, '--require-certificate', 'required'],
  '--jwt-issuer': ['--jwt-secret-file', FILE],
  '--jwt-audience': ['--jwt-secret-file', FILE],
  '--jwt-username-claim': ['--jwt-secret-file', FILE],
  '--sn-baud-rate': ['--sn-device', '/x'],
  '--sn-framing': ['--sn-device', '/x'],
  '--sn-duty-cycle': ['--sn-bytes-per-second', '100'],
  '--http-certfile': ['--http-keyfile', FILE],
  '--http-keyfile': ['--http-certfile', FILE],
  '--http-managers': ['--http-password-file', FILE],
  '--http-auth-timeout-seconds': ['--http-auth-url', 'http://localhost'],
}
const served = (flag: string, ...values: string[]) => ran('serve', flag, ...values, ...(NEEDS[flag] ?? []))

describe('every flag reaches the configuration', () => {
  const files = options.filter(({ placeholder }) => placeholder === 'file')
  const switches = options.filter(({ placeholder, flagOnly }) => placeholder === undefined && flagOnly !== true)
  const numbers = options.filter(({ placeholder }) => placeholder === 'number')
  // The log is opened before anything else: see serve.test.ts.
  const others = (option: (typeof options)[number]): boolean =>
    ![...files, ...numbers].includes(option) && option.key !== 'log_file'
  // --upstream is part of a key of its own: see the next test.
  const words = options.filter((option) => option.placeholder !== undefined && option.repeated !== true && others(option))

  test.each(switches)('$flag', async ({ flag, name }) => {
    expect(await served(flag)).toMatchObject({ code: 0, host: { err: '', config: { [name]: true } } })
  })
  test.each(numbers)('$flag', async ({ flag, name, expected }) => {
    const largest = /to ([\d.]+)/.exec(expected)?.[1] ?? ''
    expect(await served(flag, largest)).toMatchObject({ code: 0, host: { err: '', config: { [name]: Number(largest) } } })
  })
  test.each(words)('$flag', async ({ flag, name, placeholder }) => {
    const text = SAMPLES[placeholder ?? ''] ?? placeholder?.split('|')[0] ?? ''
    const value =
      {
        true: true,
        '0600': 0o600,
        '::1': [{ prefixLength: 128 }],
        '*': [{ host: '*' }],
        alice: ['alice'],
        ids: ['ids'],
        'roost.example.org': ['roost.example.org'],
        '2000-3000': { from: 2000, to: 3000 },
      }[text] ?? text
    expect(await served(flag, text)).toMatchObject({ code: 0, host: { err: '', config: { [name]: value } } })
  })
  test('--upstream, twice', async () => {
    const config = { upstream: { targets: ['mqtt://a.example', 'mqtt://b.example:2883'] } }
    expect(await served('--upstream', 'mqtt://a.example', '--upstream', 'mqtt://b.example:2883')).toMatchObject({
      code: 0,
      host: { err: '', config },
    })
  })
  test.each(files)('$flag', async ({ flag }) => {
    const err = `${flag}: cannot read gone: no such file or directory\n`
    expect(await served(flag, 'gone')).toMatchObject({ code: 2, host: { err } })
  })
})

test.each<[string[], string]>([
  [['srve'], 'srve: unknown command (did you mean serve?); see roost --help'],
  [['frobnicate'], 'frobnicate: unknown command; see roost --help'],
  [['--prot'], '--prot: unknown option; see roost --help'],
  [['serve', '--prot', '1'], '--prot: unknown option (did you mean --port?); see roost serve --help'],
  [
    ['serve', '--max_queued_messages=1'],
    '--max_queued_messages: unknown option (did you mean --max-queued-messages?); see roost serve --help',
  ],
  [['serve', '-p', '1'], '-p: unknown option; see roost serve --help'],
  [['serve', 'now'], 'now: expected no argument; see roost serve --help'],
  [['serve', '--port'], '--port: expected a value, got nothing'],
  [['serve', '--port='], '--port: expected a whole number from 0 to 65535, got ""'],
  [['serve', '--port', 'abc'], '--port: expected a whole number from 0 to 65535, got "abc"'],
  [['serve', '--port', '-1'], '--port: expected a whole number from 0 to 65535, got -1'],
  [['serve', '--port', '0x10'], '--port: expected a whole number from 0 to 65535, got "0x10"'],
  [['serve', '--port', ' '], '--port: expected a whole number from 0 to 65535, got " "'],
  [['serve', '--retain-available', 'yes'], '--retain-available: expected true or false, got "yes"'],
  [['serve', '--memory=no'], '--memory: takes no value'],
  [['serve', '--log-format', 'xml'], '--log-format: expected one of json, pretty, got "xml"'],
  [['serve', '--host', '1\n2'], '--host: expected a host name or an IP address, got "1\\n2"'],
  [['serve', '--memory', '--data-dir', 'x'], '--memory: excludes --data-dir; leave one of them out'],
  [
    ['serve', '--host', '::'],
    '--host: :: is not loopback, so anyone who can reach it could connect without a password: to allow that, add --allow-anonymous; to prevent it, add --password-file',
  ],
  [['serve', '--config', '/nowhere/roost.yaml'], '--config: cannot read /nowhere/roost.yaml: no such file or directory'],
])('%j: one line and exit code 2', async (argv, line) => {
  const { host, code } = await ran(...argv)
  expect({ code, err: host.err, out: host.out, config: host.config }).toEqual({
    code: 2,
    err: `${line}\n`,
    out: '',
    config: undefined,
  })
})

describe('with a file', () => {
  let dir = ''
  const file = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text)
    return join(dir, name)
  }
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'roost-cli-'))
  })
  afterAll(() => rmSync(dir, { recursive: true }))

  test('flags win over the file, the file over the defaults', async () => {
    const path = file('good.yaml', 'port: 2883\nsn_port: 2884\nallow_anonymous: true\nhost: 0.0.0.0\n')
    const { host } = await ran('serve', '--config', path, '--port', '3883')
    expect(host.config).toMatchObject({ port: 3883, snPort: 2884, gatewayId: 1, host: '0.0.0.0' })
  })

  test('an error names file, line and column', async () => {
    const path = file('bad.yaml', 'port: 1\nmax_queue_messages: 1\n')
    const { host, code } = await ran('serve', '--config', path)
    expect(code).toBe(2)
    expect(host.err).toBe(`${path}:2:1: unknown key max_queue_messages (did you mean max_queued_messages?)\n`)
  })

  test('the refusal to listen names the place that asked for it', async () => {
    const path = file('open.yaml', 'sn_host: 10.0.0.1\n')
    expect((await ran('serve', '--config', path)).host.err).toBe(
      `${path}:1:10: sn_host: 10.0.0.1 is not loopback, so anyone who can reach it could connect without a password: to allow that, add allow_anonymous: true; to prevent it, add password_file\n`,
    )
  })

  test('predefined topics', async () => {
    const path = file('topics.json', '{"clients": {"sensor-*": {"7": "a/b"}}}')
    const { host } = await ran('serve', '--predefined-topics', path)
    expect(host.config?.predefinedTopics).toEqual([{ pattern: 'sensor-*', topics: new Map([[7, 'a/b']]) }])
  })
})

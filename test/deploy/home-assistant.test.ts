import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { parse } from 'yaml'
import { MAIN } from '../interop/started-process.ts'
import { StateEncoder } from '../mosquitto/encode-state.ts'

vi.setConfig({ testTimeout: 60_000 })

const FOLDER = fileURLToPath(new URL('../../deploy/home-assistant/roost', import.meta.url))
const read = (name: string): string => readFileSync(join(FOLDER, name), 'utf8')

interface AddOn {
  readonly version: string
  readonly arch: readonly string[]
  readonly ports: Readonly<Record<string, number>>
  readonly options: Readonly<Record<string, unknown>>
  readonly schema: Readonly<Record<string, unknown>>
}
const addOn = parse(read('config.yaml')) as AddOn

const root = mkdtempSync(join(tmpdir(), 'roost-add-on-'))
afterAll(() => rmSync(root, { recursive: true }))

let data: string
beforeEach(() => {
  data = mkdtempSync(join(root, 'data-'))
})

// `roost` and `node` as in the image.
const bin = join(root, 'bin')
mkdirSync(bin)
for (const [name, argv] of [
  ['node', ''],
  ['roost', MAIN],
] as const) {
  writeFileSync(join(bin, name), `#!/bin/sh\nexec "${process.execPath}" ${argv} "$@"\n`)
  chmodSync(join(bin, name), 0o755)
}

/** The run script on options, with `--test-config`. */
function ran(options: object, config = join(root, 'none')) {
  writeFileSync(join(data, 'options.json'), JSON.stringify({ ...addOn.options, ...options }))
  const env = { PATH: `${bin}:${process.env.PATH}`, ROOST_DATA: data, ROOST_CONFIG: config }
  const { status, stdout, stderr } = spawnSync('sh', [join(FOLDER, 'run.sh'), '--test-config'], { encoding: 'utf8', env })
  return { status, stdout, stderr }
}
const written = () => parse(readFileSync(join(data, 'roost.yaml'), 'utf8')) as Record<string, unknown>

const LOGINS = [
  { username: 'home', password: 'se:cret' },
  { username: 'ann', password: 'other', console: 'manage' },
  { username: 'bob', password: 'third', console: 'view' },
]

describe('the folder', () => {
  test('has what Home Assistant asks for, as its documentation lists it', () => {
    expect(readdirSync(FOLDER).sort()).toEqual(
      [
        'DOCS.md',
        'Dockerfile',
        'README.md',
        'config.yaml',
        'configure.mjs',
        'icon.png',
        'logo.png',
        'run.sh',
        'translations',
      ].sort(),
    )
    const required = ['name', 'version', 'slug', 'description', 'arch']
    expect(Object.keys(addOn)).toEqual(expect.arrayContaining(required))
    expect(addOn.arch).toEqual(['aarch64', 'amd64'])
    expect(Object.entries(addOn.ports)).toEqual([
      ['1883/tcp', 1883],
      ['1884/udp', 1884],
      ['1885/tcp', 1885],
    ])
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
    expect(addOn.version).toBe(version)
    expect(read('Dockerfile')).toMatch(/^FROM node:22[^\n]*$/m)
    expect(statSync(join(FOLDER, 'run.sh')).mode & 0o111).not.toBe(0)
    // Width and height of a PNG.
    const sizes = ['icon.png', 'logo.png']
      .map((name) => readFileSync(join(FOLDER, name)))
      .map((png) => [png.readUInt32BE(16), png.readUInt32BE(20)])
    expect(sizes).toEqual([
      [128, 128],
      [250, 100],
    ])
  })

  test('every option has a type, a use and a text; those with a default have one in options', () => {
    const { configuration, network } = parse(read('translations/en.yaml')) as Record<string, Record<string, { fields?: object }>>
    const names = Object.keys(addOn.schema)
    expect(Object.keys(configuration!)).toEqual(names)
    expect(Object.keys(network!)).toEqual(Object.keys(addOn.ports))
    const [login] = addOn.schema.logins as [object]
    expect(Object.keys(configuration!.logins!.fields!)).toEqual(Object.keys(login))
    const isOptional = (name: string): boolean => String(addOn.schema[name]).endsWith('?')
    expect(Object.keys(addOn.options)).toEqual(names.filter((name) => !isOptional(name)))
    const script = read('configure.mjs')
    const [, used = ''] = /const \{ (.*) \} = options/.exec(script) ?? []
    expect(used.split(', ')).toEqual(names)
    for (const name of names)
      expect([name, script.split(new RegExp(`\\b${name}\\b`)).length - 1]).toEqual([name, expect.toSatisfy((uses) => uses > 1)])
  })
})

describe('the run script', () => {
  test('with logins, a console and a radio: a configuration that Roost takes, and no password in the clear', () => {
    const { status, stdout, stderr } = ran({ logins: LOGINS, serial_device: '/dev/ttyUSB0', serial_baud_rate: 57_600 })
    expect([status, stdout]).toEqual([0, expect.stringContaining('The configuration is valid.\n')])
    for (const line of stderr.trimEnd().split('\n')) expect(line).toMatch(/^warning: (mqtt-1883|sn-1884|http): /)
    expect(written()).toEqual({
      ...{ host: '0.0.0.0', data_dir: join(data, 'store'), password_file: join(data, 'passwords'), allow_anonymous: false },
      sn_listeners: [
        { host: '0.0.0.0', port: 1884 },
        { device: '/dev/ttyUSB0', baud_rate: 57_600 },
      ],
      ...{ sn_username: 'sensors', http_host: '0.0.0.0', http_password_file: join(data, 'console-passwords') },
      ...{ http_managers: 'ann', home_assistant_discovery: 'homeassistant', log_level: 'info' },
    })
    for (const [name, users] of [
      ['passwords', ['home', 'ann', 'bob']],
      ['console-passwords', ['ann', 'bob']],
    ] as const) {
      const lines = readFileSync(join(data, name), 'utf8').trimEnd().split('\n')
      expect(lines.map((line) => line.slice(0, line.indexOf(':')))).toEqual(users)
      for (const line of lines) expect(line).toMatch(/^\w+:\$7\$\d+\$/)
      expect(statSync(join(data, name)).mode & 0o077).toBe(0)
    }
  })

  test('after a login was taken away nothing of it is left; open to all if that is wanted', () => {
    expect(ran({ logins: LOGINS }).status).toBe(0)
    expect(ran({ anonymous: true, sensors: false, discovery: false }).status).toBe(0)
    expect([existsSync(join(data, 'passwords')), existsSync(join(data, 'console-passwords'))]).toEqual([false, false])
    expect(written()).toEqual({
      ...{ host: '0.0.0.0', data_dir: join(data, 'store'), allow_anonymous: true, http_host: '127.0.0.1', log_level: 'info' },
      sn_listeners: [{ host: '127.0.0.1', port: 1884 }],
    })
  })

  test.each([
    [{}, 'nobody could connect: add a login, or let clients connect without a password'],
    [{ logins: [LOGINS[0], LOGINS[0]] }, 'logins: home is there twice'],
    [{ logins: [{ username: 'sensors', password: 'x' }] }, 'logins: sensors is the user of the sensors; choose another name'],
    [{ logins: [{ username: 'a', password: 'x\ny' }] }, 'logins: the password of a has a line break'],
  ])('%j is refused', (options, line) => {
    expect(ran(options)).toEqual({ status: 2, stdout: '', stderr: `options: ${line}\n` })
  })

  test('a mosquitto.db in its folder is imported, once', () => {
    const config = mkdtempSync(join(root, 'config-'))
    writeFileSync(join(config, 'roost.yaml'), 'allow_anonymous: true\n')
    writeFileSync(join(config, 'mosquitto.db'), new StateEncoder().bytes())
    expect(ran({}, config).stdout).toMatch(/^imported .*mosquitto\.db \(format 6\) into .*\/store: 0 retained messages, /)
    expect(ran({}, config).stdout).toMatch(/^The options are not used/)
  })

  test('a roost.yaml of the user takes the place of the options', () => {
    const config = mkdtempSync(join(root, 'config-'))
    writeFileSync(join(config, 'roost.yaml'), 'allow_anonymous: true\nsn_port: 1\n')
    const { status, stdout } = ran({}, config)
    expect(status).toBe(0)
    expect(stdout).toBe(`The options are not used: ${config}/roost.yaml is there.\nThe configuration is valid.\n`)
  })
})

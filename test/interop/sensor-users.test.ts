import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { hashPassword } from '../../src/access/io/password-hash.ts'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
})

const hex = (text: string): string => Buffer.from(text).toString('hex')
/** CONNECT with a clean session and 60 s of keep alive, for a client id of eight bytes. */
const connect = (clientId: string): string => `0e 04 04 01 003c ${hex(clientId)}`
const ACCEPTED = '030500'
const NOT_SUPPORTED = '030503'

test('where clients have to authenticate, sensors connect as the users of sn_users, and SIGHUP reads it anew', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'roost-interop-'))
  cleanUp.push(() => rmSync(dir, { recursive: true }))
  const [passwords, users, acl] = ['passwords', 'users.yaml', 'acl'].map((name) => join(dir, name)) as [string, string, string]
  writeFileSync(passwords, '', { mode: 0o600 })
  writeFileSync(acl, 'user sensors\ntopic write ab\n')
  writeFileSync(users, '- clients: sensor-*\n  networks: 127.0.0.0/8\n  username: sensors\n')
  const roost = await StartedProcess.start('--memory', '--password-file', passwords, '--acl-file', acl, '--sn-users', users)
  cleanUp.push(() => roost.stop('SIGKILL'))
  expect(roost.log.find((line) => line.startsWith('MQTT-SN gateway'))).toContain(
    'sensors on this machine with a user may connect (sn_users, sn_username); QoS -1: no (qos_m1_username), forwarders: no (forwarders)',
  )
  const [sensor, stranger] = [await RawSensor.open(roost.snPort), await RawSensor.open(roost.snPort)]
  cleanUp.push(
    () => sensor.close(),
    () => stranger.close(),
  )
  sensor.sendHex(connect('sensor-1'))
  expect(await sensor.next()).toBe(ACCEPTED)
  stranger.sendHex(connect('device-1'))
  expect(await stranger.next()).toBe(NOT_SUPPORTED)
  // PUBLISH with QoS 1 on the short names `ab` and `ba`: the access list knows the user.
  sensor.sendHex(`08 0c 22 ${hex('ab')} 0001 78`)
  expect(await sensor.next()).toBe(`070d${hex('ab')}000100`)
  sensor.sendHex(`08 0c 22 ${hex('ba')} 0002 78`)
  expect(await sensor.next()).toBe(`070d${hex('ba')}000203`)

  for (const [empty, line] of [
    ['[]', /^error reload-failed: .*users\.yaml: contains no rule any more: all sensors would be excluded \(sn_users\)$/],
    ['', /^error reload-failed: .*users\.yaml:1:1: expected a list of rules, got a map$/],
  ] as const) {
    writeFileSync(users, empty)
    roost.child.kill('SIGHUP')
    await roost.logged(line)
    sensor.sendHex(`08 0c 22 ${hex('ab')} 0003 78`)
    expect(await sensor.next()).toBe(`070d${hex('ab')}000300`)
  }

  writeFileSync(users, '- clients: device-*\n  username: sensors\n')
  roost.child.kill('SIGHUP')
  // DISCONNECT: it has no rule any more.
  expect(await sensor.next()).toBe('0218')
  sensor.sendHex(connect('sensor-1'))
  expect(await sensor.next()).toBe(NOT_SUPPORTED)
  stranger.sendHex(connect('device-1'))
  expect(await stranger.next()).toBe(ACCEPTED)
})

test('a sensor that calls itself like a user with a password is not that user', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'roost-interop-'))
  cleanUp.push(() => rmSync(dir, { recursive: true }))
  const [passwords, acl] = ['passwords', 'acl'].map((name) => join(dir, name)) as [string, string]
  writeFileSync(passwords, `operator:${await hashPassword(Buffer.from('pw'), 10)}\n`, { mode: 0o600 })
  writeFileSync(acl, 'user operator\ntopic #\n')
  const roost = await StartedProcess.start('--memory', '--password-file', passwords, '--acl-file', acl, '--sn-username', '%c')
  cleanUp.push(() => roost.stop('SIGKILL'))
  const sensor = await RawSensor.open(roost.snPort)
  cleanUp.push(() => sensor.close())
  sensor.sendHex(connect('operator'))
  expect(await sensor.next()).toBe(NOT_SUPPORTED)
  await roost.logged(
    /^info client-refused sn:operator .*: no rule lets it in, or its user is one who has a password \(sn_users\)$/,
  )
  sensor.sendHex(connect('sensor-1'))
  expect(await sensor.next()).toBe(ACCEPTED)
})

test('a file that is wrong ends the start with its place', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'roost-interop-'))
  cleanUp.push(() => rmSync(dir, { recursive: true }))
  const users = join(dir, 'users.yaml')
  writeFileSync(users, '- clients: a\n  user: b\n')
  await expect(StartedProcess.start('--memory', '--sn-users', users)).rejects.toThrow('ended with 2')
})

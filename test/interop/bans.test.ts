import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { hashPassword } from '../../src/access/io/password-hash.ts'
import { login } from './login-swarm.ts'
import { PacketClient } from './packet-client.ts'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

let dir: string
const cleanUp: (() => unknown)[] = []
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'roost-bans-'))
  cleanUp.push(() => rmSync(dir, { recursive: true }))
  writeFileSync(join(dir, 'passwords'), `alice:${await hashPassword(Buffer.from('right'), 1)}\n`, { mode: 0o600 })
})
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
})

async function start(...flags: string[]): Promise<StartedProcess> {
  const roost = await StartedProcess.start('--memory', ...flags)
  cleanUp.push(() => roost.stop('SIGKILL'))
  return roost
}
const from = (port: number, localAddress: string): PacketClient =>
  new PacketClient(connectTcp({ port, host: '127.0.0.1', localAddress, noDelay: true }))
const sensorAt = async (roost: StartedProcess): Promise<RawSensor> => {
  const sensor = await RawSensor.open(roost.snPort)
  cleanUp.push(() => sensor.close())
  return sensor
}
/** CONNECT with a clean session and 60 s of keep alive, for a client id of eight bytes. */
const snConnect = (clientId: string): string => `0e 04 04 01 003c ${Buffer.from(clientId).toString('hex')}`
const wrong = (roost: StartedProcess, address: string): Promise<string> =>
  login(roost.mqttPort, 'alice', 'wrong', address).then(
    () => 'let in',
    (error: Error) => error.message.replace(/ after.*/, ''),
  )

/** Refusals of an address that has failed before are kept back, and these together. */
const wrongAtOnce = async (roost: StartedProcess, address: string, times: number): Promise<Set<string>> =>
  new Set(await Promise.all(Array.from({ length: times }, () => wrong(roost, address))))

test('after ban_after failures an address gets no connection; others, who is connected, and sensors are not affected', async () => {
  const passwords = ['--password-file', join(dir, 'passwords')]
  const roost = await start(...passwords, '--ban-after', '3', '--trusted-networks', '127.0.0.7')
  const connected = from(roost.mqttPort, '127.0.0.5')
  expect(await connected.connect({ clientId: 'stays', username: 'alice', password: Buffer.from('right') })).toBe(0)
  for (let i = 0; i < 3; i++) expect(await wrong(roost, '127.0.0.5')).toBe('return code 4')
  expect(await roost.logged(/address-banned/)).toMatch(
    /^warn address-banned at 127\.0\.0\.5:\d+: 127\.0\.0\.5 is banned for 600 s after 3 failed logins \(ban_after\)$/,
  )
  expect(await wrong(roost, '127.0.0.5')).toBe('closed')
  expect(await roost.logged(/client-refused at 127\.0\.0\.5/)).toMatch(/: the address is banned \(ban_after\)$/)
  await expect(login(roost.mqttPort, 'alice', 'right', '127.0.0.5')).rejects.toThrow('closed')
  await login(roost.mqttPort, 'alice', 'right', '127.0.0.6')
  connected.send({ type: 12 })
  expect(await connected.next()).toMatchObject({ type: 13 })
  // In trusted_networks nobody is banned.
  expect(await wrongAtOnce(roost, '127.0.0.7', 10)).toEqual(new Set(['return code 4']))
  await login(roost.mqttPort, 'alice', 'right', '127.0.0.7')
  // Refused over UDP, with an address that may be forged.
  const sensor = await sensorAt(roost)
  for (let i = 0; i < 10; i++) {
    sensor.sendHex(snConnect('sensor-1'))
    expect(await sensor.next()).toBe('030503')
  }
  await login(roost.mqttPort, 'alice', 'right', '127.0.0.1')
  expect(roost.log.filter((line) => line.startsWith('address-banned'))).toHaveLength(1)
})

test('by default nobody on this machine is banned', async () => {
  const roost = await start('--password-file', join(dir, 'passwords'))
  expect(await wrongAtOnce(roost, '127.0.0.5', 30)).toEqual(new Set(['return code 4']))
  await login(roost.mqttPort, 'alice', 'right', '127.0.0.5')
})

test('ban_file: networks and client ids, of MQTT clients and of sensors; SIGHUP ends who may not stay', async () => {
  const bans = join(dir, 'bans')
  writeFileSync(bans, '# none yet\n')
  const roost = await start('--ban-file', bans)
  const [near, far, robot] = ['127.0.0.5', '127.0.1.5', '127.0.0.9'].map((address) => from(roost.mqttPort, address)) as [
    PacketClient,
    PacketClient,
    PacketClient,
  ]
  for (const [client, clientId] of [
    [near, 'near'],
    [far, 'far'],
    [robot, 'robot'],
  ] as const)
    expect(await client.connect({ clientId })).toBe(0)
  const sensor = await sensorAt(roost)
  sensor.sendHex(snConnect('sensor-1'))
  expect(await sensor.next()).toBe('030500')

  writeFileSync(bans, '127.0.1.0/24\nid:robot\nid:sensor-1\n')
  roost.child.kill('SIGHUP')
  for (const client of [far, robot]) {
    expect(await client.next()).toMatchObject({ type: 14, reasonCode: 0x87 })
    expect(await client.next()).toBe('closed')
  }
  expect(await sensor.next()).toBe('0218')
  sensor.sendHex(snConnect('sensor-1'))
  expect(await sensor.next()).toBe('030503')
  await roost.logged(/^info client-refused sn:sensor-1 .*: banned \(ban_file\)$/)
  sensor.sendHex(snConnect('sensor-2'))
  expect(await sensor.next()).toBe('030500')
  near.send({ type: 12 })
  expect(await near.next()).toMatchObject({ type: 13 })
  expect(await from(roost.mqttPort, '127.0.1.9').next()).toBe('closed')
  expect(await from(roost.mqttPort, '127.0.0.9').connect({ clientId: 'robot' })).toBe(0x8a)

  // A broken line keeps what was there before.
  writeFileSync(bans, 'id:near\n10.0.0.0/99\n')
  roost.child.kill('SIGHUP')
  expect(await roost.logged(/reload-failed/)).toContain(
    `${bans}:2: expected a network like 192.0.2.0/24 or fe80::/10, or id:CLIENT_ID (ban_file)`,
  )
  near.send({ type: 12 })
  expect(await near.next()).toMatchObject({ type: 13 })
  expect(await from(roost.mqttPort, '127.0.0.9').connect({ clientId: 'robot' })).toBe(0x8a)

  // An empty one lifts all bans, as no other file may be emptied.
  writeFileSync(bans, '')
  roost.child.kill('SIGHUP')
  await roost.logged(/reloaded/)
  expect(await from(roost.mqttPort, '127.0.0.9').connect({ clientId: 'robot' })).toBe(0)
})

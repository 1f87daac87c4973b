import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connectAsync } from 'mqtt'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

/** Addresses of loopback that stand for strangers; the test's own sensor is at 127.0.0.1. */
const STRANGERS = 100
const CONNECTS_EACH = 200
const SESSIONS_MAX = 300
/** What strangers may have of them: the rest is for others, MQTT clients included. */
const STRANGERS_MAX = 250
const GROWTH_MAX_MIB = 120

let roost: StartedProcess
beforeAll(async () => {
  roost = await StartedProcess.start(
    ...['--memory', '--max-sessions', String(SESSIONS_MAX), '--max-sn-unproven-addresses', '50'],
    ...['--max-sn-unproven-sessions', String(STRANGERS_MAX)],
    ...['--trusted-networks', '127.0.0.1/32', '--t-adv', '0', '--log-level', 'debug', '--sys-interval', '1'],
  )
})
afterAll(async () => {
  await roost.stop()
})

const residentMib = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${roost.child.pid}/status`, 'utf8'))?.[1]) / 1024

/** A sender at an address of its own, which counts what it is sent. */
async function stranger(
  host: string,
): Promise<{ socket: Socket; send: (hex: string) => Promise<void>; sent: number; heard: number }> {
  const socket = createSocket('udp4')
  socket.bind(0, host)
  await once(socket, 'listening')
  const self = {
    socket,
    sent: 0,
    heard: 0,
    send: (hex: string) =>
      new Promise<void>((resolve) => {
        const bytes = Buffer.from(hex, 'hex')
        self.sent += bytes.length
        socket.send(bytes, roost.snPort, '127.0.0.1', () => resolve())
      }),
  }
  socket.on('message', (bytes) => {
    self.heard += bytes.length
  })
  return self
}

/** Waits until the topics under $SYS say that this bound was reached so often; they are told once a second. */
async function reached(limit: string, times: number): Promise<void> {
  const mqtt = await connectAsync(`mqtt://127.0.0.1:${roost.mqttPort}`, { reconnectPeriod: 0 })
  const told = new Promise<void>((resolve) =>
    mqtt.on('message', (_, payload) => {
      if (Number(payload.toString()) >= times) resolve()
    }),
  )
  await mqtt.subscribeAsync(`$SYS/broker/roost/limits/${limit}`)
  await told
  await mqtt.endAsync(true)
}

const connect = (clientId: string): string =>
  `${(6 + clientId.length).toString(16).padStart(2, '0')}040401003c${Buffer.from(clientId).toString('hex')}`

test('a flood of CONNECTs from strangers and of nonsense: memory stays bounded, and who was there before is served', async () => {
  const sensor = await RawSensor.open(roost.snPort)
  expect(await sensor.ask('connect, keep alive 60 s, lasting session')).toBe('030500')
  expect(await sensor.ask('register sensors/s1')).toBe('070b0401000100')
  const before = residentMib()
  for (let i = 0; i < STRANGERS; i++) {
    const { socket, send } = await stranger(`127.0.1.${i + 1}`)
    for (let k = 0; k < CONNECTS_EACH; k++) {
      await send(connect(`forged-${i}-${k}`))
      await send('0b0c20040100')
    }
    socket.close()
    if (i % 10 === 0) expect(await sensor.ask('publish 21.6 on id 0401, QoS 1')).toBe('070d0401000200')
  }
  expect(residentMib() - before).toBeLessThan(GROWTH_MAX_MIB)
  expect(await sensor.ask('publish 21.6 on id 0401, QoS 1')).toBe('070d0401000200')
  await reached('max_sn_unproven_sessions', 1000)
  await reached('max_sn_unproven_addresses', 40)
  expect(roost.log.some((line) => line.startsWith('malformed-datagram'))).toBe(true)
  sensor.close()
}, 60_000)

test('A20: a stranger is sent at most three times what it sent, but for one message', async () => {
  const payload = 1000
  const other = await StartedProcess.start('--memory', '--trusted-networks', '127.0.0.1/32', '--t-retry', '0.2', '--t-adv', '0')
  const its = await connectAsync(`mqtt://127.0.0.1:${other.mqttPort}`, { reconnectPeriod: 0 })
  const attacker = createSocket('udp4')
  attacker.bind(0, '127.0.2.1')
  await once(attacker, 'listening')
  let sent = 0
  let heard = 0
  const types: number[] = []
  attacker.on('message', (bytes) => {
    heard += bytes.length
    types.push(bytes[0] === 1 ? bytes[3]! : bytes[1]!)
  })
  const send = (hex: string): void => {
    sent += hex.length / 2
    attacker.send(Buffer.from(hex, 'hex'), other.snPort, '127.0.0.1')
  }
  send(connect('victim'))
  while (!types.includes(0x05)) await once(attacker, 'message')
  send('07122200096162')
  while (!types.includes(0x13)) await once(attacker, 'message')
  for (let i = 0; i < 20; i++) await its.publishAsync('ab', 'x'.repeat(payload), { qos: i % 2 === 0 ? 1 : 0 })
  for (let i = 0; i < 30; i++) send('0216')
  while (types.filter((type) => type === 0x17).length < 30) await once(attacker, 'message')
  const message = payload + 9
  expect(types.filter((type) => type === 0x0c)).toHaveLength(1)
  expect(heard).toBeLessThanOrEqual(3 * sent + message)
  attacker.close()
  await its.endAsync(true)
  await other.stop()
})

test('what is malformed is not answered at all', async () => {
  const one = await stranger('127.0.3.1')
  for (const hex of ['00', '01', '0100', '02ff', '0304', 'ffff', '04fe0001', '0c04', '0500']) await one.send(hex)
  await one.send('0216')
  await once(one.socket, 'message')
  // DISCONNECT in answer to the PINGREQ, and no longer than that.
  expect(one.heard).toBe(2)
  one.socket.close()
})

import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { StartedProcess } from './started-process.ts'

const CONFIG = `
memory: true
allow_anonymous: true
log_level: debug
sn_listeners:
  - name: four
    port: 0
    t_adv: 1
  - name: six
    port: 0
    host: "HOST6"
    t_adv: 1
    multicast_group: ff12::5e:7
  - name: small
    port: 0
    t_adv: 0
    max_frame: 40
    t_retry: 0.5
  - name: hidden
    port: 0
    multicast_group: none
  - name: any
    port: 0
    host: 0.0.0.0
    multicast_group: 239.1.2.3
    multicast_interface: 127.0.0.1
  - name: elsewhere
    port: 0
    t_adv: 1
    multicast_port: GROUP_PORT
`

/** An address that IPv6 multicast leaves from: that of loopback has none on Linux. */
const [zone, six] =
  Object.entries(networkInterfaces()).flatMap(([name, all = []]) =>
    all.flatMap(({ family, internal, address, scopeid }) =>
      family === 'IPv6' && !internal ? [[name, scopeid ? `${address}%${name}` : address] as const] : [],
    ),
  )[0] ?? []
if (six === undefined) process.stderr.write('without an IPv6 address but ::1: nothing is multicast over IPv6\n')

let roost: StartedProcess
let mqtt: MqttClient
let dir: string
let groupPort: number
beforeAll(async () => {
  groupPort = await freePort()
  dir = mkdtempSync(join(tmpdir(), 'roost-ports-'))
  writeFileSync(join(dir, 'roost.yaml'), CONFIG.replace('HOST6', six ?? '::1').replace('GROUP_PORT', String(groupPort)))
  roost = await StartedProcess.startWith('--port', '0', '--config', join(dir, 'roost.yaml'))
  mqtt = await connectAsync(`mqtt://127.0.0.1:${roost.mqttPort}`, { reconnectPeriod: 0 })
})
afterAll(async () => {
  await mqtt.endAsync(true)
  await roost.stop()
  rmSync(dir, { recursive: true })
})

const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close()
})

/** A sensor that is nothing but a socket: on loopback, or in a group. */
async function open(
  type: 'udp4' | 'udp6',
  port = 0,
  group?: string,
  bound = group,
): Promise<{ socket: Socket; next: () => Promise<string> }> {
  const socket = createSocket({ type, reuseAddr: group !== undefined })
  sockets.push(socket)
  const received: string[] = []
  let wake: (() => void) | undefined
  socket.on('message', (bytes, from) => {
    received.push(`${bytes.toString('hex')} from ${from.port}`)
    wake?.()
  })
  socket.bind(port, bound ?? (type === 'udp4' ? '127.0.0.1' : '::'))
  await once(socket, 'listening')
  const via = type === 'udp4' ? '127.0.0.1' : `::%${zone}`
  if (group !== undefined) socket.addMembership(group, via)
  socket.setMulticastInterface(via)
  const next = async (): Promise<string> => {
    while (received.length === 0)
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    return received.shift()!
  }
  return { socket, next }
}

/** A UDP port that nobody has. */
async function freePort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  await new Promise<void>((resolve) => socket.close(() => resolve()))
  return port
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('discovery over real sockets', () => {
  test.each([
    ['IPv4', 'four', 'udp4', '225.1.1.1', '225.1.1.1'],
    ['IPv6', 'six', 'udp6', 'ff12::5e:7', `ff12::5e:7%${zone}`],
  ] as const)(
    '%s: ADVERTISE comes to the group, and SEARCHGW to the group is answered to its sender alone',
    async (_, name, type, group, target) => {
      if (type === 'udp6' && six === undefined) return
      const port = roost.snPorts.get(name)!
      const listener = await open(type, port, group, target)
      expect(await listener.next()).toBe(`0500010001 from ${port}`)
      const sensor = await open(type)
      sensor.socket.send(hex('03 01 00'), port, target)
      expect(await sensor.next()).toBe(`030201 from ${port}`)
    },
  )

  test('the log says where it advertises, and where it does not', () => {
    const told = roost.log.filter((line) => line.includes('multicast group'))
    const [sn, four, sixth, small] = ['sn', 'four', 'six', 'small'].map((name) => roost.snPorts.get(name)!)
    const start = 'MQTT-SN gateway 1 on'
    expect(told).toEqual(
      expect.arrayContaining([
        `${start} udp://127.0.0.1:${sn}: advertises itself every 900 s in multicast group 225.1.1.1 port ${sn} (change with t_adv, multicast_group)`,
        `${start} udp://127.0.0.1:${four}: advertises itself every 1 s in multicast group 225.1.1.1 port ${four} (change with t_adv, multicast_group)`,
        ...(six === undefined
          ? []
          : [
              `${start} udp://[${six}]:${sixth}: advertises itself every 1 s in multicast group ff12::5e:7 port ${sixth} (change with t_adv, multicast_group)`,
            ]),
        `${start} udp://127.0.0.1:${small}: can be searched for in multicast group 225.1.1.1 port ${small} (change with t_adv, multicast_group)`,
      ]),
    )
  })

  test('the group may have a port of its own', async () => {
    const listener = await open('udp4', groupPort, '225.1.1.1')
    const port = roost.snPorts.get('elsewhere')!
    expect(await listener.next()).toBe(`0500010001 from ${port}`)
    const sensor = await open('udp4')
    sensor.socket.send(hex('03 01 00'), groupPort, '225.1.1.1')
    expect(await sensor.next()).toBe(`030201 from ${port}`)
  })

  test('a port on all addresses hears SEARCHGW in its group', async () => {
    const sensor = await open('udp4')
    sensor.socket.send(hex('03 01 00'), roost.snPorts.get('any')!, '239.1.2.3')
    expect(await sensor.next()).toBe(`030201 from ${roost.snPorts.get('any')!}`)
  })

  test('without a group it answers whoever knows its address', async () => {
    const sensor = await open('udp4')
    sensor.socket.send(hex('03 01 00'), roost.snPorts.get('hidden')!, '127.0.0.1')
    expect(await sensor.next()).toBe(`030201 from ${roost.snPorts.get('hidden')!}`)
  })
})

describe('frames over a real socket', () => {
  const payloadOf = (frame: number): number => frame - (frame < 256 ? 7 : 9)
  /** PUBLISH to the short topic `fr`, QoS 1. */
  const publish = (frame: number, msgId: number, long = frame >= 256): Buffer => {
    const head = long ? [1, frame >> 8, frame & 0xff] : [frame]
    const body = [0x0c, 0x22, 0x66, 0x72, msgId >> 8, msgId & 0xff]
    return Buffer.from([...head, ...body, ...new Array<number>(frame - head.length - body.length).fill(0x61)])
  }

  test('253 to 260 octets and the longest of UDP, in both directions and both forms of Length', async () => {
    const port = roost.snPorts.get('four')!
    const { socket, next } = await open('udp4')
    await mqtt.subscribeAsync('fr')
    socket.send(hex('08 04 04 01 003c 6631'), port, '127.0.0.1')
    expect(await next()).toMatch(/^030500/)
    socket.send(hex('07 12 22 0001 6672'), port, '127.0.0.1')
    expect(await next()).toMatch(/^08132066720001/)
    const sizes = [8, 9, 253, 254, 255, 256, 257, 258, 259, 260, 1500, 65_507]
    for (const [i, frame] of sizes.entries()) {
      const seen = new Promise<Buffer>((resolve) => mqtt.once('message', (_, payload) => resolve(payload)))
      socket.send(publish(frame, i + 1), port, '127.0.0.1')
      const answers = [await next(), await next()]
      const delivered = answers.find((answer) => !/^070d/.test(answer))!.split(' ')[0]!
      const payload = await seen
      expect(payload.length).toBe(payloadOf(frame))
      const back = Buffer.from(delivered, 'hex')
      // The gateway uses the short form wherever it fits: also for what came in 256 or 257 octets.
      const short = payload.length + 7 < 256
      expect(back.length).toBe(payload.length + (short ? 7 : 9))
      expect(back.readUInt8(0)).toBe(short ? back.length : 1)
      const msgId = short ? back.subarray(5, 7) : back.subarray(7, 9)
      socket.send(Buffer.concat([hex('07 0d 6672'), msgId, hex('00')]), port, '127.0.0.1')
    }
    // The long form of a short message.
    socket.send(publish(12, 99, true), port, '127.0.0.1')
    const last = [await next(), await next()].find((answer) => /^0a0c22/.test(answer))!
    socket.send(hex(`07 0d 6672 ${last.slice(10, 14)} 00`), port, '127.0.0.1')
    await mqtt.unsubscribeAsync('fr')
    // One octet more than UDP can carry: told, and the next message comes.
    await mqtt.publishAsync('fr', 'x'.repeat(65_499), { qos: 1 })
    await mqtt.publishAsync('fr', 'y', { qos: 1 })
    for (let delivered = ''; !delivered.startsWith('080c226672'); delivered = await next());
    expect(roost.log.some((line) => line.includes('65499 octets on fr are too long for a datagram'))).toBe(true)
  })

  test('what does not fit the port is told and given up, and what comes behind it arrives', async () => {
    const port = roost.snPorts.get('small')!
    const { socket, next } = await open('udp4')
    socket.send(hex('08 04 04 01 003c 6632'), port, '127.0.0.1')
    expect(await next()).toMatch(/^030500/)
    socket.send(hex('07 12 22 0001 736d'), port, '127.0.0.1')
    expect(await next()).toMatch(/^0813/)
    await mqtt.publishAsync('sm', 'x'.repeat(34), { qos: 1 })
    await mqtt.publishAsync('sm', 'x'.repeat(33), { qos: 1 })
    expect(await next()).toMatch(/^280c22736d/)
    expect(roost.log.some((line) => line.includes('34 octets on sm are too long for a datagram'))).toBe(true)
    // The port's own T_retry.
    expect(await next()).toMatch(/^280ca2736d/)
  })
})

test('log_level: trace tells each datagram, and what it means', async () => {
  const traced = await StartedProcess.start('--memory', '--log-level', 'trace')
  const { socket, next } = await open('udp4')
  socket.send(hex('08 04 04 01 003c 7431'), traced.snPort, '127.0.0.1')
  await next()
  await traced.logged(/^trace t1 at 127\.0\.0\.1:\d+ -> CONNECT client="t1" clean protocol=1 duration=60$/)
  await traced.logged(/^trace t1 <- CONNACK accepted$/)
  await traced.stop()
})

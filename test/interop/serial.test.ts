import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { SerialPort } from 'serialport'
import { afterEach, describe, expect, test } from 'vitest'
import { type Framing, isDefect, LengthFraming, SlipFraming } from '../../src/gateway/ports/framing.ts'
import { StartedProcess } from './started-process.ts'

const missing = spawnSync('socat', ['-V']).error !== undefined
if (missing && process.env.CI === 'true') throw new Error('socat is not installed, and CI skips nothing')
if (missing) process.stderr.write('skipped: the tests of serial ports, because socat is not installed (Debian: socat)\n')

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
})

/** Two serial devices with a cable between them, as pseudo terminals. */
class Cable {
  readonly gateway: string
  readonly sensor: string
  #socat: ChildProcess | undefined

  constructor() {
    const dir = mkdtempSync(join(tmpdir(), 'roost-serial-'))
    this.gateway = join(dir, 'gateway')
    this.sensor = join(dir, 'sensor')
    cleanUp.push(() => rmSync(dir, { recursive: true }))
    cleanUp.push(() => this.pull())
  }

  async plug(): Promise<void> {
    const ends = [this.gateway, this.sensor].map((link) => `pty,raw,echo=0,link=${link}`)
    this.#socat = spawn('socat', ends, { stdio: 'ignore' })
    while (!existsSync(this.sensor) || !existsSync(this.gateway)) await new Promise((resolve) => setImmediate(resolve))
  }

  async pull(): Promise<void> {
    const socat = this.#socat
    if (socat === undefined) return
    this.#socat = undefined
    const exited = once(socat, 'exit')
    socat.kill()
    await exited
  }
}

/** What is at the other end: sends and takes frames in hex. */
class Node {
  readonly line: SerialPort
  readonly #framing: Framing
  readonly #received: string[] = []
  #wake: (() => void) | undefined

  private constructor(line: SerialPort, framing: Framing) {
    this.line = line
    this.#framing = framing
    line.on('error', () => {})
    line.on('data', (chunk: Buffer) => {
      for (const frame of framing.decode(0, chunk)) if (!isDefect(frame)) this.#received.push(Buffer.from(frame).toString('hex'))
      this.#wake?.()
    })
  }

  static async open(path: string, framing: Framing): Promise<Node> {
    const line = new SerialPort({ path, baudRate: 115_200, autoOpen: false })
    await new Promise<void>((resolve, reject) => line.open((error) => (error ? reject(error) : resolve())))
    cleanUp.push(() => line.isOpen && new Promise<void>((resolve) => line.close(() => resolve())))
    return new Node(line, framing)
  }

  say(hex: string): void {
    this.line.write(this.#framing.encode(Buffer.from(hex.replaceAll(' ', ''), 'hex')))
  }

  async next(): Promise<string> {
    while (this.#received.length === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    return this.#received.shift()!
  }

  ask(hex: string): Promise<string> {
    this.say(hex)
    return this.next()
  }
}

async function start(...flags: string[]): Promise<{ roost: StartedProcess; mqtt: MqttClient }> {
  const roost = await StartedProcess.startWithoutUdp('--port', '0', '--memory', '--t-adv', '0', ...flags)
  cleanUp.push(() => roost.stop())
  const mqtt = await connectAsync(`mqtt://127.0.0.1:${roost.mqttPort}`, { reconnectPeriod: 0 })
  cleanUp.push(() => mqtt.endAsync(true))
  return { roost, mqtt }
}

const nextMessage = (mqtt: MqttClient): Promise<[string, Buffer]> =>
  new Promise((resolve) => mqtt.once('message', (topic, payload) => resolve([topic, payload])))
const hex = (text: string): string => Buffer.from(text).toString('hex')

describe.skipIf(missing)('MQTT-SN over a serial line', () => {
  test.each<[string, string[], Framing]>([
    ['SLIP', [], new SlipFraming(65_535)],
    ['Length', ['--sn-framing', 'length'], new LengthFraming(65_535)],
  ])('%s: a sensor connects, publishes, and is sent what it subscribed to', async (_, flags, framing) => {
    const cable = new Cable()
    await cable.plug()
    const { mqtt, roost } = await start('--sn-device', cable.gateway, ...flags)
    await mqtt.subscribeAsync('up')
    const node = await Node.open(cable.sensor, framing)
    expect(await node.ask('030100')).toBe('030201')
    expect(await node.ask('08 04 04 01 003c 7331')).toBe('030500')
    const up = nextMessage(mqtt)
    expect(await node.ask(`080a00000001${hex('up')}`)).toBe('070b0401000100')
    expect(await node.ask('0b0c20 0401 0002 c0dbc0db')).toBe('070d0401000200')
    expect((await up)[1]).toEqual(Buffer.from('c0dbc0db', 'hex'))
    expect(await node.ask(`0712220003${hex('dn')}`)).toMatch(/^081320646e0003/)
    await mqtt.publishAsync('dn', Buffer.concat([Buffer.alloc(400, 0xc0)]), { qos: 1 })
    expect(await node.next()).toBe(`0101990c22${hex('dn')}0001${'c0'.repeat(400)}`)
    node.say(`070d${hex('dn')}000100`)
    // Through a forwarder at the line, too.
    expect(await node.ask('04fe0009 08 04 04 01 003c 7332')).toBe('04fe0009030500')
    expect(
      roost.log.some((line) =>
        line.includes(`serial:${cable.gateway}: sensors that can reach it may connect (change with --sn-device)`),
      ),
    ).toBe(true)
  })

  test('the log says how it advertises itself, and it does', async () => {
    const cable = new Cable()
    await cable.plug()
    const node = await Node.open(cable.sensor, new SlipFraming(1000))
    const roost = await StartedProcess.startWithoutUdp('--port', '0', '--memory', '--sn-device', cable.gateway, '--t-adv', '2')
    cleanUp.push(() => roost.stop())
    expect(await node.next()).toBe('0500010002')
    expect(roost.log).toContain(
      `MQTT-SN gateway 1 on serial:${cable.gateway}: advertises itself every 2 s on ${cable.gateway} (change with t_adv)`,
    )
  })

  test('noise on the line is counted, and costs no frame but its own', async () => {
    const cable = new Cable()
    await cable.plug()
    const { roost } = await start('--sn-device', cable.gateway)
    const node = await Node.open(cable.sensor, new SlipFraming(1000))
    node.line.write(Buffer.from('0102c0030405c0', 'hex'))
    expect(await node.ask('08 04 04 01 003c 7331')).toBe('030500')
    expect(roost.log.filter((line) => line.startsWith('malformed-datagram')).length).toBeGreaterThan(0)
  })

  test('a device that vanishes is opened again when it is back, and its sensors go on', async () => {
    const cable = new Cable()
    await cable.plug()
    const { roost, mqtt } = await start('--sn-device', cable.gateway)
    const before = await Node.open(cable.sensor, new SlipFraming(1000))
    expect(await before.ask('08 04 00 01 003c 7331')).toBe('030500')
    expect(await before.ask(`0712220003${hex('dn')}`)).toMatch(/^081320646e0003/)
    await cable.pull()
    await roost.logged(/^warn port-failed/)
    await mqtt.publishAsync('dn', 'while it was away', { qos: 1 })
    await cable.plug()
    const after = await Node.open(cable.sensor, new SlipFraming(1000))
    await roost.logged(/^warn port-recovered.* datagrams could not be sent meanwhile$/)
    // The same session: nothing was lost, and what was sent into the void is sent again.
    expect(await after.ask('0216')).toBe('0217')
    expect(await after.ask('08 04 00 01 003c 7331')).toBe('030500')
    expect(await after.next()).toMatch(new RegExp(`^180ca2${hex('dn')}0001${hex('while it was away')}$`))
    expect(roost.isRunning).toBe(true)
  }, 30_000)

  test('a device that is not there: one line that names the flag, exit code 2', async () => {
    const started = StartedProcess.startWithoutUdp('--port', '0', '--memory', '--sn-device', '/dev/no-such-device')
    await expect(started).rejects.toThrow('ended with 2')
  })
})

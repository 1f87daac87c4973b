import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { stringify } from 'yaml'
import { NETWORK } from './zigate.ts'

const VERSION = '2.14.1'

async function install(folder: string, ...packages: string[]): Promise<void> {
  await promisify(execFile)('npm', ['install', '--no-fund', '--no-audit', '--silent', '--prefix', folder, ...packages])
}

/** The program and its first argument. */
export interface Installed {
  readonly node: string
  readonly script: string
}

/**
 * Zigbee2MQTT and the Node.js that it needs, from npm: 270 MB. They go into the folder ZIGBEE2MQTT, which saves the next run the
 * download, or else into this one. `undefined`, which is reported, where npm cannot fetch them.
 */
export async function installZigbee2Mqtt(temporary: string): Promise<Installed | undefined> {
  const folder = process.env.ZIGBEE2MQTT ?? temporary
  const node = join(folder, 'node/node_modules/.bin/node')
  const script = join(folder, `${VERSION}/node_modules/zigbee2mqtt/index.js`)
  try {
    if (!existsSync(node)) await install(join(folder, 'node'), 'node@22')
    if (!existsSync(script)) await install(join(folder, VERSION), '--ignore-scripts', `zigbee2mqtt@${VERSION}`)
  } catch (error) {
    if (process.env.CI === 'true') throw error
    process.stderr.write(`skipped, because npm cannot install Zigbee2MQTT: ${(error as Error).message}\n`)
    return undefined
  }
  return { node, script }
}

/** A device that was paired long ago: Aqara's sensor for temperature, humidity and pressure, with a battery. */
export interface ZigbeeDevice {
  readonly address: string
  readonly networkAddress: number
  readonly name: string
}

export const deviceOf = (index: number): ZigbeeDevice => ({
  address: `0x00158d0000${(0x100000 + index).toString(16)}`,
  networkAddress: 0x1000 + index,
  name: `room-${index}`,
})

const endpoint = (inClusterList: readonly number[]) => ({
  '1': { profId: 260, epId: 1, devId: 24_321, inClusterList, outClusterList: [], clusters: {}, binds: [], meta: {} },
})

/** Its data folder, as if it had been in use for some time: configuration, and its database of paired devices. */
export function prepare(
  folder: string,
  devices: readonly ZigbeeDevice[],
  radioPort: number,
  mqtt: Record<string, unknown>,
): void {
  mkdirSync(folder, { recursive: true })
  const configuration = {
    version: 5,
    mqtt: { base_topic: 'zigbee2mqtt', client_id: 'zigbee2mqtt', ...mqtt },
    serial: { port: `tcp://127.0.0.1:${radioPort}`, adapter: 'zigate' },
    homeassistant: { enabled: true },
    frontend: { enabled: false },
    availability: { enabled: true },
    advanced: {
      log_level: 'debug',
      log_output: ['console'],
      log_namespaced_levels: { zh: 'info', zhc: 'info' },
      channel: NETWORK.channel,
      pan_id: NETWORK.panId,
      ext_pan_id: [...Buffer.from(NETWORK.extendedPanId, 'hex')],
      network_key: Array.from({ length: 16 }, (_, i) => i),
    },
    devices: Object.fromEntries(devices.map(({ address, name }) => [address, { friendly_name: name }])),
  }
  writeFileSync(join(folder, 'configuration.yaml'), stringify(configuration))
  const paired = { interviewCompleted: true, interviewState: 'SUCCESSFUL', meta: {}, epList: [1], lastSeen: Date.now() }
  const coordinator = { id: 1, type: 'Coordinator', ieeeAddr: `0x${NETWORK.address}`, nwkAddr: 0, endpoints: endpoint([]) }
  const rows = devices.map(({ address, networkAddress }, i) => ({
    ...{ id: i + 2, type: 'EndDevice', ieeeAddr: address, nwkAddr: networkAddress, endpoints: endpoint([0, 1026, 1027, 1029]) },
    ...{ manufId: 4151, manufName: 'LUMI', modelId: 'lumi.weather', powerSource: 'Battery' },
  }))
  const lines = [coordinator, ...rows].map((row) => JSON.stringify({ ...row, ...paired }))
  writeFileSync(join(folder, 'database.db'), `${lines.join('\n')}\n`)
}

/** Zigbee2MQTT as it is started in production. */
export class Zigbee2Mqtt {
  readonly child: ChildProcess
  /** Rejected when it ends. */
  readonly ended: Promise<never>
  readonly #lines: string[] = []
  #read = 0
  #wake: (() => void) | undefined

  constructor({ node, script }: Installed, folder: string) {
    const env = { ...process.env, ZIGBEE2MQTT_DATA: folder, Z2M_ONBOARD_NO_SERVER: '1' }
    // Not in the checkout, whose commit it would take for its own, and build itself.
    this.child = spawn(node, [script], { cwd: folder, env, stdio: ['ignore', 'pipe', 'inherit'] })
    this.ended = once(this.child, 'exit').then(([code]) => Promise.reject(new Error(`Zigbee2MQTT ended with ${code}`)))
    this.ended.catch(() => {})
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      this.#lines.push(line)
      this.#wake?.()
    })
  }

  /** The next line of its log that matches. */
  async logged(pattern: RegExp): Promise<void> {
    for (;;) {
      while (this.#read < this.#lines.length) if (pattern.test(this.#lines[this.#read++]!)) return
      const more = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      await Promise.race([more, this.ended])
    }
  }

  /** Lines at level error: `[2027-01-15 08:00:00] error: ...`, coloured. */
  get errors(): readonly string[] {
    return this.#lines.filter((line) => /^\[[^\]]*\] \S*error\S*:/.test(line))
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const exited = once(this.child, 'exit')
    this.child.kill(signal)
    await exited
  }
}

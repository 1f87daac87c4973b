import { Option } from 'commander'
import { StartError } from '../../base/start-error.ts'
import type { TopicRef } from '../../mqttsn/client.ts'
import type { SensorOptions } from './sensor.ts'

/** Flags common to all sensor commands, named as in mqtt-sn-tools. */
export interface SensorFlags {
  readonly host: string
  readonly port: string
  readonly id?: string
  readonly keepAlive: string
  readonly debug?: true
  readonly trace?: true
  readonly fe?: true
  readonly wlnid?: string
  readonly cport: string
  readonly tRetry: string
  readonly nRetry: string
}

export const sensorFlags = (): Option[] => [
  new Option('-h, --host <address>', 'address of the gateway').default('127.0.0.1'),
  new Option('-p, --port <number>', 'UDP port of the gateway').default('1884'),
  new Option('-i, --id <client id>', 'client id (default: roost-sn- and the process id)'),
  new Option('-k, --keep-alive <seconds>', 'keep alive; 0 means none').default('10'),
  new Option('-d, --debug', 'log events to standard error'),
  new Option('--trace', 'log every datagram to standard error, in hex and decoded'),
  new Option('--fe', 'encapsulate every message as a forwarder does'),
  new Option('--wlnid <id>', 'with --fe: id of the wireless node, a number or hex digits after 0x (default: the process id)'),
  new Option('--cport <number>', 'UDP source port; 0 means any').default('0'),
  new Option('--t-retry <seconds>', 'retransmission interval').default('10'),
  new Option('--n-retry <number>', 'number of retransmissions').default('3'),
]

/** Returns the options of a sensor. @throws StartError that names the flag */
export function sensorOptions(flags: SensorFlags, cleanSession: boolean, trace: (line: string) => void): SensorOptions {
  const clientId = flags.id ?? `roost-sn-${process.pid}`
  if (clientId === '') throw new StartError('-i: expected a client id, got nothing')
  return {
    host: flags.host,
    port: wholeFlag(flags.port, '-p', 1, 65_535),
    sourcePort: wholeFlag(flags.cport, '--cport', 0, 65_535),
    clientId,
    cleanSession,
    keepAliveSeconds: wholeFlag(flags.keepAlive, '-k', 0, 65_535),
    tRetryMs: realFlag(flags.tRetry, '--t-retry', 0.1, 3600) * 1000,
    nRetry: wholeFlag(flags.nRetry, '--n-retry', 0, 100),
    nodeId: nodeId(flags),
    trace: flags.trace === true ? trace : undefined,
  }
}

export function wholeFlag(text: string, flag: string, min: number, max: number): number {
  const value = Number(text)
  if (/^-?\d+$/.test(text) && value >= min && value <= max) return value
  throw new StartError(`${flag}: expected a whole number from ${min} to ${max}, got ${JSON.stringify(text)}`)
}

export function realFlag(text: string, flag: string, min: number, max: number): number {
  const value = Number(text)
  if (/^\d+(\.\d+)?$/.test(text) && value >= min && value <= max) return value
  throw new StartError(`${flag}: expected a number from ${min} to ${max}, got ${JSON.stringify(text)}`)
}

/**
 * Returns the topic with this name: a short topic if it has two characters, as in mqtt-sn-tools, otherwise one to be
 * registered.
 */
export function topicNamed(name: string): TopicRef {
  if (!/^[!-~]{2}$/.test(name) || /[+#]/.test(name)) return name
  return { topicIdType: 'short', topicId: (name.charCodeAt(0) << 8) | name.charCodeAt(1) }
}

export const predefinedTopic = (text: string): TopicRef => ({
  topicIdType: 'predefined',
  topicId: wholeFlag(text, '-T', 1, 65_534),
})

/** Collects the values of a flag that can be repeated. */
export const several = (value: string, before: readonly string[] = []): string[] => [...before, value]

function nodeId({ fe, wlnid }: SensorFlags): Uint8Array | undefined {
  if (fe !== true) {
    if (wlnid !== undefined) throw new StartError('--wlnid: needs --fe too')
    return undefined
  }
  const digits = /^0x((?:[\da-f]{2}){1,252})$/i.exec(wlnid ?? '')?.[1]
  if (digits !== undefined) return Uint8Array.from(Buffer.from(digits, 'hex'))
  if (wlnid?.startsWith('0x')) throw new StartError('--wlnid: expected 1 to 252 bytes in hex digits after 0x')
  const number = wlnid === undefined ? process.pid & 0xffff : wholeFlag(wlnid, '--wlnid', 0, 65_535)
  return Uint8Array.of(number >> 8, number & 0xff)
}

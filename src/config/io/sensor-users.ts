import { ClientPattern } from '../../base/client-pattern.ts'
import { didYouMean } from '../../base/nearest.ts'
import { type Network, parseNetwork } from '../../base/networks.ts'
import { StartError } from '../../base/start-error.ts'
import { type SensorDefaults, type SensorRule, SensorRules } from '../../gateway/sensor-rules.ts'
import { type Config, inWords, sensorsAreOpen } from '../config.ts'
import { YamlFile, type YamlValue } from './yaml-file.ts'

const KEYS = ['clients', 'networks', 'username', 'deny']

/**
 * Returns the configured users of sensors. `others` provides the users with passwords, whose names sensors must not
 * have, and the bans.
 * @throws StartError
 */
export function openSensorUsers(config: Config, others: Pick<SensorDefaults, 'isTaken' | 'isBanned'> = {}): SensorRules {
  const username = config.snUsername
  const { qosM1Username } = config
  // If clients must authenticate, QoS -1 requires a user of its own (ruling A31).
  const mayQosM1 = sensorsAreOpen(config) || qosM1Username !== undefined
  if (config.qosM1 === true && !mayQosM1)
    throw new StartError('qos_m1: needs qos_m1_username too, where clients have to authenticate')
  const qosM1 = config.qosM1 ?? mayQosM1
  return new SensorRules(readSensorRules(config), { username, qosM1, qosM1Username, ...others })
}

/** Reads `sn_users`. @throws StartError */
export function readSensorRules({ snUsers }: Config): readonly SensorRule[] {
  return snUsers === undefined ? [] : parseSensorRules(YamlFile.readRegular(snUsers, 'sn_users'))
}

/** Reads `sn_users` again, in several turns of the event loop. @throws StartError */
export async function rereadSensorRules({ snUsers }: Config): Promise<readonly SensorRule[]> {
  return snUsers === undefined ? [] : parseSensorRules(await YamlFile.readInTurns(snUsers, 'sn_users'))
}

/**
 * Parses rules, of which the first that matches applies:
 *
 *     - clients: sensor-*
 *       networks: [10.1.0.0/16]
 *       username: sensors
 *     - networks: 192.0.2.0/24
 *       deny: true
 *
 * @throws StartError for the first invalid entry
 */
export function parseSensorRules(file: YamlFile): readonly SensorRule[] {
  return file.items(file.root, 'a list of rules').map((item) => parseRule(file, item))
}

function parseRule(file: YamlFile, item: YamlValue): SensorRule {
  const values = new Map<string, YamlValue>()
  for (const { key, keyAt, value } of file.pairs(item, 'a rule: clients, networks, and username or deny')) {
    if (!KEYS.includes(key)) throw new StartError(`${keyAt}: unknown key ${key}${didYouMean(key, KEYS)}`)
    values.set(key, value)
  }
  const clients = values.get('clients')
  const networks = values.get('networks')
  return {
    clients: clients && file.texts(clients, 'a client id or a list of them').map((pattern) => new ClientPattern(pattern)),
    networks: networks && file.texts(networks, 'a network or a list of them').map((text) => networkOf(text, networks)),
    user: userOf(item, values),
    line: lineOf(item),
  }
}

/** `at` is file, line and column. */
const lineOf = ({ at }: YamlValue): number => Number(/:(\d+):\d+$/.exec(at)![1])

function userOf({ at }: YamlValue, values: ReadonlyMap<string, YamlValue>): SensorRule['user'] {
  const username = values.get('username')
  const deny = values.get('deny')
  if ((username === undefined) === (deny === undefined)) throw new StartError(`${at}: expected either username or deny`)
  if (deny !== undefined) {
    if (deny.plain !== true) throw new StartError(`${deny.at}: deny: expected true, got ${inWords(deny.plain)}`)
    return 'deny'
  }
  const name = username!.plain
  if (typeof name !== 'string' || name === '')
    throw new StartError(`${username!.at}: username: expected a text, got ${inWords(name)}`)
  return { name }
}

function networkOf(text: string, { at }: YamlValue): Network {
  const network = parseNetwork(text)
  if (network === undefined)
    throw new StartError(`${at}: networks: expected an address or a network like 10.0.0.0/8, got ${inWords(text)}`)
  return network
}

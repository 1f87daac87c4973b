import { isAbsolute, resolve } from 'node:path'
import { StartError } from '../../base/start-error.ts'
import { resolveBridges, topicOfLine, type WrittenPair } from '../bridges.ts'
import { BRIDGE_OPTIONS, type BridgeKey, bridgeKey, WITHOUT_COUNTERPART } from '../options/bridges.ts'
import type { Setting } from './mosquitto-conf.ts'
import { scalar, withoutControls } from './yaml-lines.ts'

/** Receives what becomes of settings that are not taken unchanged. */
export interface BridgeReport {
  /** The setting is not in the resulting file. */
  lost(setting: Setting, what: string): void
  /** The setting is in the resulting file in another form. */
  changed(setting: Setting, what: string): void
}

type Plain = string | number | boolean

/** One `connection` of mosquitto.conf. */
interface Section {
  readonly connection: Setting
  /** What follows it, and is in the resulting file so far. */
  readonly taken: Setting[]
  readonly name: string
  readonly values: Map<BridgeKey, { readonly value: Plain; readonly setting: Setting }>
  readonly addresses: string[]
  readonly topics: string[]
  /** Of all systems' CAs: TLS without a key of its own. */
  osCertificates: boolean
  /** Why there is no bridge in the resulting file. */
  refusal: string | undefined
}

/** Settings of a `connection` that have no counterpart, with the reason. */
const NO_COUNTERPART: Readonly<Record<string, string>> = {
  ...{ bridge_tcp_keepalive: 'a dead connection is found with keepalive_interval' },
  ...{ bridge_tcp_user_timeout: 'a dead connection is found with keepalive_interval' },
  ...{ bridge_reload_type: 'changed bridges take effect at the next start' },
  ...{ bridge_require_ocsp: 'OCSP stapling of the remote broker is not checked' },
  ...{ bridge_max_topic_alias: 'topic aliases are used as far as the remote broker allows' },
  ...{ bridge_alpn_list: 'unknown' },
  ...{ bridge_ciphers: 'Node.js chooses the ciphers', 'bridge_ciphers_tls1.3': 'Node.js chooses the ciphers' },
}

/** Names of all settings that belong to the `connection` above them. */
export const isBridgeSetting = (name: string): boolean =>
  name === 'connection' || name === 'bridge_tls_use_os_certs' || Object.hasOwn(NO_COUNTERPART, name) || MOSQUITTO_NAMES.has(name)

const MOSQUITTO_NAMES: ReadonlySet<string> = new Set([
  ...['address', 'addresses', 'cleansession', 'clientid', 'idle_timeout', 'keepalive_interval', 'local_cleansession'],
  ...['local_clientid', 'local_password', 'local_username', 'notification_topic', 'notifications', 'notifications_local_only'],
  ...['password', 'remote_clientid', 'remote_password', 'remote_username', 'restart_timeout', 'round_robin', 'start_type'],
  ...['threshold', 'topic', 'try_private', 'username', 'bridge_alpn', 'bridge_attempt_unsubscribe', 'bridge_bind_address'],
  ...['bridge_cafile', 'bridge_capath', 'bridge_certfile', 'bridge_identity', 'bridge_insecure'],
  ...['bridge_keyfile', 'bridge_max_packet_size', 'bridge_outgoing_retain', 'bridge_protocol_version', 'bridge_psk'],
  ...['bridge_receive_maximum', 'bridge_session_expiry_interval', 'bridge_tls_version'],
])

/** Translates the `connection` blocks of a mosquitto.conf to entries of `bridges`. */
export class MosquittoBridges {
  readonly #dir: string
  readonly #report: BridgeReport
  readonly #sections: Section[] = []
  /** The `connection` to which the current line of each file belongs, even if a `listener` follows it. */
  readonly #current = new Map<string, Section>()

  constructor(dir: string, report: BridgeReport) {
    this.#dir = dir
    this.#report = report
  }

  take(setting: Setting): void {
    const { name, value, file } = setting
    if (name === 'connection') {
      this.#begin(setting)
      return
    }
    const section = this.#current.get(file)
    if (section === undefined) this.#report.lost(setting, 'not taken: there is no connection above it')
    else if (value === '') this.#report.lost(setting, 'not taken: it has no value')
    else this.#translate(section, setting)
  }

  /** Returns the entries as text, or '' if there are none. */
  yaml(): string {
    const entries = this.#sections.map((section) => this.#entry(section))
    return entries.every((entry) => entry === '') ? '' : `bridges:\n${entries.join('')}`
  }

  #begin(setting: Setting): void {
    const [written = ''] = setting.value.split(/\s+/)
    const name = written.replaceAll(/[^\w.:-]/g, '-').slice(0, 64) || 'bridge'
    const taken = this.#sections.some((other) => other.name === name)
    const section: Section = {
      ...{ connection: setting, taken: [], name, values: new Map(), addresses: [], topics: [], osCertificates: false },
      refusal: taken ? 'another connection has this name' : undefined,
    }
    if (name !== written) this.#report.changed(setting, `called ${name}`)
    this.#sections.push(section)
    this.#current.set(setting.file, section)
  }

  #translate(section: Section, setting: Setting): void {
    const { name } = setting
    const key = bridgeKey(name)
    const plainName = name.replace(/^bridge_/, '')
    if (name === 'bridge_psk' || name === 'bridge_identity') {
      section.refusal ??= WITHOUT_COUNTERPART[plainName]
      this.#report.lost(setting, `no counterpart: ${WITHOUT_COUNTERPART[plainName]}`)
    } else if (Object.hasOwn(WITHOUT_COUNTERPART, plainName)) this.#report.lost(setting, WITHOUT_COUNTERPART[plainName]!)
    else if (Object.hasOwn(NO_COUNTERPART, name)) this.#report.lost(setting, `no counterpart: ${NO_COUNTERPART[name]}`)
    else if (key === undefined && name !== 'bridge_tls_use_os_certs')
      this.#report.lost(setting, 'no counterpart: see the keys of bridges in docs/bridge.md')
    else if (this.#takes(section, setting, key)) section.taken.push(setting)
  }

  /** False if the value is not valid, which has been reported. */
  #takes(section: Section, setting: Setting, key: BridgeKey | 'topics' | undefined): boolean {
    const { value } = setting
    if (key === undefined) section.osCertificates = isTrue(value)
    else if (key === 'addresses') section.addresses.push(...value.split(/\s+/))
    else if (key === 'topics') return this.#topic(section, setting)
    else return this.#put(section, setting, key)
    return true
  }

  #topic(section: Section, setting: Setting): boolean {
    try {
      topicOfLine(setting.value, '')
      section.topics.push(setting.value)
      return true
    } catch (error) {
      this.#report.lost(setting, `not taken${(error as Error).message}`)
      return false
    }
  }

  #put(section: Section, setting: Setting, key: BridgeKey): boolean {
    const { value } = setting
    const isOldTls = key === 'tls_version' && /^tlsv1(\.[01])?$/.test(value)
    // 0 is no limit there, and the global limit here.
    if (key === 'max_packet_size' && value === '0') return true
    const written = asWritten(key, isOldTls ? 'tlsv1.2' : value)
    if (!BRIDGE_OPTIONS[key].schema.safeParse(written).success) {
      this.#report.lost(setting, `not taken: expected ${BRIDGE_OPTIONS[key].expected}`)
      return false
    }
    if (isOldTls) this.#report.changed(setting, 'tlsv1.2 is the oldest that there is')
    const before = section.values.get(key)
    if (before !== undefined) this.#report.lost(before.setting, 'not taken: given again below')
    const isPath = 'path' in BRIDGE_OPTIONS[key]
    const path = isPath && !isAbsolute(value) ? resolve(this.#dir, value) : undefined
    if (path !== undefined) this.#report.changed(setting, `relative path: taken as ${path}`)
    section.values.set(key, { value: path ?? written, setting })
    return true
  }

  #entry(section: Section): string {
    const { name, values, topics, connection } = section
    const isSecure = section.osCertificates || TLS_KEYS.some((key) => values.has(key))
    // Without a CA Mosquitto does not use TLS, whatever this says.
    if (!isSecure) values.delete('insecure')
    const addresses = section.addresses.map((written) => (section.osCertificates ? secureUrl(written) : written))
    const password = values.get('remote_password')
    if (password !== undefined && !values.has('remote_username')) {
      values.delete('remote_password')
      this.#report.lost(password.setting, 'not taken: needs remote_username too')
    }
    const pairs: [string, Plain | readonly string[]][] = [
      ['name', name],
      ...(addresses.length === 0 ? [] : [['addresses', addresses] satisfies [string, string[]]]),
      ...Array.from(values, ([key, { value }]): [string, Plain] => [key, value]),
      ...(topics.length === 0 ? [] : [['topics', topics] satisfies [string, string[]]]),
    ]
    const refusal = section.refusal ?? refusalOf(pairs)
    if (refusal !== undefined) {
      const what = `not taken: ${refusal}`
      this.#report.lost(connection, what)
      for (const setting of section.taken) this.#report.lost(setting, 'not taken, because its connection is not')
      return ''
    }
    const lines = pairs.map(([key, value]) =>
      typeof value === 'object'
        ? `    ${key}:\n${value.map((item) => `      - ${JSON.stringify(withoutControls(item))}\n`).join('')}`
        : `    ${key}: ${scalar(value)}\n`,
    )
    return lines.join('').replace(/^ {4}/, '  - ')
  }
}

const TLS_KEYS = ['cafile', 'capath', 'certfile', 'keyfile'] as const

/** Why our own loader would refuse the entry; `undefined` if it would not. */
function refusalOf(pairs: readonly (readonly [string, Plain | readonly string[]])[]): string | undefined {
  const written = pairs.map(
    ([key, plain]): WrittenPair => ({
      ...{ key, keyAt: '', at: '', plain },
      items: typeof plain === 'object' ? plain.map((item) => ({ plain: item, at: '', pairs: undefined })) : undefined,
    }),
  )
  try {
    resolveBridges([{ at: '', pairs: written }])
    return undefined
  } catch (error) {
    if (error instanceof StartError) return error.message.replace(/^bridges\[0\][.:]? ?/, '')
    throw error
  }
}

const secureUrl = (written: string): string => {
  const hasPort = /[^:\]]:\d+$|\]:\d+$/.test(written)
  return `mqtts://${hasPort ? written : `${written}:1883`}`
}

const isTrue = (value: string): boolean => value === 'true' || value === '1'

/** Converts Mosquitto's text to the type that our option accepts. */
function asWritten(key: BridgeKey, value: string): Plain {
  const { default: byDefault, expected } = BRIDGE_OPTIONS[key]
  if (expected === 'true or false' && /^(true|false|0|1)$/.test(value)) return isTrue(value)
  const isNumber = typeof byDefault === 'number' || key === 'max_packet_size'
  return isNumber && /^\d+$/.test(value) ? Number(value) : value
}

import { dirname, isAbsolute, resolve } from 'node:path'
import { masked } from '../../base/masked.ts'
import { isLoopback, NEEDS } from '../config.ts'
import { type Option, type OptionKey, options } from '../options.ts'
import { isBridgeSetting, MosquittoBridges } from './mosquitto-bridges.ts'
import { placeOf, type Setting } from './mosquitto-conf.ts'
import {
  CERTIFIED,
  COUNTERPARTS,
  inSeconds,
  isPlugin,
  isSecret,
  isTls13,
  isTrue,
  isUnknown,
  LOG_LEVELS,
  noCounterpart,
  PROTECTING,
  protects,
  type Scope,
  startsDefault,
  TLS_13,
} from './mosquitto-options.ts'
import { type KnownPlugin, knownPlugin, loadsPlugin, verifiesUsers } from './mosquitto-plugins.ts'
import { block, comment, withoutControls, type YamlLine } from './yaml-lines.ts'

/** The result of importing a mosquitto.conf. */
export interface Imported {
  readonly yaml: string
  /**
   * Settings that could not be imported unchanged, one line each:
   * `mosquitto.conf:12: log_facility 5: no counterpart: ...`.
   */
  readonly findings: readonly string[]
  /** A summary of the findings. */
  readonly summary: ImportSummary
}

export interface ImportSummary {
  /** Number of settings that are in the resulting file. */
  readonly carriedOver: number
  /** Number of settings that are in the resulting file in another form, and of listeners that were changed. */
  readonly attention: number
  /** Names of settings that are not in the resulting file. */
  readonly lost: readonly string[]
  /** True if one of the lost or unknown settings kept clients or messages away from a listener. */
  readonly losesProtection: boolean
  /** Where Mosquitto saves its state, which is not imported; undefined if it saves none. */
  readonly state: string | undefined
  /** Mosquitto knew its users by passwords, certificates or a plugin. */
  readonly verifiesUsers: boolean
}

const byKey = new Map(options.map((option) => [option.key, option]))
const EVERYWHERE = '::'

/**
 * Translates the settings read by `readConf`. `path` is the main file; relative paths are relative to its directory.
 */
export function importMosquitto(settings: readonly Setting[], path: string): Imported {
  return new Translation(settings, path).result()
}

type Plain = string | number | boolean

/** The settings of the broker, or of one listener. */
class Section {
  readonly lines: YamlLine[] = []
  /** A setting that protected it in Mosquitto is missing. */
  exposed = false
  /** Only clients whose user name Roost cannot take from their certificate could connect. */
  closed = false
  readonly #at = new Map<OptionKey, number>()

  get(key: OptionKey): Plain | undefined {
    return this.#line(key)?.value
  }

  /** Returns the line that sets the option, `mosquitto.conf:12: certfile`; `undefined` if no line does. */
  place(key: OptionKey): string | undefined {
    return this.#line(key)?.place
  }

  set(key: OptionKey, value: Plain, more: { readonly note?: string; readonly place?: string } = {}): void {
    this.delete(key)
    this.#at.set(key, this.lines.length)
    this.lines.push({ key, value, ...more })
  }

  delete(key: OptionKey): void {
    const at = this.#at.get(key)
    if (at !== undefined) this.lines[at] = {}
    this.#at.delete(key)
  }

  #line(key: OptionKey): YamlLine | undefined {
    return this.lines[this.#at.get(key) ?? -1]
  }
}

class Translation {
  readonly #settings: readonly Setting[]
  readonly #dir: string
  readonly #findings: string[] = []
  readonly #broker = new Section()
  readonly #byDefault = new Section()
  readonly #listeners: Section[] = []
  /** Listeners that are not for MQTT. */
  readonly #dropped = new Set<Section>()
  /**
   * The listener to which the current line of each file applies. An included file starts with the default listener, as
   * the main file does.
   */
  readonly #current = new Map<string, Section>()
  readonly #perListener: boolean
  /** The file to which findings about the configuration as a whole refer. */
  readonly #path: string
  readonly #startsDefault: boolean
  readonly #lost: string[] = []
  readonly #bridges: MosquittoBridges
  /** Findings about bridges, as comments above them. */
  readonly #aboutBridges = new Section()
  /** Number of settings that were replaced by a later one. */
  #replaced = 0
  #attention = 0
  #losesProtection = false
  #logTypes: Setting[] = []
  #logNowhere = false
  /** `log_dest stdout`. */
  #logStdout: Setting | undefined
  /** The last plugin of each file, to which options apply, and the section that it is for. */
  readonly #plugins = new Map<string, { readonly plugin: KnownPlugin | undefined; readonly section: Section }>()

  constructor(settings: readonly Setting[], path: string) {
    this.#settings = settings
    this.#path = path
    this.#dir = dirname(resolve(path))
    this.#bridges = new MosquittoBridges(this.#dir, {
      lost: (setting, what) => this.#lose(this.#aboutBridges, setting, what),
      changed: (setting, what) => this.#report(this.#aboutBridges, setting, what),
    })
    this.#perListener = settings.some(({ name, value }) => name === 'per_listener_settings' && isTrue(value))
    const above = new Set<string>()
    this.#startsDefault = settings.some(({ name, value, file }) => {
      if (name === 'listener') above.add(file)
      // These two apply to the default listener, regardless of their position.
      return startsDefault(name, value) && (!above.has(file) || name === 'port' || name === 'bind_address')
    })
  }

  result(): Imported {
    for (const setting of this.#settings) this.#take(setting)
    this.#finishState()
    this.#finishLog()
    const sections = this.#sections()
    for (const section of sections) this.#finishListener(section)
    this.#finishConnections(sections)
    const bridges = this.#bridges.yaml()
    const summary = {
      carriedOver: this.#settings.length - this.#lost.length - this.#replaced,
      attention: this.#attention,
      lost: [...new Set(this.#lost)],
      losesProtection: this.#losesProtection,
      state: this.#savedState(),
      verifiesUsers: this.#settings.some(({ name, value }) => verifiesUsers(name, value)),
    }
    const yaml = this.#yaml(sections) + block(this.#aboutBridges.lines, '') + bridges
    return { yaml, findings: this.#findings, summary }
  }

  #take(setting: Setting): void {
    const { name, value, file } = setting
    if (isBridgeSetting(name)) {
      this.#bridges.take(setting)
      return
    }
    const listener = this.#current.get(file) ?? this.#byDefault
    if (this.#takesPlugin(setting, listener)) return
    if (name === 'protocol' && value === 'http_api') {
      this.#dropped.add(listener)
      listener.exposed = true
      this.#lose(this.#broker, setting, 'not taken, nor its listener: see http and the other http_ options')
      return
    }
    const reason = noCounterpart(name)
    const counterpart = COUNTERPARTS.get(name)
    if (reason !== undefined) {
      if (protects(name, value))
        this.#sectionFor(this.#perListener || !isPlugin(name) ? 'listener' : 'broker', listener).exposed = true
      // An unknown setting above all listeners may have applied to each of them.
      if (isUnknown(name) && listener === this.#byDefault) this.#broker.exposed = true
      this.#lose(listener, setting, reason)
    } else if (value === '') {
      if (counterpart !== undefined && PROTECTING.has(counterpart.key))
        this.#sectionFor(counterpart.scope, listener).exposed = true
      this.#lose(listener, setting, 'not taken: it has no value')
    } else if (counterpart === undefined) this.#translate(setting, listener)
    else this.#put(this.#sectionFor(counterpart.scope, listener), setting, counterpart.key)
  }

  /** Takes a plugin that comes with Mosquitto, and its options. */
  #takesPlugin(setting: Setting, listener: Section): boolean {
    const { name, value, file } = setting
    if (loadsPlugin(name)) {
      const plugin = knownPlugin(value)
      this.#plugins.set(file, { plugin, section: this.#sectionFor(name === 'global_plugin' ? 'broker' : 'either', listener) })
      if (plugin !== 'persist_sqlite') return plugin !== undefined
      this.#broker.set('memory', false)
      this.#report(
        this.#broker,
        setting,
        'Roost keeps its state without a plugin; what is in the file of this one is not imported',
      )
      return true
    }
    const { plugin, section } = this.#plugins.get(file) ?? {}
    if (section === undefined || plugin === undefined || plugin === 'persist_sqlite' || value === '') return false
    if (name !== `plugin_opt_${plugin}`) return false
    this.#put(section, setting, plugin)
    return true
  }

  #sectionFor(scope: Scope, listener: Section): Section {
    return scope === 'listener' || (scope === 'either' && this.#perListener) ? listener : this.#broker
  }

  /** Translates a setting that needs more than a new name. */
  #translate(setting: Setting, listener: Section): void {
    const { name, value } = setting
    const suites = String(listener.get('ciphers') ?? '')
      .split(':')
      .filter(Boolean)
    switch (name) {
      case 'listener':
        this.#openListener(setting)
        break
      case 'port':
        this.#put(this.#byDefault, setting, 'port')
        break
      case 'bind_address':
        this.#put(this.#byDefault, setting, 'host')
        break
      case 'socket_domain':
        if (listener.get('host') !== undefined) this.#lose(listener, setting, 'not imported: host says which')
        else if (value === 'ipv4') this.#put(listener, setting, 'host', '0.0.0.0')
        else if (value === 'ipv6') this.#put(listener, setting, 'host', EVERYWHERE)
        else this.#lose(listener, setting, 'not taken: expected ipv4 or ipv6')
        break
      case 'ciphers': {
        const newer = suites.filter(isTls13)
        listener.delete('ciphers')
        this.#put(listener, setting, 'ciphers', [...(newer.length > 0 ? newer : TLS_13), value].join(':'))
        break
      }
      case 'ciphers_tls1.3': {
        const older = suites.filter((suite) => !isTls13(suite))
        listener.delete('ciphers')
        this.#put(listener, setting, 'ciphers', [value, ...(older.length > 0 ? older : ['DEFAULT'])].join(':'))
        break
      }
      case 'persistence':
      case 'retained_persistence':
        if (isBoolean(value)) this.#put(this.#broker, setting, 'memory', !isTrue(value))
        else this.#lose(this.#broker, setting, 'not taken: expected true or false')
        break
      case 'persistent_client_expiration':
        this.#put(this.#broker, setting, name, inSeconds(value) ?? value)
        break
      case 'log_type':
        // Log types accumulate; `none` discards the preceding ones.
        this.#logTypes = value === 'none' ? [setting] : [...this.#logTypes.filter((one) => one.value !== 'none'), setting]
        break
      case 'log_dest':
        this.#takeLogDestination(setting)
        break
      case 'enable_proxy_protocol':
        if (value === '1' || value === '2') this.#put(listener, setting, 'proxy_protocol', true)
        else this.#lose(listener, setting, 'not taken: expected 1 or 2')
        break
      case 'websockets_origin': {
        // Each line adds another value.
        const before = listener.get(name)
        listener.delete(name)
        this.#put(listener, setting, name, before === undefined ? value : `${before}, ${value}`)
        break
      }
      case 'include_dir':
        this.#lose(this.#broker, setting, 'not taken: only the main file may include others')
        break
      case 'per_listener_settings':
        this.#put(this.#broker, setting, name)
    }
  }

  #openListener(setting: Setting): void {
    const section = new Section()
    this.#listeners.push(section)
    this.#current.set(setting.file, section)
    const [port = '', host] = setting.value.split(/\s+/)
    if (port === '0' && host?.includes('/')) this.#put(section, setting, 'socket_path', host)
    else {
      this.#put(section, setting, 'port', port)
      if (host !== undefined) this.#put(section, setting, 'host', host)
    }
  }

  /** Adds a setting whose value our option accepts. Any other value is reported. */
  #put(section: Section, setting: Setting, key: OptionKey, value: Plain = setting.value): void {
    const option = byKey.get(key)!
    const plain = key === 'tls_version' && value === 'tlsv1.1' ? 'tlsv1.2' : asWritten(option, value)
    if (!option.schema.safeParse(plain).success) {
      section.exposed ||= PROTECTING.has(key)
      this.#lose(section, setting, `not taken: expected ${option.expected}`)
      return
    }
    const before = section.get(key)
    const path = option.path === true ? resolve(this.#dir, String(plain)) : undefined
    section.set(key, path ?? plain, { place: placeOf(setting) })
    if (before !== undefined) {
      this.#replaced++
      this.#report(section, setting, `given again: takes the place of ${before}`)
    }
    if (path !== undefined && !isAbsolute(String(plain))) this.#report(section, setting, `relative path: taken as ${path}`)
    if (value === 'tlsv1.1') this.#report(section, setting, 'tlsv1.2 is the oldest that there is')
  }

  #finishState(): void {
    if (this.#broker.get('memory') === undefined)
      this.#broker.set('memory', true, { note: 'Mosquitto keeps nothing unless configured to' })
  }

  /** Destinations accumulate; `none` discards the preceding ones. */
  #takeLogDestination(setting: Setting): void {
    const { value } = setting
    const [, path] = /^file\s+(.+)$/.exec(value) ?? []
    this.#logNowhere = value === 'none'
    if (path !== undefined) this.#put(this.#broker, setting, 'log_file', path)
    else if (value === 'stdout') this.#logStdout = setting
    else if (value === 'none') {
      this.#broker.delete('log_file')
      this.#logStdout = undefined
    } else this.#lose(this.#broker, setting, 'no counterpart: Roost logs to standard output, or to log_file')
  }

  /** Translates the log types: our log levels are ordered, whereas Mosquitto's types are a set. */
  #finishLog(): void {
    const types = this.#logTypes.map(({ value }) => value)
    for (const setting of this.#logTypes) {
      if (!LOG_LEVELS.has(setting.value)) this.#lose(this.#broker, setting, 'no counterpart: see log_level')
    }
    if (this.#logStdout !== undefined && this.#broker.get('log_file') !== undefined)
      this.#lose(this.#broker, this.#logStdout, 'not taken: with log_file the log goes there alone')
    const level = this.#logNowhere ? 'silent' : [...LOG_LEVELS].find(([type]) => types.includes(type))?.[1]
    const note = this.#logNowhere ? 'log_dest none' : `log_type ${types.join(', ')}`
    if (level !== undefined) this.#broker.set('log_level', level, { note })
  }

  /** Returns the listeners that Mosquitto starts. */
  #sections(): Section[] {
    if (this.#listeners.length === 0) return [this.#byDefault]
    const kept = this.#listeners.filter((section) => !this.#dropped.has(section))
    const listeners = kept.length > 0 ? kept : this.#listeners
    if (this.#startsDefault) {
      if (this.#byDefault.get('port') === undefined) this.#byDefault.set('port', 1883)
      return [this.#byDefault, ...listeners]
    }
    for (const { key, value, place, comment: text } of this.#byDefault.lines) {
      if (text !== undefined) this.#broker.lines.push({ comment: text })
      if (key === undefined) continue
      this.#note(this.#broker, `${place} ${value}: not taken: Mosquitto does not start the default listener`)
      this.#lost.push(key)
    }
    return listeners
  }

  #finishListener(section: Section): void {
    const local = this.#listeners.length === 0 && !this.#startsDefault
    if (section.get('use_identity_as_username') === true && section.get('use_subject_as_username') === true) {
      this.#note(section, `${section.place('use_subject_as_username')} true: not taken: use_identity_as_username counts`)
      section.delete('use_subject_as_username')
      this.#lost.push('use_subject_as_username')
    }
    // Removing an option whose requirement is missing can leave others without theirs, hence the repetition.
    for (const _ of NEEDS) {
      for (const [key, ...needed] of NEEDS) {
        const value = section.get(key)
        if (!isOn(value) || needed.some((other) => isOn(section.get(other)))) continue
        this.#note(section, `${section.place(key)} ${value}: not taken: needs ${needed.join(' or ')} too`)
        section.delete(key)
        this.#lost.push(key)
        section.closed ||= CERTIFIED.has(key) && (section.exposed || section.get('certfile') !== undefined)
        section.exposed ||= PROTECTING.has(key)
      }
    }
    if (section.get('socket_path') === undefined && section.get('host') === undefined && !local) section.set('host', EVERYWHERE)
    this.#guard(section, local)
  }

  /**
   * Closes a listener that would admit more clients than Mosquitto does. A client that could not connect to Mosquitto
   * from another machine must not be able to connect to Roost, and Roost must accept the resulting file. If Mosquitto
   * accepted no client at all, the result is `allow_anonymous: false`, which Roost never overrides.
   */
  #guard(section: Section, local: boolean): void {
    const own = (key: OptionKey): Plain | undefined => section.get(key) ?? this.#broker.get(key)
    // Roost refuses such a client without a certificate, as Mosquitto does, even if require_certificate is not true.
    const certified = [...CERTIFIED].some((key) => section.get(key) === true)
    const verifies = own('password_file') !== undefined || certified
    if (section.closed)
      section.set('allow_anonymous', false, { note: 'without a certificate no client could connect to Mosquitto' })
    else if (!local && !verifies && own('allow_anonymous') === undefined)
      section.set('allow_anonymous', false, { note: "Mosquitto's default where a listener is given" })
    const anonymous = own('allow_anonymous') ?? local
    if (local && verifies && own('allow_anonymous') === undefined) {
      this.#broker.set('allow_anonymous', true, { note: 'without a listener Mosquitto accepts every client on this machine' })
    }
    const exposed = section.exposed || this.#broker.exposed
    if (!exposed && (verifies || anonymous === true)) return
    this.#losesProtection ||= exposed
    this.#attention++
    const [socket, port, host] = [section.get('socket_path'), section.get('port') ?? 1883, section.get('host')]
    const place =
      section.place(socket === undefined ? 'port' : 'socket_path') ?? section.place('host') ?? `${this.#path}: default listener`
    const why = exposed ? 'an option that protects it has no counterpart' : 'no client could connect to Mosquitto here'
    const isClosed = !verifies && anonymous !== true
    const reach = isClosed ? 'no client can connect' : 'programs on this machine may connect'
    if (host === undefined || isLoopback(String(host))) this.#note(section, `${place} ${socket ?? port}: ${reach}: ${why}`)
    else {
      this.#note(section, `${place} ${port}: put on 127.0.0.1 instead of ${host}: ${why}; ${reach}`)
      section.set('host', '127.0.0.1')
    }
  }

  /**
   * Raises max_connections, the limit on all listeners together, if theirs add up to more: in Mosquitto listeners share
   * no limit.
   */
  #finishConnections(sections: readonly Section[]): void {
    if (this.#listeners.length === 0 || this.#broker.get('max_connections') !== undefined) return
    const most = Number(byKey.get('max_connections')!.default)
    const counts = sections.map((section) => Number(section.get('max_connections') ?? 0))
    if (counts.some((count) => count === -1) || counts.reduce((sum, count) => sum + count, 0) > most) {
      this.#broker.set('max_connections', -1, { note: 'of all listeners together' })
    }
  }

  #yaml(sections: readonly Section[]): string {
    const head = [
      `Imported from ${this.#path} by \`roost config import\`. Otherwise Roost's defaults apply, which are bounded:`,
      'max_packet_size, max_queued_bytes and max_connections have no bound in Mosquitto.',
    ].map((text) => `${comment(text)}\n`)
    if (this.#listeners.length === 0) return [...head, block([...this.#broker.lines, ...this.#byDefault.lines], '')].join('')
    const entries = sections.map(({ lines }) => block(lines, '    ', '  - '))
    return [...head, block(this.#broker.lines, ''), 'listeners:\n', ...entries].join('')
  }

  /** Returns the place where Mosquitto saves sessions and messages. */
  #savedState(): string | undefined {
    const of = (name: string): string | undefined => this.#settings.findLast((setting) => setting.name === name)?.value
    if (this.#broker.get('memory') === true) return undefined
    return resolve(this.#dir, of('persistence_location') ?? '', of('persistence_file') || 'mosquitto.db')
  }

  /** Reports a setting that is not in the resulting file. */
  #lose(section: Section, setting: Setting, what: string): void {
    this.#lost.push(setting.name)
    this.#finding(section, setting, what)
  }

  /** Reports a setting that is in the resulting file in another form. */
  #report(section: Section, setting: Setting, what: string): void {
    this.#attention++
    this.#finding(section, setting, what)
  }

  #finding(section: Section, setting: Setting, what: string): void {
    const value = isSecret(setting.name) ? '***' : masked(setting.value)
    this.#note(section, `${placeOf(setting)}${value === '' ? '' : ` ${value}`}: ${what}`)
  }

  #note(section: Section, what: string): void {
    const finding = withoutControls(what)
    this.#findings.push(finding)
    section.lines.push({ comment: finding })
  }
}

const isBoolean = (value: string): boolean => /^(true|false|0|1)$/.test(value)
const isOn = (value: Plain | undefined): boolean => value !== undefined && value !== false && value !== 'no'

/** Converts Mosquitto's text to the type that our option accepts. */
function asWritten({ expected, placeholder, default: byDefault }: Option, value: Plain): Plain {
  if (typeof value !== 'string') return value
  if (placeholder === 'number' && /^-?\d+$/.test(value)) return Number(value)
  const takesBoolean = typeof byDefault === 'boolean' || expected.includes('true')
  return takesBoolean && isBoolean(value) ? isTrue(value) : value
}

import type { OptionKey } from '../options.ts'
import { isBridgeSetting } from './mosquitto-bridges.ts'

/**
 * What a setting applies to: the broker; the preceding listener; or ('either') the broker, but with
 * `per_listener_settings` the preceding listener.
 */
export type Scope = 'broker' | 'listener' | 'either'

interface Counterpart {
  readonly scope: Scope
  readonly key: OptionKey
}

const same = (scope: Scope, ...keys: OptionKey[]): (readonly [string, Counterpart])[] => keys.map((key) => [key, { scope, key }])

/** Mosquitto options that have a counterpart with the same meaning. */
export const COUNTERPARTS: ReadonlyMap<string, Counterpart> = new Map([
  ...same('broker', 'check_retain_source', 'clientid_prefixes', 'max_inflight_bytes', 'max_inflight_messages', 'max_keepalive'),
  ...same('broker', 'memory_limit'),
  ...same('broker', 'max_packet_size', 'max_queued_bytes', 'max_queued_messages', 'message_size_limit', 'queue_qos0_messages'),
  ...same('broker', 'retain_available', 'set_tcp_nodelay', 'sys_interval', 'upgrade_outgoing_qos'),
  ...same('listener', 'cafile', 'capath', 'certfile', 'crlfile', 'keyfile', 'max_connections', 'max_topic_alias', 'maximum_qos'),
  ...same(
    'listener',
    'mount_point',
    'protocol',
    'require_certificate',
    'tls_version',
    'use_identity_as_username',
    'use_subject_as_username',
  ),
  ...same('either', 'acl_file', 'allow_anonymous', 'allow_zero_length_clientid', 'auto_id_prefix', 'password_file'),
  ['max_qos', { scope: 'listener', key: 'maximum_qos' }],
  ['global_max_clients', { scope: 'broker', key: 'max_sessions' }],
  ['global_max_connections', { scope: 'broker', key: 'max_connections' }],
  // Options of Mosquitto 2.1 that apply to the preceding listener even without per_listener_settings.
  ['listener_allow_anonymous', { scope: 'listener', key: 'allow_anonymous' }],
  ['listener_auto_id_prefix', { scope: 'listener', key: 'auto_id_prefix' }],
])

/** Options that need more than a new name; the translation has code for each. */
const TRANSLATED: readonly string[] = [
  'bind_address',
  'ciphers',
  'ciphers_tls1.3',
  'enable_proxy_protocol',
  'include_dir',
  'listener',
  'log_dest',
  'log_type',
  'per_listener_settings',
  'persistence',
  'persistent_client_expiration',
  'port',
  'retained_persistence',
  'socket_domain',
  'websockets_origin',
]

const because = (reason: string, ...names: string[]): (readonly [string, string])[] => names.map((name) => [name, reason])

const PLUGIN = 'plugins of Mosquitto cannot be loaded; see the jwt_ and http_auth_ options'
const SAVED = 'Roost has everything on disk before it acknowledges it'
const SERVICE = 'left to what starts the process, such as systemd'
const LOG_STYLE = 'Roost logs with times; see log_format and log_file'
const ENGINE = 'keys are read from PEM files'
const PSK = 'TLS with pre-shared keys is not supported; use certificates'
const OBSOLETE = 'obsolete; Mosquitto 2.0 ignores it too'

/** All other options of Mosquitto 2.0 and 2.1, with the reason why Roost has no counterpart. */
const NO_COUNTERPART: ReadonlyMap<string, string> = new Map([
  ...because(PLUGIN, 'auth_plugin', 'auth_plugin_deny_special_chars', 'plugin', 'global_plugin', 'plugin_load', 'plugin_use'),
  ...because(SAVED, 'autosave_interval', 'autosave_on_changes'),
  ...because('the files in data_dir have their own names', 'persistence_file'),
  ...because(SERVICE, 'pid_file', 'user'),
  ...because(LOG_STYLE, 'log_facility', 'log_timestamp', 'log_timestamp_format'),
  ...because('connections are logged from log_level info on', 'connection_messages'),
  ...because(ENGINE, 'tls_engine', 'tls_engine_kpass_sha1', 'tls_keyform'),
  ...because(PSK, 'psk_file', 'psk_hint'),
  ...because(OBSOLETE, 'ffdc_output', 'max_log_entries', 'retry_interval', 'store_clean_interval', 'trace_level', 'trace_output'),
  ...because('overlapping subscriptions always deliver as the specification says', 'allow_duplicate_messages'),
  ...because("give the interface's address as host", 'bind_interface'),
  ...because('Node.js chooses the parameters of the key exchange', 'dhparamfile'),
  ...because('Roost serves no files', 'http_dir'),
  ...because('client ids stay what clients say; session_ownership keeps others out of a session', 'use_username_as_clientid'),
  ...because('the WebSocket library has no such setting', 'websockets_headers_size', 'websockets_log_level'),
  ...because('buffers grow as they have to', 'packet_buffer_size'),
  ...because('each listener accepts all versions of MQTT', 'accept_protocol_versions'),
  ...because('the PROXY header is not asked whether the client used TLS', 'proxy_protocol_v2_require_tls'),
  ...because('a retained message expires when its publisher says so (Message Expiry Interval)', 'retain_expiry_interval'),
  ...because('the files in data_dir are those of Roost alone', 'persistence_location'),
  ...because('dates of client certificates are always checked', 'disable_client_cert_date_checks'),
  ...because('max_topic_alias counts for both directions', 'max_topic_alias_broker'),
  ...because('there is no control API', 'enable_control_api'),
])

/** Returns why a setting cannot be imported; `undefined` if it can. */
export function noCounterpart(name: string): string | undefined {
  if (COUNTERPARTS.has(name) || TRANSLATED.includes(name) || isBridgeSetting(name)) return undefined
  const reason = /^(auth|plugin)_opt_./.test(name) ? PLUGIN : NO_COUNTERPART.get(name)
  return reason === undefined ? 'unknown: Mosquitto 2.1 has no such option' : `no counterpart: ${reason}`
}

/**
 * Returns whether the option is unknown in all versions of Mosquitto covered here. Such an option may protect a
 * listener.
 */
export const isUnknown = (name: string): boolean => noCounterpart(name)?.startsWith('unknown') === true && !/^bridge_/.test(name)

/** Returns whether the value of this setting must not appear in a log or on a screen. */
export const isSecret = (name: string): boolean => /password$|psk$|kpass|_opt_/.test(name)

/**
 * Returns whether a setting before the first `listener` makes Mosquitto start its default listener in addition to the
 * others, as version 2.0.11 does.
 */
export const startsDefault = (name: string, value: string): boolean => {
  if (/^(max_connections -1|max_qos 2|maximum_qos 2|protocol mqtt|\S+ false)$/.test(`${name} ${value}`)) return false
  return DEFAULT_LISTENER.includes(name)
}

const DEFAULT_LISTENER = [
  ...['bind_address', 'bind_interface', 'port', 'socket_domain', 'max_connections', 'max_qos', 'maximum_qos', 'protocol'],
  ...['http_dir', 'use_username_as_clientid', 'cafile', 'capath', 'certfile', 'keyfile', 'tls_engine', 'tls_keyform'],
  ...['ciphers', 'ciphers_tls1.3', 'dhparamfile', 'psk_hint', 'require_certificate', 'crlfile', 'use_identity_as_username'],
  'use_subject_as_username',
]

/** Options that restrict access: without one of them, more is permitted. */
export const PROTECTING: ReadonlySet<OptionKey> = new Set([
  ...(['acl_file', 'certfile', 'clientid_prefixes', 'crlfile', 'keyfile', 'maximum_qos', 'mount_point'] as const),
  ...(['require_certificate', 'use_identity_as_username', 'use_subject_as_username'] as const),
  // Without these, the listener would differ from Mosquitto's.
  ...(['allow_anonymous', 'host', 'password_file', 'protocol', 'proxy_protocol', 'websockets_origin'] as const),
])

/** Options that take the user name from the certificate. */
export const CERTIFIED: ReadonlySet<OptionKey> = new Set(['use_identity_as_username', 'use_subject_as_username'] as const)

export const isPlugin = (name: string): boolean => /plugin$|^plugin_(load|use)$/.test(name)

/** Returns whether a setting without a counterpart restricted access. */
export const protects = (name: string, value: string): boolean =>
  isPlugin(name) ||
  isUnknown(name) ||
  /^(bind_interface|psk_hint|tls_engine)$/.test(name) ||
  (/^(use_username_as_clientid|proxy_protocol_v2_require_tls)$/.test(name) && isTrue(value))

export const isTrue = (value: string): boolean => value === 'true' || value === '1'

/** Mosquitto's log types with our levels, most verbose first. */
export const LOG_LEVELS: ReadonlyMap<string, string> = new Map([
  ['all', 'debug'],
  ['debug', 'debug'],
  ['information', 'info'],
  ['notice', 'info'],
  ['warning', 'warn'],
  ['error', 'error'],
  ['none', 'silent'],
])

/** Converts a duration such as `14d` to seconds. A month has 30 days and a year 365, as in Mosquitto. */
export function inSeconds(value: string): number | undefined {
  const [, count, unit] = /^(\d+)([hdwmy])$/.exec(value) ?? []
  const hours = { h: 1, d: 24, w: 168, m: 720, y: 8760 }[unit ?? '']
  return hours === undefined ? undefined : Number(count) * hours * 3600
}

/**
 * Node.js disables TLS 1.3 if a cipher list contains none of its ciphers, and older versions if the list contains no
 * others.
 */
export const TLS_13 = ['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256']
export const isTls13 = (suite: string): boolean => suite.startsWith('TLS_')

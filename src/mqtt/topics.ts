import { utf8Length } from '../base/bytes.ts'

/** The error in a topic name [5.0 section 4.7], '' if there is none. */
export function topicNameError(name: string): string {
  if (name === '') return 'empty topic name'
  return hasWildcard(name) ? 'wildcard in a topic name' : ''
}

/** Whether it has more bytes than an MQTT string can have (MQTT-4.7.3-3), as a topic may with a mount point added. */
// [MQTT-4.7.3-3]
export const exceedsBytes = (topic: string): boolean => topic.length > 0xffff / 3 && utf8Length(topic) > 0xffff

/** Whether it has more levels than `most`; counted without splitting it. */
export function exceedsLevels(topic: string, most: number): boolean {
  // A topic shorter than the bound cannot have that many slashes.
  if (topic.length < most) return false
  let levels = 1
  for (let at = topic.indexOf('/'); at >= 0; at = topic.indexOf('/', at + 1)) if (++levels > most) return true
  return false
}

export const hasWildcard = (topic: string): boolean => topic.includes('+') || topic.includes('#')

/**
 * The error in a topic filter: empty (MQTT-4.7.3-1), `#` (MQTT-4.7.1-1) or `+` (MQTT-4.7.1-2) out of place; '' if there is none.
 */
export function topicFilterError(filter: string): string {
  // [MQTT-4.7.3-1]
  if (filter === '') return 'empty topic filter'
  const hash = filter.indexOf('#')
  if (hash > 0 && filter[hash - 1] !== '/') return '# is not a whole level'
  // [MQTT-4.7.1-1]
  if (hash >= 0 && hash + 1 < filter.length) return '# is not the last level'
  for (let plus = filter.indexOf('+'); plus >= 0; plus = filter.indexOf('+', plus + 1)) {
    const isWhole = (plus === 0 || filter[plus - 1] === '/') && (plus + 1 === filter.length || filter[plus + 1] === '/')
    // [MQTT-4.7.1-2]
    if (!isWhole) return '+ is not a whole level'
  }
  return ''
}

/** A topic on which only the broker publishes, or a filter for such topics: wildcards do not match them (MQTT-4.7.2-1). */
export const isSysTopic = (topic: string): boolean => topic.startsWith('$SYS') && (topic.length === 4 || topic[4] === '/')

/** A topic on which clients may not publish: the broker's own, and `$CONTROL`, which clients of Mosquitto use to manage users. */
export const isReservedTopic = (topic: string): boolean =>
  topic.startsWith('$') && (isSysTopic(topic) || topic === '$CONTROL' || topic.startsWith('$CONTROL/'))

/**
 * Topics on which Mosquitto's bridges report whether they are connected: the only topics of the broker on which clients may
 * publish.
 */
const BRIDGE_STATE = /^\$SYS\/broker\/connection\/([^/]+)\/state$/

/** The client id in `$SYS/broker/connection/<client id>/state`; `undefined` for any other topic. */
export const bridgeOfStateTopic = (topic: string): string | undefined => BRIDGE_STATE.exec(topic)?.[1]

/** The parts of `$share/<group>/<filter>` [5.0 section 4.8.2]. */
export interface SharedFilter {
  readonly group: string
  /** What the group subscribes to. */
  readonly filter: string
}

/**
 * Parses the filter of a shared subscription; `undefined` if it is not shared. 'invalid': it starts like one, but has no group
 * (MQTT-4.8.2-1), a wildcard in the group (MQTT-4.8.2-2), or no filter after it.
 */
export function sharedFilter(filter: string): SharedFilter | 'invalid' | undefined {
  if (!filter.startsWith('$share')) return undefined
  if (filter.length > 6 && filter[6] !== '/') return undefined
  const slash = filter.indexOf('/', 7)
  // [MQTT-4.8.2-1]
  if (slash <= 7 || slash + 1 === filter.length) return 'invalid'
  const group = filter.slice(7, slash)
  // [MQTT-4.8.2-2]
  if (group.includes('+') || group.includes('#')) return 'invalid'
  return { group, filter: filter.slice(slash + 1) }
}

/** The filter for access rules: of a shared subscription, the one after the group. */
export function realFilter(filter: string): string {
  const shared = sharedFilter(filter)
  return shared === undefined || shared === 'invalid' ? filter : shared.filter
}

/**
 * Whether every topic that `filter` matches is matched by `rule` too [5.0 section 4.7]: `a/#` covers `a`, `a/+/b` and `a/#`, and
 * `#` covers nothing that starts with `$`. A topic name is a filter that matches itself, so this also tells whether a filter
 * matches a topic.
 */
export function covers(rule: string, filter: string): boolean {
  // Both match everything with a first level that does not start with $.
  if (rule === '+/#' && filter === '#') return true
  let at = 0
  let from = 0
  for (;;) {
    const ruleEnd = levelEnd(rule, at)
    const end = levelEnd(filter, from)
    const wild = ruleEnd - at === 1 ? rule[at] : ''
    // MQTT-4.7.2-1
    if ((wild === '#' || wild === '+') && from === 0 && filter.startsWith('$')) return false
    if (wild === '#') return true
    if (end - from === 1 && filter[from] === '#') return false
    if (wild !== '+' && (ruleEnd - at !== end - from || !rule.startsWith(filter.slice(from, end), at))) return false
    if (end === filter.length) return ruleEnd === rule.length || rule.slice(ruleEnd) === '/#'
    if (ruleEnd === rule.length) return false
    at = ruleEnd + 1
    from = end + 1
  }
}

/**
 * The intersection of two filters: of `a/+` and `+/b` it is `a/b`, of `a/#` and `a` it is `a`. `undefined` if no topic matches
 * both. Wildcards in the first level do not match a leading `$` (MQTT-4.7.2-1).
 */
export function intersection(one: string, other: string): string | undefined {
  const [a, b] = [one.split('/'), other.split('/')]
  const isHidden = (levels: string[], wild: string[]): boolean =>
    levels[0]!.startsWith('$') && (wild[0] === '+' || wild[0] === '#')
  if (isHidden(a, b) || isHidden(b, a)) return undefined
  const common: string[] = []
  for (let i = 0; ; i++) {
    const [left, right] = [a[i], b[i]]
    if (left === '#') return [...common, ...b.slice(i)].join('/')
    if (right === '#') return [...common, ...a.slice(i)].join('/')
    if (left === undefined || right === undefined) return left === right ? common.join('/') : undefined
    if (left !== '+' && right !== '+' && left !== right) return undefined
    common.push(left === '+' ? right : left)
  }
}

function levelEnd(topic: string, from: number): number {
  const slash = topic.indexOf('/', from)
  return slash < 0 ? topic.length : slash
}

import { stringBytes } from '../base/memory-costs.ts'
import { covers, intersection, topicFilterError } from '../mqtt/topics.ts'
import { Answers, type Remembered } from './remembered.ts'

export type Permission = 'read' | 'write' | 'readwrite' | 'deny'

export interface AclRule {
  readonly permission: Permission
  /** In a pattern, %c and %u may stand as whole levels. */
  readonly filter: string
  /** Where it stands in its file; absent for rules that a login has brought, and for those with names inserted. */
  readonly line?: number
}

/** The client to which rules are applied. */
export interface AclSubject {
  readonly clientId: string
  readonly username: string | undefined
}

/** An invalid line of a file. */
export interface AclError {
  readonly line: number
  readonly reason: string
}

/** The rules of one `acl_file`, in Mosquitto's format. Without any rules, clients are allowed nothing. */
export class Acl {
  readonly #anonymous: readonly AclRule[]
  readonly #users: ReadonlyMap<string, readonly AclRule[]>
  readonly #patterns: readonly AclRule[]

  constructor(anonymous: readonly AclRule[], users: ReadonlyMap<string, readonly AclRule[]>, patterns: readonly AclRule[]) {
    this.#anonymous = anonymous
    this.#users = users
    this.#patterns = patterns
  }

  /** True if there are no rules, so that clients are allowed nothing. */
  get isEmpty(): boolean {
    return (
      this.#anonymous.length === 0 && this.#patterns.length === 0 && [...this.#users.values()].every((own) => own.length === 0)
    )
  }

  /**
   * Returns whether the rules allow every client to read and publish everything; 'anonymous': every client without a
   * user name.
   */
  permitsAll(who: 'anonymous' | 'everyone'): boolean {
    return hasEverything(who === 'anonymous' ? [...this.#anonymous, ...this.#patterns] : this.#patterns)
  }

  /** Returns the rules of this client, with its names inserted into the patterns. */
  rulesFor({ clientId, username }: AclSubject): RuleSet {
    const own = username === undefined ? this.#anonymous : (this.#users.get(username) ?? [])
    const patterns = this.#patterns.flatMap((rule) => {
      const filter = withNames(rule, clientId, username)
      return filter === undefined ? [] : [{ permission: rule.permission, filter }]
    })
    return new RuleSet([...own, ...patterns], own.length)
  }

  /** Returns the rules of this client as `rulesFor` does, each with its line, and the patterns that do not apply to it. */
  linesFor({ clientId, username }: AclSubject): readonly ExplainedRule[] {
    const own = username === undefined ? this.#anonymous : (this.#users.get(username) ?? [])
    return [
      ...own.map((rule) => ({ permission: rule.permission, line: rule.line, filter: rule.filter, pattern: undefined })),
      ...this.#patterns.map((rule) => {
        const filter = withNames(rule, clientId, username)
        return { permission: rule.permission, line: rule.line, filter, pattern: rule.filter }
      }),
    ]
  }
}

/** A rule as it applies to one client. */
export interface ExplainedRule {
  readonly permission: Permission
  /** With the names of the client inserted; `undefined` for a pattern that does not apply to it. */
  readonly filter: string | undefined
  /** The pattern as written, if it is one. */
  readonly pattern: string | undefined
  readonly line: number | undefined
}

const hasEverything = (rules: readonly AclRule[]): boolean =>
  ['read', 'write'].every((right) =>
    rules.some(({ permission, filter }) => filter === '#' && (permission === right || permission === 'readwrite')),
  ) && !rules.some(({ permission }) => permission === 'deny')

/**
 * Returns the filter of a pattern with the names inserted; `undefined` if it would allow more than a single level with
 * exactly this text, or something else. A client whose id is `#` is allowed nothing, and a client whose id is `$SYS`
 * gets no access by `%c/#`, because no wildcard would match there. In a `deny` rule, a name may cover more than one
 * level.
 */
function withNames({ permission, filter }: AclRule, clientId: string, username: string | undefined): string | undefined {
  const levels: string[] = []
  for (const level of filter.split('/')) {
    const isName = level === '%c' || level === '%u'
    const text = !isName ? level : level === '%c' ? clientId : username
    if (text === undefined) return undefined
    if (isName && permission !== 'deny' && !isPlain(text, levels.length === 0)) return undefined
    levels.push(text)
  }
  const text = levels.join('/')
  // Only an inserted name can have put `#` before other levels.
  return permission === 'deny' ? text.replace(/(^|\/)#\/.*$/s, '$1#') : text
}

const isPlain = (name: string, isFirst: boolean): boolean =>
  name !== '' && !/[+#/\0]/.test(name) && !(isFirst && name.startsWith('$'))

/** Memory in bytes of a `RuleSet`, of each rule in it, and of a rule that is not shared, in addition to its filter. */
const RULES_BYTES = 500
const RULE_BYTES = 24
const OWN_RULE_BYTES = 40

/**
 * The rules of one client. A denial overrides everything that is allowed, and everything not allowed by a rule is
 * denied.
 */
export class RuleSet {
  readonly rules: readonly AclRule[]
  readonly #read: readonly string[]
  readonly #write: readonly string[]
  readonly #deny: readonly string[]
  readonly #answers = new Answers()
  /** Memory in bytes, without remembered answers. */
  readonly bytes: number

  /** `shared`: number of leading rules that are shared with other clients. */
  constructor(rules: readonly AclRule[], shared = 0) {
    this.rules = rules
    const own = rules.slice(shared)
    const filterBytes = own.reduce((sum, { filter }) => sum + stringBytes(filter), 0)
    this.bytes = RULES_BYTES + rules.length * RULE_BYTES + own.length * OWN_RULE_BYTES + filterBytes
    const filtersOf = (...permissions: Permission[]): string[] =>
      rules.filter(({ permission }) => permissions.includes(permission)).map(({ filter }) => filter)
    this.#read = filtersOf('read', 'readwrite')
    this.#write = filtersOf('write', 'readwrite')
    this.#deny = filtersOf('deny')
  }

  mayPublish(topic: string, remembered?: Remembered): boolean {
    const known = this.#answers.known.get(topic)
    if (known !== undefined) return known
    const may = this.#allows(this.#write, topic)
    remembered?.answered(this.#answers, topic, may)
    return may
  }

  /** Returns what the rules say about publishing to the topic; `undefined` if no rule applies to it. */
  publishRule(topic: string): boolean | undefined {
    if (this.#deny.some((rule) => covers(rule, topic))) return false
    return this.#write.some((rule) => covers(rule, topic)) ? true : undefined
  }

  /** Returns whether a message on this topic may be delivered. */
  mayRead(topic: string): boolean {
    return this.#allows(this.#read, topic)
  }

  /**
   * Returns whether any topic matched by the filter may be read. May return true if several denials together exclude
   * all of them.
   */
  mayReadSome(filter: string): boolean {
    return this.#read.some((rule) => {
      const part = intersection(rule, filter)
      return part !== undefined && !this.#deny.some((denied) => covers(denied, part))
    })
  }

  /**
   * Returns whether a single rule allows all that the filter matches. Topics excluded from that by denials are withheld
   * message by message.
   */
  maySubscribe(filter: string): boolean {
    return this.#allows(this.#read, filter)
  }

  #allows(filters: readonly string[], topicOrFilter: string): boolean {
    return filters.some((rule) => covers(rule, topicOrFilter)) && !this.#deny.some((rule) => covers(rule, topicOrFilter))
  }
}

/** Parses an `acl_file`: `user <name>`, `topic [permission] <filter>`, `pattern [permission] <filter>`. */
export function parseAcl(text: string): Acl | AclError {
  const anonymous: AclRule[] = []
  const users = new Map<string, AclRule[]>()
  const patterns: AclRule[] = []
  let own = anonymous
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const [, keyword, rest] = /^(\S+)\s*(.*)$/s.exec(line)!
    const wrong = (reason: string): AclError => ({ line: i + 1, reason })
    if (keyword === 'user') {
      if (rest === '') return wrong('user needs a name')
      own = users.get(rest!) ?? []
      users.set(rest!, own)
    } else if (keyword === 'topic' || keyword === 'pattern') {
      const rule = ruleOf(rest!, keyword === 'pattern')
      if (typeof rule === 'string') return wrong(rule)
      ;(keyword === 'pattern' ? patterns : own).push({ ...rule, line: i + 1 })
    } else return wrong(`expected user, topic or pattern, got ${keyword}`)
  }
  return new Acl(anonymous, users, patterns)
}

const isPermission = (word: string): word is Permission => /^(read|write|readwrite|deny)$/.test(word)

/**
 * Returns one rule, or an error message. The default permission is `readwrite`. A filter with spaces requires an
 * explicit permission, as in Mosquitto: otherwise a misspelt `deny` would become part of the topic, and nothing would
 * be denied.
 */
function ruleOf(text: string, isPattern: boolean): AclRule | string {
  const [, word, rest] = /^(\S*)\s*(.*)$/s.exec(text)!
  if (isPermission(word!)) {
    if (rest === '') return `${word} needs a topic filter`
  } else if (rest !== '') return `expected read, write, readwrite or deny, got ${word}`
  const rule: AclRule = isPermission(word!) ? { permission: word, filter: rest! } : { permission: 'readwrite', filter: word! }
  return ruleError(rule, isPattern) || rule
}

function ruleError({ filter }: AclRule, isPattern: boolean): string {
  const wrong = topicFilterError(filter)
  if (wrong !== '') return wrong
  if (filter.includes('\0')) return 'no topic has a NUL'
  if (!isPattern) return ''
  const half = filter.split('/').find((level) => /%[cu]/.test(level) && level !== '%c' && level !== '%u')
  return half === undefined ? '' : `${half} has %c or %u beside other text: it has to be a whole level`
}

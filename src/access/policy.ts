import { stringBytes } from '../base/memory-costs.ts'
import type { Access, ClientIdUse, Identity } from '../broker/access.ts'
import { type ClientKind, isOwnListener, type LinkInfo } from '../mqtt/link.ts'
import type { Connect } from '../mqtt/packets.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { type Acl, type AclRule, type ExplainedRule, RuleSet } from './acl.ts'
import { BanList } from './ban-list.ts'
import type { ClientIdRules } from './client-ids.ts'
import type { PasswordEntry } from './password-file.ts'
import { Remembered } from './remembered.ts'

/** The requirements of one listener for its clients. */
export interface ListenerPolicy {
  readonly allowAnonymous: boolean
  /** Role of client certificates: see `certificateRole`. */
  readonly certificate?: 'none' | 'enough' | 'needed' | undefined
  /** True if a way to verify passwords or tokens is configured. */
  readonly verifies: boolean
  /** The hook `authenticate` decides about every client, also about sensors. */
  readonly asksAll?: boolean | undefined
  /** Methods of enhanced authentication. */
  readonly methods: readonly string[]
  readonly passwords: ReadonlyMap<string, PasswordEntry> | undefined
  /** Keys whose tokens are accepted. */
  readonly tokenKeys: ReadonlySet<string>
  /** If undefined, clients are allowed everything. */
  readonly acl: Acl | undefined
  /** The file that it comes from. */
  readonly aclFile?: string | undefined
  /** Prefix of the topics of its clients, which the rules see with it. */
  readonly mountPoint?: string | undefined
  /** How much of a subscription must be allowed; 'filtered' by default. */
  readonly subscriptionAccess?: 'filtered' | 'whole'
}

/** The proof by which a client was authenticated. The client may stay connected as long as it remains valid. */
export type Proof =
  /** Its lines in the password file at that time (`PasswordEntry.text`). */
  | { readonly kind: 'password'; readonly lines: string }
  | { readonly kind: 'token'; readonly key: string }
  /** Accepted by the HTTP service, which is not queried again before `expires_in`, or by the hook `authenticate`. */
  | { readonly kind: 'service' }

/** Where the rules of a client come from. */
export type RuleSource =
  /** There are none: everything is allowed. */
  | { readonly kind: 'none' }
  /** `username`: the user whose rules these are; `undefined` for a client without a user name, or with one that is not verified. */
  | {
      readonly kind: 'acl'
      readonly file: string | undefined
      readonly username: string | undefined
      readonly rules: readonly ExplainedRule[]
    }
  /** They came with its login. `proof`: `undefined` after a restart. */
  | { readonly kind: 'login'; readonly proof: Proof['kind'] | undefined; readonly rules: readonly ExplainedRule[] }

/** The authentication of a client while it is connected. */
export class Grant {
  /** `undefined` after a restart, when only the rights are known. */
  readonly proof: Proof | undefined
  /** Rules that came with the proof and replace those of the ACL file. */
  readonly rules: RuleSet | undefined

  constructor(proof: Proof | undefined, rules: RuleSet | undefined) {
    this.proof = proof
    this.rules = rules
  }
}

/** The current access rules of all listeners; replaced as a whole when files change. */
export class AccessPolicy implements Access {
  #listeners: ReadonlyMap<string, ListenerPolicy>
  /** Applies to sensors, and to clients whose listener is unknown. */
  #global: ListenerPolicy
  #clientIds: ClientIdRules | undefined
  /** Rules of each client, with its names inserted; cleared when policies change. */
  #compiled = new WeakMap<Identity, Compiled>()
  /** Cached because all retained messages of a client have the same rights. */
  readonly #restored = new Map<string, Grant>()
  readonly remembered = new Remembered(() => {
    this.#compiled = new WeakMap()
    this.#restored.clear()
  })
  #bans: BanList

  constructor(
    listeners: ReadonlyMap<string, ListenerPolicy>,
    global: ListenerPolicy,
    clientIds?: ClientIdRules,
    bans = new BanList(),
  ) {
    this.#listeners = listeners
    this.#global = global
    this.#clientIds = clientIds
    this.#bans = bans
  }

  /** The bans in the `ban_file`. */
  get bans(): BanList {
    return this.#bans
  }

  replace(
    listeners: ReadonlyMap<string, ListenerPolicy>,
    global: ListenerPolicy,
    clientIds?: ClientIdRules,
    bans = new BanList(),
  ): void {
    this.#clientIds = clientIds
    this.#listeners = listeners
    this.#global = global
    this.#bans = bans
    this.remembered.clear()
  }

  /** Returns whether this user has a password at any listener. */
  hasPassword(username: string): boolean {
    return [...this.#listeners.values(), this.#global].some(({ passwords }) => passwords?.has(username) === true)
  }

  connect({ kind, listener, identity, peer, isRestored, isShared }: LinkInfo, packet: Connect): number | 'ask' {
    if (isOwnListener(listener)) return 0
    if (this.#isBanned(packet.clientId, peer)) return ReasonCode.BANNED
    const policy = this.#policy(kind, listener)
    const isAsked = policy.asksAll === true
    if (kind === 'sn' && isAsked && isShared !== true) return isRestored === true ? 0 : 'ask'
    // Ruling A31: sensors cannot authenticate; the gateway's rules determine their users.
    if (kind === 'sn') return policy.allowAnonymous || identity !== undefined ? 0 : ReasonCode.NOT_AUTHORIZED
    // As in Mosquitto: the user name comes from the certificate, so a missing certificate is a bad user name.
    if (identity === undefined && policy.certificate === 'needed') return ReasonCode.BAD_USER_NAME_OR_PASSWORD
    const { authenticationMethod: method } = packet.properties
    // [MQTT-4.12.0-1]
    if (method !== undefined) return policy.methods.includes(method) ? 'ask' : ReasonCode.BAD_AUTHENTICATION_METHOD
    if (isAsked) return 'ask'
    // The client was identified by its certificate.
    if (identity !== undefined) return 0
    const isNamed = packet.username !== undefined || packet.password !== undefined
    if (isNamed && policy.verifies) return 'ask'
    if (policy.allowAnonymous) return 0
    const { certificate, verifies } = policy
    return certificate === 'enough' && !verifies ? ReasonCode.BAD_USER_NAME_OR_PASSWORD : ReasonCode.NOT_AUTHORIZED
  }

  clientIdUse(kind: ClientKind, clientId: string, username: string | undefined): ClientIdUse {
    // The users of sensors are determined by `sn_users`.
    return kind === 'sn' || this.#clientIds === undefined ? 'free' : this.#clientIds.use(clientId, username)
  }

  remains(who: Identity, peer = ''): number {
    if (isOwnListener(who.listener)) return 0
    if (this.#isBanned(who.clientId, peer)) return ReasonCode.BANNED
    const policy = this.#policy(who.kind, who.listener)
    const vouched = who.certified || who.grant instanceof Grant ? who.username : undefined
    if (this.clientIdUse(who.kind, who.clientId, vouched) === 'foreign') return ReasonCode.NOT_AUTHORIZED
    if (policy.asksAll === true) return 0
    if (who.kind === 'sn') return policy.allowAnonymous || who.certified ? 0 : ReasonCode.NOT_AUTHORIZED
    if (who.grant instanceof Grant) return isInForce(who.grant.proof, who.username, policy) ? 0 : ReasonCode.NOT_AUTHORIZED
    return who.certified || policy.allowAnonymous ? 0 : ReasonCode.NOT_AUTHORIZED
  }

  publish(who: Identity, topic: string): boolean {
    return this.#rules(who)?.mayPublish(topic, this.remembered) ?? true
  }

  publishRule(who: Identity, topic: string): boolean | undefined {
    return this.#rules(who)?.publishRule(topic)
  }

  subscribe(who: Identity, filter: string): boolean {
    const rules = this.#rules(who)
    if (rules === undefined) return true
    return this.keepsSubscriptions(who) ? rules.mayReadSome(filter) : rules.maySubscribe(filter)
  }

  keepsSubscriptions({ kind, listener }: Identity): boolean {
    return this.#policy(kind, listener).subscriptionAccess !== 'whole'
  }

  read(who: Identity, topic: string): boolean {
    return this.#rules(who)?.mayRead(topic) ?? true
  }

  readsAll(who: Identity): boolean {
    return this.#rules(who) === undefined
  }

  /** Returns where the rules of a client come from, and the lines of a file. For people: it takes longer than a decision. */
  sourceOf(who: Identity): RuleSource {
    const { grant } = who
    if (grant instanceof Grant && grant.rules !== undefined) {
      const rules = grant.rules.rules.map(({ permission, filter }) => ({
        permission,
        filter,
        pattern: undefined,
        line: undefined,
      }))
      return { kind: 'login', proof: grant.proof?.kind, rules }
    }
    const { acl, aclFile } = this.#policy(who.kind, who.listener)
    if (acl === undefined) return { kind: 'none' }
    const username = this.#aclUser(who)
    return { kind: 'acl', file: aclFile, username, rules: acl.linesFor({ clientId: who.clientId, username }) }
  }

  /** Names of the MQTT listeners. */
  get listeners(): readonly string[] {
    return [...this.#listeners.keys()]
  }

  mountPointOf(listener: string): string {
    return this.#listeners.get(listener)?.mountPoint ?? ''
  }

  stored(grant: object | undefined): string | undefined {
    return grant instanceof Grant && grant.rules !== undefined ? JSON.stringify(grant.rules.rules) : undefined
  }

  restored(rights: string): object {
    let grant = this.#restored.get(rights)
    if (grant === undefined) {
      const rules = new RuleSet(JSON.parse(rights) as AclRule[])
      grant = new Grant(undefined, rules)
      if (this.#restored.size >= RESTORED_MAX) this.#restored.clear()
      this.remembered.count(rules.bytes + stringBytes(rights))
      this.#restored.set(rights, grant)
    }
    return grant
  }

  #isBanned(clientId: string, peer: string): boolean {
    return this.#bans.hasId(clientId) || this.#bans.hasPeer(peer)
  }

  /**
   * Returns the policy of a client. Sensors connect to ports, never to an MQTT listener, even one with the same name.
   */
  #policy(kind: ClientKind, listener: string): ListenerPolicy {
    const own = kind === 'mqtt' ? this.#listeners.get(listener) : undefined
    return own ?? (isOwnListener(listener) ? UNRESTRICTED : this.#global)
  }

  /** Returns the rules of a client; `undefined` if everything is allowed. */
  #rules(who: Identity): RuleSet | undefined {
    if (who.grant instanceof Grant && who.grant.rules !== undefined) return who.grant.rules
    const { acl } = this.#policy(who.kind, who.listener)
    if (acl === undefined) return undefined
    const { clientId, username, listener, verified } = who
    const known = this.#compiled.get(who)
    if (known !== undefined && known.username === username && known.listener === listener && known.verified === verified)
      return known.rules
    const rules = acl.rulesFor({ clientId, username: this.#aclUser(who) })
    this.remembered.count(rules.bytes)
    this.#compiled.set(who, { username, listener, verified, rules })
    return rules
  }

  /** An unverified user name does not make the client that user if the user has a password. */
  #aclUser({ username, verified }: Identity): string | undefined {
    return username !== undefined && !verified && this.hasPassword(username) ? undefined : username
  }
}

const RESTORED_MAX = 256

/** Of the process itself. */
const UNRESTRICTED: ListenerPolicy = {
  allowAnonymous: true,
  verifies: false,
  methods: [],
  passwords: undefined,
  tokenKeys: new Set(),
  acl: undefined,
}

function isInForce(proof: Proof | undefined, username: string | undefined, { passwords, tokenKeys }: ListenerPolicy): boolean {
  if (proof?.kind === 'password') return passwords?.get(username ?? '')?.text === proof.lines
  return proof?.kind === 'token' ? tokenKeys.has(proof.key) : proof !== undefined
}

interface Compiled {
  readonly username: string | undefined
  readonly listener: string
  readonly verified: boolean
  readonly rules: RuleSet
}

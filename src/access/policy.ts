import { stringBytes } from '../base/memory-costs.ts'
import type { Access, ClientIdUse, Identity } from '../broker/access.ts'
import type { ClientKind, LinkInfo } from '../mqtt/link.ts'
import type { Connect } from '../mqtt/packets.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { type Acl, type AclRule, RuleSet } from './acl.ts'
import { BanList } from './ban-list.ts'
import type { ClientIdRules } from './client-ids.ts'
import type { PasswordEntry } from './password-file.ts'
import { Remembered } from './remembered.ts'

/** What one listener asks of its clients. */
export interface ListenerPolicy {
  readonly allowAnonymous: boolean
  /** What client certificates are for: see `certificateRole`. */
  readonly certificate?: 'none' | 'enough' | 'needed' | undefined
  /** Passwords or tokens can be verified. */
  readonly verifies: boolean
  /** Methods of enhanced authentication. */
  readonly methods: readonly string[]
  readonly passwords: ReadonlyMap<string, PasswordEntry> | undefined
  /** Keys whose tokens count. */
  readonly tokenKeys: ReadonlySet<string>
  /** If absent, clients may do everything. */
  readonly acl: Acl | undefined
  /** What of a subscription has to be allowed; 'filtered' if not given. */
  readonly subscriptionAccess?: 'filtered' | 'whole'
}

/** What vouched for a client: as long as that is in force, the client may stay. */
export type Proof =
  /** Its lines in the password file, as they were (`PasswordEntry.text`). */
  | { readonly kind: 'password'; readonly lines: string }
  | { readonly kind: 'token'; readonly key: string }
  /** The HTTP service said so, and is not asked again before `expires_in`. */
  | { readonly kind: 'service' }

/** What a client has proved, for as long as it is connected. */
export class Grant {
  /** `undefined` after a restart, when only the rights are known. */
  readonly proof: Proof | undefined
  /** Rules that came with the proof, in place of the ACL file's. */
  readonly rules: RuleSet | undefined

  constructor(proof: Proof | undefined, rules: RuleSet | undefined) {
    this.proof = proof
    this.rules = rules
  }
}

/** The rules in force, for all listeners; replaced as a whole when files change. */
export class AccessPolicy implements Access {
  #listeners: ReadonlyMap<string, ListenerPolicy>
  /** For sensors, and for clients whose listener is unknown. */
  #global: ListenerPolicy
  #clientIds: ClientIdRules | undefined
  /** Rules by client, with its names inserted; cleared when policies change. */
  #compiled = new WeakMap<Identity, Compiled>()
  /** A client's retained messages all have the same rights. */
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

  /** Of the `ban_file`. */
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

  /** Whether some listener knows this user by a password. */
  hasPassword(username: string): boolean {
    return [...this.#listeners.values(), this.#global].some(({ passwords }) => passwords?.has(username) === true)
  }

  connect({ kind, listener, identity, peer }: LinkInfo, packet: Connect): number | 'ask' {
    if (this.#isBanned(packet.clientId, peer)) return ReasonCode.BANNED
    const policy = this.#policy(kind, listener)
    // Ruling A31: sensors have nothing to authenticate with; the gateway's rules say who they are.
    if (kind === 'sn') return policy.allowAnonymous || identity !== undefined ? 0 : ReasonCode.NOT_AUTHORIZED
    // As with Mosquitto: the user name comes from the certificate, so that without one it is bad.
    if (identity === undefined && policy.certificate === 'needed') return ReasonCode.BAD_USER_NAME_OR_PASSWORD
    const { authenticationMethod: method } = packet.properties
    // [MQTT-4.12.0-1]
    if (method !== undefined) return policy.methods.includes(method) ? 'ask' : ReasonCode.BAD_AUTHENTICATION_METHOD
    // The certificate has said who it is.
    if (identity !== undefined) return 0
    const isNamed = packet.username !== undefined || packet.password !== undefined
    if (isNamed && policy.verifies) return 'ask'
    if (policy.allowAnonymous) return 0
    const { certificate, verifies } = policy
    return certificate === 'enough' && !verifies ? ReasonCode.BAD_USER_NAME_OR_PASSWORD : ReasonCode.NOT_AUTHORIZED
  }

  clientIdUse(kind: ClientKind, clientId: string, username: string | undefined): ClientIdUse {
    // Which sensor is which user `sn_users` says.
    return kind === 'sn' || this.#clientIds === undefined ? 'free' : this.#clientIds.use(clientId, username)
  }

  remains(who: Identity, peer = ''): number {
    if (this.#isBanned(who.clientId, peer)) return ReasonCode.BANNED
    const policy = this.#policy(who.kind, who.listener)
    const vouched = who.certified || who.grant instanceof Grant ? who.username : undefined
    if (this.clientIdUse(who.kind, who.clientId, vouched) === 'foreign') return ReasonCode.NOT_AUTHORIZED
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

  /** Sensors come by ports, never by a listener of MQTT, whatever that is named. */
  #policy(kind: ClientKind, listener: string): ListenerPolicy {
    return (kind === 'mqtt' ? this.#listeners.get(listener) : undefined) ?? this.#global
  }

  /** None: everything is allowed. */
  #rules(who: Identity): RuleSet | undefined {
    if (who.grant instanceof Grant && who.grant.rules !== undefined) return who.grant.rules
    const { acl } = this.#policy(who.kind, who.listener)
    if (acl === undefined) return undefined
    const { clientId, username, listener, verified } = who
    const known = this.#compiled.get(who)
    if (known !== undefined && known.username === username && known.listener === listener && known.verified === verified)
      return known.rules
    // An unverified name of a user who has a password does not make the client that user.
    const isClaimed = username !== undefined && !verified && this.hasPassword(username)
    const rules = acl.rulesFor({ clientId, username: isClaimed ? undefined : username })
    this.remembered.count(rules.bytes)
    this.#compiled.set(who, { username, listener, verified, rules })
    return rules
  }
}

const RESTORED_MAX = 256

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

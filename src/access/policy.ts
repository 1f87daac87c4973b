import type { Access, Identity } from '../broker/access.ts'
import type { LinkInfo } from '../mqtt/link.ts'
import type { Connect } from '../mqtt/packets.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { Acl, RuleSet } from './acl.ts'
import type { PasswordEntry } from './password-file.ts'

/** What one listener asks of its clients. */
export interface ListenerPolicy {
  readonly allowAnonymous: boolean
  /** There is somebody who can verify a password or a token. */
  readonly verifies: boolean
  /** Methods of enhanced authentication. */
  readonly methods: readonly string[]
  readonly passwords: ReadonlyMap<string, PasswordEntry> | undefined
  /** None: whoever is let in may do everything. */
  readonly acl: Acl | undefined
}

/** What a client has proved, for as long as it is connected. */
export class Grant {
  /** Line of the password file that it was verified with; `undefined` if something else did. */
  readonly credential: string | undefined
  /** Rules that came with the proof, in place of the ACL file's. */
  readonly rules: RuleSet | undefined

  constructor(credential: string | undefined, rules: RuleSet | undefined) {
    this.credential = credential
    this.rules = rules
  }
}

/** The rules in force, for all listeners; replaced as a whole when files change. */
export class AccessPolicy implements Access {
  #listeners: ReadonlyMap<string, ListenerPolicy>
  /** For sensors, and for whoever nobody knows the listener of. */
  #global: ListenerPolicy
  /** Rules by client, with its names put in; begun anew when policies change. */
  #compiled = new WeakMap<Identity, Compiled>()

  constructor(listeners: ReadonlyMap<string, ListenerPolicy>, global: ListenerPolicy) {
    this.#listeners = listeners
    this.#global = global
  }

  replace(listeners: ReadonlyMap<string, ListenerPolicy>, global: ListenerPolicy): void {
    this.#listeners = listeners
    this.#global = global
    this.#compiled = new WeakMap()
  }

  connect({ kind, listener, identity }: LinkInfo, packet: Connect): number | 'ask' {
    const policy = this.#policy(listener)
    // Ruling A31: sensors have nothing to authenticate with.
    if (kind === 'sn') return policy.allowAnonymous || !policy.verifies ? 0 : ReasonCode.NOT_AUTHORIZED
    const { authenticationMethod: method } = packet.properties
    if (method !== undefined) return policy.methods.includes(method) ? 'ask' : ReasonCode.BAD_AUTHENTICATION_METHOD
    // The certificate has said who it is.
    if (identity !== undefined) return 0
    if (packet.username === undefined && packet.password === undefined) {
      return policy.allowAnonymous ? 0 : ReasonCode.NOT_AUTHORIZED
    }
    if (policy.verifies) return 'ask'
    return policy.allowAnonymous ? 0 : ReasonCode.NOT_AUTHORIZED
  }

  remains(who: Identity): number {
    const policy = this.#policy(who.listener)
    if (who.kind === 'sn') return policy.allowAnonymous || !policy.verifies ? 0 : ReasonCode.NOT_AUTHORIZED
    if (who.grant instanceof Grant) {
      const { credential } = who.grant
      if (credential === undefined) return 0
      return policy.passwords?.get(who.username ?? '')?.text === credential ? 0 : ReasonCode.NOT_AUTHORIZED
    }
    return who.certified || policy.allowAnonymous ? 0 : ReasonCode.NOT_AUTHORIZED
  }

  publish(who: Identity, topic: string): boolean {
    return this.#rules(who)?.mayPublish(topic) ?? true
  }

  subscribe(who: Identity, filter: string): boolean {
    return this.#rules(who)?.maySubscribe(filter) ?? true
  }

  read(who: Identity, topic: string): boolean {
    return this.#rules(who)?.mayRead(topic) ?? true
  }

  #policy(listener: string): ListenerPolicy {
    return this.#listeners.get(listener) ?? this.#global
  }

  /** None: everything is allowed. */
  #rules(who: Identity): RuleSet | undefined {
    if (who.grant instanceof Grant && who.grant.rules !== undefined) return who.grant.rules
    const { acl } = this.#policy(who.listener)
    if (acl === undefined) return undefined
    const { username, listener } = who
    const known = this.#compiled.get(who)
    if (known !== undefined && known.username === username && known.listener === listener) return known.rules
    const rules = acl.rulesFor(who)
    this.#compiled.set(who, { username, listener, rules })
    return rules
  }
}

interface Compiled {
  readonly username: string | undefined
  readonly listener: string
  readonly rules: RuleSet
}

import type { ClientPattern } from '../base/client-pattern.ts'
import { isWithin, type Network } from '../base/networks.ts'
import type { SensorUsers } from './gateway-options.ts'
import type { RouteKey } from './ports/route.ts'
import { ipOf } from './ports/route.ts'

/** Which user a client becomes, and which clients may not connect. The first matching rule applies. */
export interface SensorRule {
  /** Client ids, in which `*` matches any number of characters; undefined matches every client. */
  readonly clients: readonly ClientPattern[] | undefined
  /**
   * Networks of the sender, or of its forwarder; undefined matches every address. A route without an IP address is in no
   * network.
   */
  readonly networks: readonly Network[] | undefined
  /** `deny`: the client may not connect. `%c` in a user name stands for the client id. */
  readonly user: { readonly name: string } | 'deny'
  /** Where it stands in `sn_users`. */
  readonly line?: number
}

/** Which user a client becomes, and why. */
export interface SensorDecision {
  /** The rule that matches; `undefined` if none does, so that the user is `sn_username`. */
  readonly rule: SensorRule | undefined
  /** `taken`: its client id would make it a user who has a password. */
  readonly outcome: 'user' | 'anonymous' | 'denied' | 'banned' | 'taken'
  readonly username: string | undefined
}

/** Settings beside the rules. */
export interface SensorDefaults {
  /** User of clients that match no rule. */
  readonly username: string | undefined
  /** Accept QoS -1 messages, as `qosM1Username`. */
  readonly qosM1: boolean
  readonly qosM1Username: string | undefined
  /** True if the user name requires a password; by default none does. */
  readonly isTaken?: (username: string) => boolean
  /** As in `SensorUsers`; by default nothing is banned. */
  readonly isBanned?: (route: RouteKey, clientId: string | undefined) => boolean
}

/** The users of MQTT-SN clients, by rule (rulings A31, A32). */
export class SensorRules implements SensorUsers {
  readonly #username: string | undefined
  /** Created once, because these messages are frequent. */
  readonly #qosM1User: { readonly username: string | undefined } | undefined
  readonly #isTaken: (username: string) => boolean
  #rules: readonly SensorRule[]
  readonly isBanned: (route: RouteKey, clientId: string | undefined) => boolean

  constructor(rules: readonly SensorRule[], defaults: SensorDefaults) {
    const { username, qosM1, qosM1Username } = defaults
    this.#rules = rules
    this.isBanned = defaults.isBanned ?? (() => false)
    this.#username = username
    this.#isTaken = defaults.isTaken ?? (() => false)
    this.#qosM1User = qosM1 ? { username: qosM1Username } : undefined
  }

  get count(): number {
    return this.#rules.length
  }

  replace(rules: readonly SensorRule[]): void {
    this.#rules = rules
  }

  userOf(clientId: string, route: RouteKey): { readonly username: string | undefined } | undefined {
    const { outcome, username } = this.decide(clientId, route)
    return outcome === 'user' || outcome === 'anonymous' ? { username } : undefined
  }

  decide(clientId: string, route: RouteKey): SensorDecision {
    if (this.isBanned(route, clientId)) return { rule: undefined, outcome: 'banned', username: undefined }
    const rule = this.#ruleOf(clientId, route)
    if (rule?.user === 'deny') return { rule, outcome: 'denied', username: undefined }
    const name = rule?.user.name ?? this.#username
    if (name === undefined) return { rule, outcome: 'anonymous', username: undefined }
    const username = name.replaceAll('%c', () => clientId)
    // A client id can be chosen freely: it must not turn a client into a user that has a password.
    const isTaken = username !== name && this.#isTaken(username)
    return { rule, outcome: isTaken ? 'taken' : 'user', username }
  }

  /** The rules, in their order. */
  get rules(): readonly SensorRule[] {
    return this.#rules
  }

  /** The user of QoS -1 messages; `undefined` if there is none, or they are not accepted. */
  get qosM1Username(): string | undefined {
    return this.#qosM1User?.username
  }

  networksOf(clientId: string, route: RouteKey): readonly Network[] | undefined {
    return this.#ruleOf(clientId, route)?.networks
  }

  #ruleOf(clientId: string, route: RouteKey): SensorRule | undefined {
    return this.#rules.find(({ clients, networks }) => {
      const isNamed = clients === undefined || clients.some((pattern) => pattern.fits(clientId))
      return isNamed && isFrom(route, networks)
    })
  }

  /** QoS -1 messages carry no client id, so only rules without client ids can match; such a rule can deny. */
  qosM1User(route: RouteKey): { readonly username: string | undefined } | undefined {
    if (this.isBanned(route, undefined)) return undefined
    if (this.#rules.length === 0) return this.#qosM1User
    const rule = this.#rules.find(({ clients, networks }) => clients === undefined && isFrom(route, networks))
    return rule?.user === 'deny' ? undefined : this.#qosM1User
  }
}

function isFrom(route: RouteKey, networks: readonly Network[] | undefined): boolean {
  if (networks === undefined) return true
  const ip = ipOf(route)
  return ip !== undefined && isWithin(ip, networks)
}

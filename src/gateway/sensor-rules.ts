import type { ClientPattern } from '../base/client-pattern.ts'
import { isWithin, type Network } from '../base/networks.ts'
import type { SensorUsers } from './options.ts'
import type { RouteKey } from './ports/route.ts'
import { ipOf } from './ports/route.ts'

/** Who sensors are, and who may not connect. The first rule that fits counts. */
export interface SensorRule {
  /** Client ids, `*` standing for any number of any characters; none is everybody. */
  readonly clients: readonly ClientPattern[] | undefined
  /** Where the sender, or the forwarder in front of it, is; none is anywhere. A route without an IP address is in no network. */
  readonly networks: readonly Network[] | undefined
  /** `deny`: it may not connect. A user name may be `%c`, which stands for the client id. */
  readonly user: { readonly name: string } | 'deny'
}

/** What is set beside the rules. */
export interface SensorDefaults {
  /** User of sensors that no rule fits. */
  readonly username: string | undefined
  /** QoS -1 is taken, as this user. */
  readonly qosM1: boolean
  readonly qosM1Username: string | undefined
  /** Whether a user name is that of somebody who has to prove it; nobody's if absent. */
  readonly isTaken?: (username: string) => boolean
  /** As in `SensorUsers`; nobody is if absent. */
  readonly isBanned?: (route: RouteKey, clientId: string | undefined) => boolean
}

/** The users of sensors, by rule (rulings A31, A32). */
export class SensorRules implements SensorUsers {
  readonly #username: string | undefined
  /** Made once: these messages are many. */
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
    if (this.isBanned(route, clientId)) return undefined
    const rule = this.#ruleOf(clientId, route)
    if (rule?.user === 'deny') return undefined
    const name = rule?.user.name ?? this.#username
    const username = name?.replaceAll('%c', () => clientId)
    // Anybody may choose a client id: it makes nobody a user that others have a password for.
    return username !== undefined && username !== name && this.#isTaken(username) ? undefined : { username }
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

  /** There is no client id, so only rules about networks alone can fit; they can deny. */
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

import type { Access, AccessCache, ClientIdUse, Identity, Published } from '../broker/access.ts'
import type { AccessQuestion, Hooks } from '../broker/hooks.ts'
import { type ClientKind, isOwnListener, type LinkInfo } from '../mqtt/link.ts'
import type { Connect } from '../mqtt/packets.ts'
import type { QoS } from '../mqtt/publish.ts'

/** Access rules and the hook `authorize`: both have to agree. It is not asked about links of the process itself. */
export class HookedAccess implements Access {
  readonly #rules: Access
  readonly #authorize: NonNullable<Hooks['authorize']>

  constructor(rules: Access, authorize: NonNullable<Hooks['authorize']>) {
    this.#rules = rules
    this.#authorize = authorize
  }

  connect(info: LinkInfo, connect: Connect): number | 'ask' {
    return this.#rules.connect(info, connect)
  }

  clientIdUse(kind: ClientKind, clientId: string, username: string | undefined): ClientIdUse {
    return this.#rules.clientIdUse?.(kind, clientId, username) ?? 'free'
  }

  remains(who: Identity, peer: string): number {
    return this.#rules.remains(who, peer)
  }

  publish(who: Identity, topic: string, message?: Published): boolean {
    return this.#rules.publish(who, topic, message) && this.#may(who, 'publish', topic, message)
  }

  will(who: Identity, topic: string, message?: Published): boolean {
    return this.#rules.publish(who, topic, message) && this.#may(who, 'will', topic, message)
  }

  publishRule(who: Identity, topic: string): boolean | undefined {
    return this.#rules.publishRule?.(who, topic)
  }

  subscribe(who: Identity, filter: string, qos?: QoS): boolean {
    return this.#rules.subscribe(who, filter, qos) && this.#may(who, 'subscribe', filter, { qos })
  }

  keepsSubscriptions(who: Identity): boolean {
    // A subscription that the hook no longer allows ends, also where access lists would only filter it.
    return isOwnListener(who.listener) && this.#rules.keepsSubscriptions?.(who) === true
  }

  read(who: Identity, topic: string): boolean {
    return this.#rules.read(who, topic) && this.#may(who, 'receive', topic)
  }

  readsAll(who: Identity): boolean {
    return isOwnListener(who.listener) && this.#rules.readsAll?.(who) === true
  }

  stored(grant: object | undefined): string | undefined {
    return this.#rules.stored(grant)
  }

  restored(rights: string): object {
    return this.#rules.restored(rights)
  }

  get remembered(): AccessCache | undefined {
    return this.#rules.remembered
  }

  #may(
    who: Identity,
    action: AccessQuestion['action'],
    topic: string,
    about: { readonly qos?: QoS | undefined; readonly retain?: boolean } = {},
  ): boolean {
    const { kind, clientId, username, listener } = who
    if (isOwnListener(listener)) return true
    const { qos, retain = false } = about
    return this.#authorize({ kind, clientId, username, listener, action, topic, qos, retain })
  }
}

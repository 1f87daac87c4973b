import type { GatewayClient } from './client/client.ts'
import type { RouteKey } from './ports/route.ts'

/** Maximum number of clients examined for each new client that finds no room. */
const SEARCHED_MAX = 100

/** All clients of the gateway, by client id and by the route at which they were last heard. */
export class ClientTable {
  readonly #byId = new Map<string, GatewayClient>()
  readonly #byRoute = new Map<RouteKey, GatewayClient>()
  /** Position of the search for unused clients. */
  #searched: Iterator<GatewayClient> = [].values()

  get size(): number {
    return this.#byId.size
  }

  get(clientId: string): GatewayClient | undefined {
    return this.#byId.get(clientId)
  }

  /** Returns the client that was last heard at this route. */
  at(route: RouteKey): GatewayClient | undefined {
    return this.#byRoute.get(route)
  }

  values(): IterableIterator<GatewayClient> {
    return this.#byId.values()
  }

  add(client: GatewayClient): void {
    this.#byId.set(client.clientId, client)
  }

  delete(client: GatewayClient): void {
    this.#byId.delete(client.clientId)
    this.leave(client)
  }

  /** Removes the client from its route. */
  leave(client: GatewayClient): void {
    if (this.#byRoute.get(client.route) === client) this.#byRoute.delete(client.route)
  }

  move(client: GatewayClient, route: RouteKey): void {
    client.route = route
    this.#byRoute.set(route, client)
  }

  /**
   * A route that passes to another client leaves no record for the client that had it before. After a replay, the most
   * recently recorded client has the route.
   */
  restoreRoute(client: GatewayClient): void {
    const other = this.#byRoute.get(client.route)
    if (client.route === '' || other === client) return
    if (other !== undefined && other.recordedAt > client.recordedAt) client.route = ''
    else {
      if (other !== undefined) other.route = ''
      this.#byRoute.set(client.route, client)
    }
  }

  /** Yields the unused clients among the next hundred. */
  *unused(): Iterable<GatewayClient> {
    for (let left = Math.min(SEARCHED_MAX, this.#byId.size); left > 0; left--) {
      let next = this.#searched.next()
      if (next.done === true) {
        this.#searched = this.#byId.values()
        next = this.#searched.next()
      }
      if (next.value?.isUnused === true) yield next.value
    }
  }
}

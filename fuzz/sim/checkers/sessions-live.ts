import { SiteChecker } from './checker.ts'

/** Whoever is connected has a session. */
export class SessionsLive extends SiteChecker {
  readonly name = 'a connected client has its session'

  look(): void {
    const { sessions } = this.site.world.server.broker
    for (const { id, tcp } of this.site.stations) {
      if (tcp.client.state === 'connected' && sessions.get('mqtt', id) === undefined) this.tell(`${id} is connected and has none`)
    }
  }
}

import { SiteChecker } from './checker.ts'

/** Every bound holds, and what is dropped is told. */
export class BoundsHold extends SiteChecker {
  readonly name = 'bounds hold'

  look(): void {
    const { broker, gateway } = this.site.world.server
    for (const { key, queueLength } of broker.sessions)
      if (queueLength > 2000) this.tell(`${queueLength} messages wait for ${key}`)
    if (gateway.clientCount > this.site.nodes.length) this.tell(`${gateway.clientCount} sensors are known`)
    if (broker.linkCount > 2 * (this.site.nodes.length + this.site.stations.length) + 2)
      this.tell(`${broker.linkCount} links are open`)
  }
}

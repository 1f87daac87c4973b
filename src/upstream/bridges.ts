import { earliest, type Instant } from '../base/machine.ts'
import type { LinkId } from '../mqtt/link.ts'
import { Bridge } from './bridge.ts'
import type { BridgeHost } from './bridge-host.ts'
import type { BridgeOptions } from './bridge-options.ts'
import type { Upstream } from './upstream.ts'

/** All bridges: finds the one that a link belongs to, and the next deadline. There are few, so nothing is indexed. */
export class Bridges {
  readonly all: readonly Bridge[]

  constructor(options: readonly BridgeOptions[], upstream: Upstream, host: BridgeHost) {
    this.all = options.map((each) => new Bridge(each, upstream, host))
  }

  /** After the state has been restored. */
  start(now: Instant): void {
    for (const bridge of this.all) bridge.start(now)
  }

  stop(now: Instant): void {
    for (const bridge of this.all) bridge.stop(now)
  }

  /** The link of a local session is ready. False if it is not one of a bridge. */
  linkReady(now: Instant, link: LinkId): boolean {
    const bridge = this.all.find(({ localLink }) => localLink === link)
    bridge?.linkReady(now)
    return bridge !== undefined
  }

  handleTimeout(now: Instant): void {
    for (const bridge of this.all) if ((bridge.nextTimeout() ?? Number.POSITIVE_INFINITY) <= now) bridge.handleTimeout(now)
  }

  nextTimeout(): Instant | undefined {
    let next: Instant | undefined
    for (const bridge of this.all) next = earliest(next, bridge.nextTimeout())
    return next
  }
}

import type { Instant } from '../base/machine.ts'
import { type Link, type LinkId, type LinkInfo, LOCAL_LISTENER, type Uplink } from '../mqtt/link.ts'

/** Called within a poll of the server: it must only note that the link may have output. */
type Ready = () => void

/** Links whose owner is in this process: no stream and no sensor is behind them, and access rules do not apply. */
export class LocalLinks {
  readonly #uplink: Uplink
  readonly #ready = new Map<LinkId, Ready>()

  constructor(uplink: Uplink) {
    this.#uplink = uplink
  }

  /**
   * Opens a link. `ready` is called when it may have something to poll; it is not called again before `poll` has returned undefined.
   * `peer`: what notices name as its address. `maxQueued`: messages that may wait for it; undefined: max_queued_messages.
   */
  open(now: Instant, peer: string, maxQueued: number | undefined, ready: Ready): Link {
    const info: LinkInfo = { kind: 'mqtt', peer, listener: LOCAL_LISTENER }
    const link = this.#uplink.open(now, maxQueued === undefined ? info : { ...info, maxQueued })
    this.#ready.set(link.id, ready)
    return link
  }

  linkReady(id: LinkId): void {
    this.#ready.get(id)?.()
  }

  /** The link is closed or lost. */
  closed({ id }: Link): void {
    this.#ready.delete(id)
  }
}

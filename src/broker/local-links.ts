import type { LinkId } from '../mqtt/link.ts'

/** Links whose owner is in this process: no stream and no sensor is behind them. Their listener is `LOCAL_LISTENER`. */
export class LocalLinks {
  readonly #ready = new Map<LinkId, () => void>()

  /**
   * From here on `ready` is called when the link may have something to poll, or continues after a pause. It is called within a poll
   * of the server, so it must only take note.
   */
  own(id: LinkId, ready: () => void): void {
    this.#ready.set(id, ready)
  }

  disown(id: LinkId): void {
    this.#ready.delete(id)
  }

  linkReady(id: LinkId): void {
    this.#ready.get(id)?.()
  }
}

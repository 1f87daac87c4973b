import type { NoticeSink } from '../base/notice.ts'
import { versionName } from './targets.ts'
import type { UpstreamLink } from './upstream-link.ts'
import type { UpstreamStream } from './upstream-stream.ts'

/** Reasons that are remembered, so that each is said once. */
const TOLD_MAX = 100

/**
 * What is said of links. Of a bridge each change is; where one link is one of thousands to the same targets, what concerns a target is
 * said once for all of them.
 */
export class UpstreamNotices {
  readonly #notice: NoticeSink

  constructor(notice: NoticeSink) {
    this.#notice = notice
  }

  dropped(link: UpstreamLink, reason: string, count = 1): void {
    link.targets.dropped += count
    this.#notice({ code: 'message-dropped', level: 'warn', client: link.name, peer: link.status.target, reason, count })
  }

  /** Said once. */
  limited(link: UpstreamLink, code: 'upstream-refused' | 'upstream-limited', reason: string): void {
    const { targets, status, name: client } = link
    if (link.settings.ofSensor === undefined) link.told ??= new Set()
    if (isNew(link.told ?? targets.told, `${status.target} ${reason}`))
      this.#notice({ code, level: 'warn', client, peer: status.target, reason })
  }

  up(link: UpstreamLink, stream: UpstreamStream, sessionPresent: boolean): void {
    const version = `MQTT ${versionName(stream.version)}`
    const { peer, known } = stream
    if (link.settings.ofSensor === undefined) {
      link.failedWith?.clear()
      const reason = `${version}, ${sessionPresent ? 'session continued' : 'new session'}`
      this.#notice({ code: 'upstream-up', level: 'info', client: link.name, peer, reason })
    } else if (known.toldAs !== 'up') {
      known.toldAs = 'up'
      this.#notice({ code: 'upstream-up', level: 'info', peer, reason: `${version}, for sensors` })
    }
  }

  /** A stream was lost, or an attempt has failed. */
  down(link: UpstreamLink, stream: UpstreamStream, reason: string): void {
    const { peer, known, state } = stream
    const down = { code: 'upstream-down', level: 'warn', peer, reason } as const
    if (link.settings.ofSensor === undefined) {
      link.failedWith ??= new Set()
      if (state === 'up' || isNew(link.failedWith, `${peer} ${reason}`)) this.#notice({ ...down, client: link.name })
    } else if (known.isOpen && known.toldAs !== 'down') {
      known.toldAs = 'down'
      this.#notice({ ...down, reason: `${reason}; this holds for all sensors` })
    }
  }
}

/** Whether this is said for the first time. The set stays small, whatever far sides say. */
function isNew(told: Set<string>, what: string): boolean {
  if (told.has(what)) return false
  if (told.size === TOLD_MAX) told.clear()
  told.add(what)
  return true
}

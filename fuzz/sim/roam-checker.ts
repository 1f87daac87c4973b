import type { RoamNode } from './roam-node.ts'
import type { RoamSite } from './roam-site.ts'
import type { Area } from './roam-step.ts'

/** What was published this long before a sensor woke is there when it is told to sleep again. */
const MARGIN_MS = 5000
/** In which a datagram may still be under way. */
const LATE_MS = 5000
const MINUTE = 60_000
/** Without a fault for so long, everything is as if there had been none. */
const CALM_MS = 10 * 60_000

/** Looks at what sensors are told while it happens. */
export class RoamChecker {
  readonly found: string[] = []
  /** The last fault, and the last one that takes longer than a gateway to come back. */
  faultAt = Number.NEGATIVE_INFINITY
  longFaultAt = Number.NEGATIVE_INFINITY
  /** By then a gateway has noticed that its streams had gone silent. Until then it may take a sensor for its own that has moved. */
  readonly silentUntil: Record<Area, number> = { a: Number.NEGATIVE_INFINITY, b: Number.NEGATIVE_INFINITY }
  /** Dials that the steps explain. */
  dials = 0
  readonly #site: RoamSite

  constructor(site: RoamSite) {
    this.#site = site
  }

  get isCalm(): boolean {
    const { isSound, schedule } = this.#site
    return isSound && schedule.now >= this.faultAt + CALM_MS
  }

  /** The streams of the gateway where this sensor is are silent, or those of the one that it has left. */
  #isSilent({ area, movedAt }: RoamNode): boolean {
    const { now } = this.#site.schedule
    return now < this.silentUntil[area] + CALM_MS || this.#isLeftBehind(area, movedAt)
  }

  #isLeftBehind(area: Area, movedAt: number): boolean {
    const left = area === 'a' ? 'b' : 'a'
    return movedAt > Number.NEGATIVE_INFINITY && this.#site.schedule.now < this.silentUntil[left] + CALM_MS
  }

  /** There were no more dials than the steps explain, as long as nothing has gone wrong. */
  get isAtPeace(): boolean {
    const { trunks, setup } = this.#site
    return this.faultAt !== Number.NEGATIVE_INFINITY || setup.lossy || trunks.a.dials + trunks.b.dials <= this.dials
  }

  tell(what: string): void {
    this.found.push(`${this.#site.schedule.now} ms: ${what}`)
  }

  /** PINGRESP has ended an awake period: what the cluster had is through. */
  wakeEnded(node: RoamNode, wokeAt: number): void {
    if (!this.isCalm || this.#isSilent(node)) return
    const { claims } = this.#site
    const owed = claims.owed(node.receiver, wokeAt - MARGIN_MS)
    if (owed.length > claims.dropped)
      for (const { text } of owed) this.tell(`${node.id} is told to sleep before it has got "${text}"`)
  }

  /** Somebody who was there all the time is told to leave. */
  disconnected(node: RoamNode): void {
    const { schedule, setup } = this.#site
    const { now } = schedule
    // Pings that are lost make it lost.
    if (setup.lossy) return
    // It was refused, or will be, and what it had still to say of its will came after that.
    if (!node.isAccepted) return
    // The gateway that it has left may take it for its own, and dial: after a fault, and where 3.1.1 does not say why a stream ends.
    const isSuspect = setup.version === 4 || !this.isCalm
    if (this.#isLeftBehind(node.area, node.movedAt) || (isSuspect && now < node.movedAt + CALM_MS)) return
    // A gateway that did not run answers afterwards.
    const { runsAt } = this.#site.worlds[node.area]
    if (!node.mayBeUnknown && now > Math.max(node.saidAt, runsAt) + LATE_MS)
      this.tell(`${node.id} is disconnected although it was there all the time`)
  }

  /** The cluster publishes the will of a sensor. */
  willOf(node: RoamNode): void {
    const { now } = this.#site.schedule
    // Nobody can know that one is at the other gateway before it has said so there.
    const isThere = !node.isGone && !node.mayBeUnknown && now - node.lastHeard < MINUTE
    const isExplained = !this.#site.isSound || now < this.longFaultAt + CALM_MS || this.#isSilent(node)
    if (!isExplained && isThere) this.tell(`the will of ${node.id} is published although it is there`)
  }
}

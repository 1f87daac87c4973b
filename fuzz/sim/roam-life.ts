import { RoamSite } from './roam-site.ts'
import { NODES, type RoamSetup, type RoamStep } from './roam-step.ts'

/** A roaming site with its checkers: what must not happen is looked for after every step, and what has to at the end. */
export class RoamLife {
  readonly site: RoamSite
  readonly taken: RoamStep[] = []

  constructor(scarce: Partial<RoamSetup> = {}) {
    this.site = new RoamSite(scarce)
    if (Object.keys(scarce).length > 0) this.taken.push({ do: 'build', ...scarce })
  }

  take(step: RoamStep): string[] {
    this.taken.push(step)
    this.site.take(step)
    return this.#wrong()
  }

  /** Faults end: what is owed has to have arrived. */
  finish(): string[] {
    const { site } = this
    site.settle()
    site.probe()
    const dials = site.idleDials()
    return [
      ...this.#wrong(),
      ...site.pending.map((what) => `pending: ${what}`),
      ...site.claims.lost().map((what) => `at least once: ${what}`),
      ...(site.checker.isAtPeace ? [] : [`peace: ${site.dials} dials, where ${site.checker.dials} were to be expected`]),
      ...(dials > NODES ? [`peace: ${dials} dials although nothing happens`] : []),
    ]
  }

  #wrong(): string[] {
    const { checker, claims } = this.site
    return [
      ...checker.found.map((what) => `sensor: ${what}`),
      ...claims.misrouted().map((what) => `routed: ${what}`),
      ...claims.repeated().map((what) => `once: ${what}`),
      ...claims.disordered().map((what) => `in order: ${what}`),
    ]
  }
}

/** Lives through the steps, up to the first at which something is wrong, and to the end if nothing is. */
export function liveRoaming([first, ...others]: readonly RoamStep[]): { found: readonly string[]; trace: readonly string[] } {
  const { do: built, ...scarce } = first?.do === 'build' ? first : { do: 'build' }
  const life = new RoamLife(scarce)
  for (const step of first?.do === 'build' || first === undefined ? others : [first, ...others]) {
    const found = life.take(step)
    if (found.length > 0) return { found, trace: life.site.trace }
  }
  return { found: life.finish(), trace: life.site.trace }
}

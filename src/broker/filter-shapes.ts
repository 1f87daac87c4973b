import { hasWildcard, sharedFilter } from '../mqtt/topics.ts'

/**
 * Where the wildcards of a filter are: `a/+/c` and `x/+/y` have one shape, and so have `a/#` and `b/#`; '' if there are none.
 *
 * Of all filters of one shape at most one matches a given topic, because the topic says what the other levels have to be. So not
 * the number of filters is what a topic may cost, but the number of their shapes: of `+` and `a` over 16 levels there are 65,536
 * filters, and as many shapes; of a million filters `devices/<id>/+` there is one.
 */
export function filterShape(filter: string): string {
  if (!hasWildcard(filter)) return ''
  let shape = ''
  for (let at = 0; at <= filter.length; ) {
    const slash = filter.indexOf('/', at)
    const end = slash < 0 ? filter.length : slash
    const first = end - at === 1 ? filter[at] : ''
    shape += first === '+' || first === '#' ? first : '-'
    at = end + 1
  }
  return shape
}

/**
 * All shapes up to here together lead to no more than 511 levels of the tree, whatever the filters: a topic of eight levels has
 * 2^9 - 1 branches.
 */
export const FREE_LEVELS = 8

/** Shapes, each with how many filters have it. */
export class ShapeCounts {
  readonly #counts = new Map<string, number>()
  /** Levels of all shapes beyond `FREE_LEVELS`: what comparing one topic with all filters may cost at most, beside 511. */
  deepLevels = 0

  get size(): number {
    return this.#counts.size
  }

  has(shape: string): boolean {
    return this.#counts.has(shape)
  }

  add(shape: string): void {
    const count = this.#counts.get(shape) ?? 0
    if (count === 0) this.deepLevels += deepLevelsOf(shape)
    this.#counts.set(shape, count + 1)
  }

  delete(shape: string): void {
    const count = this.#counts.get(shape) ?? 0
    if (count > 1) this.#counts.set(shape, count - 1)
    else if (this.#counts.delete(shape)) this.deepLevels -= deepLevelsOf(shape)
  }
}

export const deepLevelsOf = (shape: string): number => Math.max(0, shape.length - FREE_LEVELS)

/** The filters of one session that may match the same topic. */
export class SessionShapes {
  readonly #wild = new ShapeCounts()
  /** With the name of the group in front: each brings a copy of its own. Filters without wildcards are one shape here. */
  readonly #shared = new ShapeCounts()

  constructor(filters: Iterable<string>) {
    for (const filter of filters) this.add(filter)
  }

  add(filter: string): void {
    const [counts, shape] = this.#placeOf(filter)
    if (shape !== '') counts.add(shape)
  }

  delete(filter: string): void {
    const [counts, shape] = this.#placeOf(filter)
    if (shape !== '') counts.delete(shape)
  }

  /** How many there would be with this one, of its kind. */
  with(filter: string): number {
    const [counts, shape] = this.#placeOf(filter)
    return shape === '' || counts.has(shape) ? 0 : counts.size + 1
  }

  #placeOf(filter: string): [ShapeCounts, string] {
    const shared = sharedFilter(filter)
    if (shared === undefined || shared === 'invalid') return [this.#wild, filterShape(filter)]
    return [this.#shared, `${shared.group}/${filterShape(shared.filter)}`]
  }
}

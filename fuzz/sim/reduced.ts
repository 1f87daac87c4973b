import type { Fate } from './tape-network.ts'

/** A step of any kind of world. */
export interface AnyStep {
  readonly do: string
}

type Tape = AnyStep & { readonly do: 'tape'; readonly fates: readonly Fate[] }
type Fails<S> = (candidate: readonly S[]) => boolean

const isTape = (step: AnyStep): step is Tape => step.do === 'tape'

/**
 * As few of these steps as still fail. fast-check shrinks what it generates, and keeps many a step that plays no part; here every step that may go goes,
 * and every fate of a tape, until what is left is needed.
 */
export function reduced<S extends AnyStep>(steps: readonly S[], fails: Fails<S>): readonly S[] {
  let kept = steps
  for (let before = Number.POSITIVE_INFINITY; weight(kept) < before; ) {
    before = weight(kept)
    kept = withoutSteps(kept, fails)
    kept = withoutFates(kept, fails)
    kept = withoutScarcity(kept, fails)
  }
  return kept
}

const weight = (steps: readonly AnyStep[]): number =>
  steps.reduce((sum, step) => sum + (isTape(step) ? 1 + step.fates.length : Object.keys(step).length), 0)

/** Leaves out long rows of steps first, then single ones. */
function withoutSteps<S extends AnyStep>(steps: readonly S[], fails: Fails<S>): readonly S[] {
  let kept = steps
  for (let length = steps.length >> 1; length > 0; length >>= 1) {
    for (let at = kept.length - length; at >= 0; at -= length) {
      const candidate = kept.toSpliced(at, length)
      if (fails(candidate)) kept = candidate
    }
  }
  return kept
}

/** There is plenty of what plays no part. */
function withoutScarcity<S extends AnyStep>([build, ...others]: readonly S[], fails: Fails<S>): readonly S[] {
  if (build?.do !== 'build') return build === undefined ? [] : [build, ...others]
  let kept: S = build
  for (const name of Object.keys(build)) {
    if (name === 'do') continue
    const candidate = Object.fromEntries(Object.entries(kept).filter(([other]) => other !== name)) as S
    if (fails([candidate, ...others])) kept = candidate
  }
  return [kept, ...others]
}

/** A fate that plays no part is `arrives`, and what arrives at the end of a tape needs no tape. */
function withoutFates<S extends AnyStep>(steps: readonly S[], fails: Fails<S>): readonly S[] {
  let kept = steps
  for (const [at, step] of steps.entries()) {
    if (!isTape(step)) continue
    let { fates } = step
    for (let entry = fates.length - 1; entry >= 0; entry--) {
      if (fates[entry] === 'arrives' && entry < fates.length - 1) continue
      const fewer = entry === fates.length - 1 ? fates.slice(0, -1) : fates.with(entry, 'arrives')
      const candidate = kept.with(at, { ...step, fates: fewer })
      if (!fails(candidate)) continue
      fates = fewer
      kept = candidate
    }
  }
  return kept
}

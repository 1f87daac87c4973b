import type { UpstreamValues } from '../config/options/upstream.ts'

type Optional = Partial<Omit<UpstreamValues, 'targets'>>

/** A cluster at which sensors have their sessions. */
export type GivenUpstream = { readonly [K in keyof Optional]: Optional[K] | undefined } & {
  readonly targets: string | readonly string[]
}

import type { Histogram } from '../base/histogram.ts'

/** Labels of a sample; their values come from bounded sets, never from peers. */
export type Labels = Readonly<Record<string, string>>

export type Sample = readonly [labels: Labels, value: number]

/** A metric with its samples, named by Prometheus' conventions: `roost_wake_seconds`, counters with `_total`. */
export interface Family {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly samples: readonly Sample[]
  /** In place of `samples`, for a histogram. */
  readonly histogram?: Histogram
}

export const TEXT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** Prometheus' text format [prometheus.io/docs/instrumenting/exposition_formats]. Families without samples are left out. */
export function exposition(families: Iterable<Family>): string {
  const lines: string[] = []
  for (const family of families) {
    const { name, help, type, samples, histogram } = family
    if (samples.length === 0 && histogram === undefined) continue
    lines.push(`# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`, `# TYPE ${name} ${type}`)
    for (const [labels, value] of samples) lines.push(`${name}${labelsText(labels)} ${numberText(value)}`)
    if (histogram !== undefined) lines.push(...bucketLines(name, histogram))
  }
  return `${lines.join('\n')}\n`
}

function bucketLines(name: string, { bounds, counts, sum }: Histogram): string[] {
  let count = 0
  const lines = [...bounds, Number.POSITIVE_INFINITY].map((bound, i) => {
    count += counts[i]!
    return `${name}_bucket${labelsText({ le: numberText(bound) })} ${count}`
  })
  return [...lines, `${name}_sum ${numberText(sum)}`, `${name}_count ${count}`]
}

function labelsText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

const escaped = (value: string): string => value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')

function numberText(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf'
  return String(value)
}

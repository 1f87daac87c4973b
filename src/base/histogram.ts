/** Counts values by size, as Prometheus does. Values are in the base unit: seconds, bytes. */
export class Histogram {
  /** Upper bounds, ascending; values above the last one are counted as well. */
  readonly bounds: readonly number[]
  /** By bound, not cumulative; the last entry counts what exceeds all bounds. */
  readonly counts: Float64Array
  sum = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    let i = 0
    while (i < this.bounds.length && value > this.bounds[i]!) i++
    this.counts[i]!++
    this.sum += value
  }
}

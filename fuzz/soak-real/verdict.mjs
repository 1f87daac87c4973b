/** A resource may grow by this part of what it was after the warm-up, and by so much besides. */
const FLAT = {
  rss: { part: 0.15, more: 24 },
  heap: { part: 0.1, more: 4 },
  timers: { part: 0, more: 3 },
  handles: { part: 0, more: 0 },
}
/** Part of the run that is warm-up. */
const WARM_UP = 0.25

/** Everything that is checked, and how often it held. */
export class Verdict {
  passed = 0
  failed = 0
  #tell
  #samples = []

  constructor(tell) {
    this.#tell = tell
  }

  check(holds, what) {
    if (holds) this.passed++
    else {
      this.failed++
      this.#tell(`FAILED: ${what}`)
    }
  }

  /** Figures from the beginning of the run: what was in doubt may make the difference. */
  counters(counts) {
    for (const [name, { broker, ledger, doubt }] of Object.entries(counts)) {
      if (Number.isNaN(doubt)) continue
      const range = doubt === 0 ? `${ledger}` : `${ledger} to ${ledger + doubt}`
      this.check(broker >= ledger && broker <= ledger + doubt, `${name}: the broker says ${broker}, the ledger ${range}`)
    }
  }

  /** Between two counts, with nobody coming or going: equal, unless a datagram was repeated. */
  differences(before, after) {
    for (const [name, { broker, ledger, doubt }] of Object.entries(after)) {
      const was = before[name]
      const says = {
        broker: broker - was.broker,
        ledger: ledger - was.ledger,
        doubt: Number.isNaN(doubt) ? 0 : doubt - was.doubt,
      }
      const holds = says.broker >= says.ledger && says.broker <= says.ledger + says.doubt
      this.check(holds, `${name} of a calm round: the broker says ${says.broker}, the ledger ${says.ledger}`)
    }
  }

  ledger(ledger, before) {
    const problems = ledger.problems - before
    this.check(problems === 0, `${problems} problems in the ledger`)
    for (const what of ledger.shown.splice(0)) this.#tell(`  ${what}`)
  }

  sample(seconds, figures) {
    this.#samples.push({ seconds, ...figures })
  }

  /** Whether memory, timers and handles have stayed; a line is fitted to what came after the warm-up. */
  trend() {
    const warm = this.#samples.slice(Math.min(this.#samples.length - 2, Math.ceil(this.#samples.length * WARM_UP)))
    if (warm.length < 2) return
    for (const [name, { part, more }] of Object.entries(FLAT)) {
      const { first, slope } = lineThrough(warm.map((sample) => [sample.seconds, sample[name]]))
      const growth = slope * (warm.at(-1).seconds - warm[0].seconds)
      const perMinute = (slope * 60).toFixed(2)
      this.#tell(
        `${name}: ${first.toFixed(1)} after the warm-up, ${growth >= 0 ? '+' : ''}${growth.toFixed(1)} since (${perMinute} a minute)`,
      )
      this.check(growth <= first * part + more, `${name} grows`)
    }
  }
}

/** Least squares: where the line begins, and how steep it is. */
function lineThrough(points) {
  const mean = (of) => points.reduce((sum, point) => sum + of(point), 0) / points.length
  const x = mean(([at]) => at)
  const y = mean(([, value]) => value)
  const steep = points.reduce((sum, [at, value]) => sum + (at - x) * (value - y), 0)
  const slope = steep / points.reduce((sum, [at]) => sum + (at - x) ** 2, 0)
  return { first: y + slope * (points[0][0] - x), slope }
}

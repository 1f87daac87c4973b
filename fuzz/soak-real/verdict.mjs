/** By how much a resource may grow over a run: by this part of what it was after the warm-up, and by so much besides. MB. */
const FLAT = {
  resident: { part: 0.1, more: 8 },
  heap: { part: 0.02, more: 1 },
  store: { part: 0, more: 1 },
}
/** And how many objects of a class there may be more. */
const CENSUS = { part: 0.15, more: 50 }
/** Entries rise and fall with what the next checkpoint is going to write. */
const ENTRIES = { part: 0.3, more: 50 }
/** Part of the run that is warm-up. */
const WARM_UP = 0.25
/** Samples after it that say something. */
const SAMPLES_MIN = 3

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
    const [first, ...more] = ledger.shown.splice(0)
    this.check(ledger.problems === before, `the ledger has ${ledger.problems - before} problems: ${first}`)
    for (const what of more) this.#tell(`  ${what}`)
  }

  sample(seconds, figures, census) {
    this.#samples.push({ seconds, figures, census })
  }

  /** Whether memory has stayed, and what is in it; a line is fitted to what came after the warm-up. */
  trend() {
    const warm = this.#samples.slice(Math.ceil(this.#samples.length * WARM_UP))
    if (warm.length < SAMPLES_MIN) {
      this.#tell('too short to say whether memory grows')
      return
    }
    for (const [name, bound] of Object.entries(FLAT)) {
      const { first, growth, perMinute } = trendOf(warm, ({ figures }) => figures[name])
      this.#tell(
        `${name}: ${first.toFixed(1)} MB after the warm-up, ${signed(growth, 1)} since (${signed(perMinute, 3)} a minute)`,
      )
      this.#flat(name, first, growth, bound)
    }
    const names = new Set(warm.flatMap(({ census }) => Object.keys(census)))
    for (const name of names) {
      const { first, growth } = trendOf(warm, ({ census }) => census[name] ?? 0)
      this.#flat(name, first, growth, name.startsWith('entries') ? ENTRIES : CENSUS)
    }
  }

  #flat(name, first, growth, { part, more }) {
    this.check(growth <= first * part + more, `${name} grows: ${first.toFixed(1)} after the warm-up, ${signed(growth, 1)} since`)
  }
}

const signed = (value, digits) => `${value >= 0 ? '+' : ''}${value.toFixed(digits)}`

/** What it was after the warm-up, and what it has grown by since. */
function trendOf(samples, figure) {
  const { first, slope } = lineThrough(samples.map((sample) => [sample.seconds, figure(sample)]))
  return { first, growth: slope * (samples.at(-1).seconds - samples[0].seconds), perMinute: slope * 60 }
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

// From the runs of a scenario to the figures in the page: medians, and ratios of runs that followed each other.
import { FIGURES } from './scenarios.mjs'

export function middle(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b)
  const half = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2
  return { median, min: sorted[0], max: sorted.at(-1) }
}

/** The rows of a table: one for each figure of each scenario, with Roost's values and each peer's ratio. */
export function rowsOf(results, scenarios) {
  return scenarios
    .filter((scenario) => results[scenario] !== undefined)
    .flatMap((scenario) => {
      const bySystem = results[scenario]
      const figures = FIGURES[bySystem.roost[0].mode].filter(({ key }) =>
        Object.values(bySystem)
          .flat()
          .some((run) => run[key] !== undefined),
      )
      return figures.map((figure) => ({
        scenario,
        figure,
        roost: valuesOf(bySystem.roost, figure),
        ratios: ratiosOf(bySystem, figure),
      }))
    })
}

const valuesOf = (runs, { key }) => {
  const values = runs.filter((run) => run.fail === undefined && run[key] > 0).map((run) => run[key])
  return values.length === 0 ? undefined : middle(values)
}

/** For each peer, how many times better Roost was than the peer in the same round. */
function ratiosOf({ roost, ...peers }, { key, less }) {
  const ratios = {}
  for (const [name, runs] of Object.entries(peers)) {
    const fail = runs.find((run) => run.fail !== undefined)?.fail
    const pairs = runs.map((run, i) => (less ? run[key] / roost[i]?.[key] : roost[i]?.[key] / run[key]))
    const valid = pairs.filter((ratio) => Number.isFinite(ratio) && ratio > 0)
    if (valid.length === 0) ratios[name] = { fail: fail ?? 'no figure' }
    else
      ratios[name] = {
        ...middle(valid),
        waits: isWaiting(runs, roost),
        lost: Math.max(...runs.map((run) => run.lost ?? 0)),
      }
  }
  return ratios
}

/** The peer used less than half of its core, and less than half of what Roost used in the same scenario. */
function isWaiting(runs, roost) {
  const used = [runs, roost].map((each) => middle(each.map((run) => run.broker_util ?? 1)).median)
  return used[0] < 0.5 && used[0] < used[1] / 2
}

/** Latency of messages in milliseconds, medians over the runs; undefined if the scenario has none. */
export function latencyOf(runs) {
  const timed = runs.filter((run) => run.fail === undefined && run.lat_us !== undefined)
  if (timed.length === 0) return undefined
  const of = (part) => middle(timed.map((run) => run.lat_us[part] / 1000)).median
  return { p50: of('p50'), p99: of('p99'), used: middle(timed.map((run) => run.broker_util)).median }
}

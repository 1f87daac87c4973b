import type { NoticeSink } from '../base/notice.ts'
import type { LocalSubscription } from './subscription.ts'

/** For how long `stop` waits for the handlers of the program, in milliseconds. */
const DRAIN_MS = 5_000
/** Time between two looks at them. */
const STEP_MS = 5

export interface DrainReports {
  readonly notice: NoticeSink
  /** Durable subscriptions keep what is left for them. */
  readonly isKept: boolean
  info(line: string): void
  warn(line: string): void
}

/**
 * Waits until the handlers of these subscriptions have dealt with everything that is queued for them, for at most 5 seconds, and
 * reports what is left. They may publish meanwhile.
 */
export async function drain(subscriptions: ReadonlySet<LocalSubscription>, reports: DrainReports): Promise<void> {
  for (const each of subscriptions) each.stopping()
  // What was published in this turn reaches its receivers.
  await new Promise((next) => setImmediate(next))
  const until = performance.now() + DRAIN_MS
  const isBusy = (): boolean => [...subscriptions].some((each) => each.isBusy)
  while (isBusy() && performance.now() < until) await new Promise((next) => setTimeout(next, STEP_MS))
  for (const each of subscriptions) report(each, reports)
}

function report({ filter, clientId, isDurable, isHandling, left }: LocalSubscription, reports: DrainReports): void {
  if (isHandling) reports.warn(`stop: the handler of ${filter} has not finished within ${DRAIN_MS / 1000} s`)
  if (left === 0) return
  if (isDurable && reports.isKept) {
    reports.info(`stop: ${left} messages wait for the next subscription with clientId ${clientId}`)
    return
  }
  const reason = `the program has not taken what ${filter} has matched, and stops`
  reports.notice({ code: 'message-dropped', level: 'warn', client: `mqtt:${clientId}`, reason, count: left })
}

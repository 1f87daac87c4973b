import type { Instant } from '../base/machine.ts'
import { type Ending, isOwnFault } from './endings.ts'
import { backoffMs } from './targets.ts'
import type { UpstreamStream } from './upstream-stream.ts'

/** A stream that lasts less than this, in milliseconds, counts as a failure; a sensor may roam to and fro more slowly. */
const LASTING_MS = 5_000
const LASTING_MS_OF_SENSOR = 10_000
/** Within this, in milliseconds after CONNECT, a far side closes that does not understand it. */
const AT_ONCE_MS = 2_000
/** After so many of them in a row another client probably has the same client id. */
const BRIEF_MAX = 3

/** What follows from an ending. */
export interface Redial {
  /** For people. */
  readonly reason: string
  /** Milliseconds until the link may dial again; its targets may want more. */
  readonly wait: number
  /** Another client has connected with the same client id, as it was said, or as it seems. */
  readonly isTakenOver?: boolean
}

/** A stream that was up is gone. */
export function afterLoss(now: Instant, stream: UpstreamStream, ending: Ending, random: () => number): Redial {
  const { link, known, connectedAt } = stream
  const { targets, connect } = link
  known.ended(now, true)
  const { backoff, roundRobin } = targets.settings
  const lastingMs = link.settings.ofSensor !== undefined ? LASTING_MS_OF_SENSOR : LASTING_MS
  const isBrief = now - connectedAt < lastingMs
  const isByFar = ending.byFar === true
  const message = isByFar && ending.unprovoked !== true ? link.outbound.closedByFar(now) : 'nothing'
  link.failures = isBrief ? link.failures + 1 : 0
  if (message === 'given up') {
    // What waits behind it should not wait long, unless all of it is like that.
    link.failures = link.outbound.givenUpInARow
    link.unexplained = 0
  } else if (message === 'nothing') link.unexplained = isBrief ? link.unexplained + 1 : 0
  if (roundRobin || ending.elsewhere === true) targets.leave(known)
  // Two clients of one id would take the session from each other without end. 3.1.1 has no word for that, Mosquitto 2.0 uses none.
  const isFight = isByFar && message === 'nothing' && link.unexplained >= BRIEF_MAX
  const isTakenOver = isFight || ending.takenOver === true
  const wait = isTakenOver ? backoff.maxMs : backoffMs(backoff, link.failures, random)
  if (!isFight) return { reason: ending.reason, wait, isTakenOver }
  const times = `${link.unexplained} times in a row within ${lastingMs / 1000} s of CONNACK`
  const reason = `${ending.reason}, ${times}: does another client have the client id '${connect?.clientId}'?`
  return { reason, wait, isTakenOver }
}

/** An attempt has failed. */
export function afterMiss(now: Instant, stream: UpstreamStream, ending: Ending, random: () => number): Redial {
  const { link, known, state } = stream
  const { targets } = link
  known.ended(now, false)
  targets.leave(known)
  if (ending.refusal !== undefined && isOwnFault(ending.refusal)) {
    // The target is all right: other links may dial it.
    known.refusedClient(now)
    return { reason: ending.reason, wait: backoffMs(targets.settings.backoff, link.failures++, random) }
  }
  const isUnanswered = state === 'connecting' && ending.byFar === true && stream.counted.bytesReceived === 0
  // A proxy accepts the TCP connection, and closes it if it cannot reach the broker.
  if (state === 'dialling' || isUnanswered) link.outbound.unreachable()
  // A broker whose disk stands still closes too, some seconds later.
  const isAtOnce = now - link.status.since <= AT_ONCE_MS
  const isOther = isUnanswered && isAtOnce && known.closedBeforeConnack()
  known.failed(now, random)
  if (!isUnanswered) return { reason: ending.reason, wait: 0 }
  const reason = `closed before CONNACK: ${ending.reason}`
  if (isOther) return { reason: `${reason}; another version is tried`, wait: 0 }
  return { reason: known.target.tls === undefined ? `${reason} (or is this a port for TLS?)` : reason, wait: 0 }
}

import { now } from '../lib/clock.ts'
import { absolute, duration, moment, relative } from '../lib/time.ts'

interface TimeProps {
  /** ISO 8601. */
  readonly at: string | undefined
  /** Shown without a time. */
  readonly none?: string
  /** Says when, too: nothing hovers on a phone. */
  readonly isExact?: boolean
}

/** How long ago, or until when; exactly on hovering, and for machines. */
export function Time({ at, none = 'unknown', isExact = false }: TimeProps) {
  if (at === undefined) return <span class="faint">{none}</span>
  const ms = Date.parse(at)
  return (
    <time dateTime={at} title={absolute(ms)}>
      {relative(ms, now.value)}
      {isExact && ` (${moment(ms, now.value)})`}
    </time>
  )
}

/** For how long something has been so. `at`: when it began. */
export function For({ at }: { readonly at: string }) {
  const ms = Date.parse(at)
  return (
    <time dateTime={at} title={`since ${absolute(ms)}`}>
      for {duration(Math.max(0, (now.value - ms) / 1000))}
    </time>
  )
}

/** When, by the clock. */
export function When({ at }: { readonly at: string | undefined }) {
  if (at === undefined) return null
  return <time dateTime={at}>{moment(Date.parse(at), now.value)}</time>
}

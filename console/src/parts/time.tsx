import { now } from '../lib/clock.ts'
import { absolute, duration, relative } from '../lib/time.ts'

/** How long ago, or until when; exactly on hovering, and for machines. `at`: ISO 8601. */
export function Time({ at, none = 'unknown' }: { readonly at: string | undefined; readonly none?: string }) {
  if (at === undefined) return <span class="faint">{none}</span>
  const ms = Date.parse(at)
  return (
    <time dateTime={at} title={absolute(ms)}>
      {relative(ms, now.value)}
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

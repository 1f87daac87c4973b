const UNITS: readonly (readonly [seconds: number, name: string])[] = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
]

/** `3 min`, `2 h 5 min`, `4 d`: at most two units, and the second one only while it says something. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds)
  for (const [i, [size, name]] of UNITS.entries()) {
    if (whole < size) continue
    const count = Math.floor(whole / size)
    const [smaller, smallerName] = UNITS[i + 1] ?? [1, 's']
    const rest = Math.floor((whole % size) / smaller)
    return count >= 10 || rest === 0 ? `${count} ${name}` : `${count} ${name} ${rest} ${smallerName}`
  }
  if (seconds > 0 && seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`
  return `${whole} s`
}

/** `3 min ago`, `in 2 h 5 min`, `just now`. What is minutes away changes once a minute, so that a list does not flicker. */
export function relative(at: number, from: number): string {
  const seconds = (from - at) / 1000
  if (Math.abs(seconds) < 2) return 'just now'
  const away = Math.abs(seconds)
  const text = duration(away >= 60 && away < 3600 ? 60 * Math.floor(away / 60) : away)
  return seconds > 0 ? `${text} ago` : `in ${text}`
}

const ABSOLUTE = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })

/** In the time zone of the browser: `1 Dec 2026, 04:10:24`. */
export const absolute = (at: number): string => ABSOLUTE.format(at)
/** `04:10:24` */
export const clock = (at: number): string => CLOCK.format(at)
/** By the clock alone on the same day. */
export const moment = (at: number, from: number): string =>
  new Date(at).toDateString() === new Date(from).toDateString() ? clock(at) : absolute(at)

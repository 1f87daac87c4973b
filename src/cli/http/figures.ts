/** A number of bytes for people: `512 B`, `1.5 kB`, `12 MB`. */
export function bytesText(bytes: number): string {
  let [value, unit] = [bytes, 0]
  for (; value >= 999.5 && unit < UNITS.length - 1; unit++) value /= 1000
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const

/** Seconds for people, in at most two units: `45 s`, `3 min 5 s`, `2 h`, `3 d 4 h`. */
export function timeText(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const parts = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'min'],
    [whole % 60, 's'],
  ] as const
  const first = parts.findIndex(([count]) => count > 0)
  if (first < 0) return '0 s'
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ')
}

/** How long ago a time of the API is: `3 min`. `now`: milliseconds since 1970. */
export const ageText = (time: string, now: number): string => timeText((now - Date.parse(time)) / 1000)

/** A time of the API beside the present: `3 min ago`, `in 20 s`; '-' if it is not known. `now`: milliseconds since 1970. */
export function momentText(time: string | undefined, now: number): string {
  if (time === undefined) return '-'
  const seconds = (Date.parse(time) - now) / 1000
  return seconds > 0.5 ? `in ${timeText(seconds)}` : `${timeText(-seconds)} ago`
}

/** A round trip of the API; '-' if it is not known. */
export const roundTripText = (ms: number | undefined): string =>
  ms === undefined ? '-' : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`

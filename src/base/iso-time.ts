const DAY_MS = 86_400_000
/** Days from 0000-03-01 to 1970-01-01: years that begin in March have their leap day at the end. */
const DAYS_TO_1970 = 719_468
/** Days of 400 years, after which the calendar repeats. */
const ERA_DAYS = 146_097

/**
 * `2026-12-01T03:20:51Z`: the time so many milliseconds after 1970, in whole seconds. Years 0 to 9999. Here because the core has no
 * `Date`, which also knows the clock.
 */
export function isoTime(ms: number): string {
  const days = Math.floor(ms / DAY_MS)
  const seconds = Math.floor((ms - days * DAY_MS) / 1000)
  const shifted = days + DAYS_TO_1970
  const era = Math.floor(shifted / ERA_DAYS)
  const dayOfEra = shifted - era * ERA_DAYS
  const year = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  )
  const dayOfYear = dayOfEra - (365 * year + Math.floor(year / 4) - Math.floor(year / 100))
  // Months from March on: 153 days in five of them.
  const month = Math.floor((5 * dayOfYear + 2) / 153)
  const day = dayOfYear - Math.floor((153 * month + 2) / 5) + 1
  const civilMonth = month < 10 ? month + 3 : month - 9
  const civilYear = year + era * 400 + (civilMonth <= 2 ? 1 : 0)
  const time = `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
  return `${String(civilYear).padStart(4, '0')}-${two(civilMonth)}-${two(day)}T${time}Z`
}

const two = (value: number): string => (value < 10 ? `0${value}` : String(value))

/** `12,345` */
const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const SHORT = new Intl.NumberFormat('en', { maximumSignificantDigits: 3, notation: 'compact' })
const THREE = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 })

export const count = (value: number): string => WHOLE.format(value)
/** `12.3K`, for axes. */
export const short = (value: number): string => SHORT.format(value)
export const figures = (value: number): string => THREE.format(value)

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** `812 B`, `1.4 MiB` */
export function bytes(value: number): string {
  let unit = 0
  let left = value
  while (left >= 1024 && unit < BYTE_UNITS.length - 1) {
    left /= 1024
    unit++
  }
  return `${unit === 0 ? WHOLE.format(left) : THREE.format(left)} ${BYTE_UNITS[unit]}`
}

/** `12 messages`, `1 message` */
export const plural = (value: number, one: string, many = `${one}s`): string => `${count(value)} ${value === 1 ? one : many}`

/** `43 %` */
export const percent = (part: number, whole: number): string => (whole === 0 ? '–' : `${Math.round((100 * part) / whole)} %`)

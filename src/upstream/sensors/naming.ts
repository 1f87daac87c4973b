/** What the letters of a pattern stand for. */
export interface PatternValues {
  /** `%c`: the sensor's client id. */
  readonly c: string
  /** `%g`: the gateway id. */
  readonly g: number
  /** `%u`: the user as whom the sensor connects; nothing if it is anonymous. */
  readonly u: string | undefined
}

const PLACEHOLDER = /%(.?)/gsu

/** Returns what is wrong with a pattern, as a text that follows the name of an option. */
export function patternError(pattern: string): string | undefined {
  for (const [placeholder, letter = ''] of pattern.matchAll(PLACEHOLDER)) {
    if (letter === '') return 'ends with %: write %% for a percent sign'
    if (!'cgu%'.includes(letter))
      return `${placeholder} has no meaning: there are %c (client id), %g (gateway id), %u (user) and %%`
  }
  return undefined
}

/** Fills in a pattern, in a single pass: a `%` within a value stays as it is. */
export const filledIn = (pattern: string, values: PatternValues): string =>
  pattern.includes('%')
    ? pattern.replaceAll(PLACEHOLDER, (_, letter: string) =>
        letter === '%' ? '%' : String(values[letter as keyof PatternValues] ?? ''),
      )
    : pattern

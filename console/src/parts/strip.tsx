import { duration } from '../lib/time.ts'

export type Quarter = 'unknown' | 'asleep' | 'awake' | 'lost'

const BY_LETTER: Readonly<Record<string, Quarter>> = { s: 'asleep', w: 'awake', l: 'lost' }

/** The day of a list, in which a letter stands for each quarter. */
export const quartersOf = (letters: string): Quarter[] => Array.from(letters, (letter) => BY_LETTER[letter] ?? 'unknown')

/** Height and distance from the top of each state's bar, so that it is told apart without colours, too. */
const BARS: Readonly<Record<Quarter, readonly [y: number, height: number]>> = {
  unknown: [17, 1],
  asleep: [11, 7],
  awake: [2, 16],
  lost: [2, 16],
}
const WIDTH = 4
const HEIGHT = 20
const QUARTER_SECONDS = 900

interface Run {
  readonly state: Quarter
  readonly from: number
  readonly length: number
}

function runsOf(day: readonly Quarter[]): Run[] {
  const runs: Run[] = []
  for (const [i, state] of day.entries()) {
    const last = runs.at(-1)
    if (last?.state === state) runs[runs.length - 1] = { ...last, length: last.length + 1 }
    else runs.push({ state, from: i, length: 1 })
  }
  return runs
}

/** Sensors that never sleep count as awake here. */
const WORDS = { awake: 'active or awake', asleep: 'asleep', lost: 'lost' } as const

/** `active or awake 1 h 30 min, asleep 20 h, lost 45 min` */
export function dayInWords(day: readonly Quarter[]): string {
  const words = (['awake', 'asleep', 'lost'] as const).flatMap((state) => {
    const quarters = day.filter((each) => each === state).length
    return quarters === 0 ? [] : [`${WORDS[state]} ${duration(quarters * QUARTER_SECONDS)}`]
  })
  return words.length === 0 ? 'nothing is known yet' : words.join(', ')
}

/** The last day of a sensor in quarters of an hour, now at the right: high is awake, low is asleep, gaps of red are losses. */
export function Strip({ day, isLarge = false }: { readonly day: readonly Quarter[]; readonly isLarge?: boolean }) {
  const text = `Last 24 hours: ${dayInWords(day)}`
  const width = day.length * WIDTH
  return (
    <span class={isLarge ? 'strip is-large' : 'strip'}>
      <svg viewBox={`0 0 ${width} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={text}>
        <title>{text}</title>
        {runsOf(day).map(({ state, from, length }) => {
          const [y, height] = BARS[state]
          return (
            <g key={from} class={`is-${state}`}>
              <rect x={from * WIDTH} y={y} width={length * WIDTH} height={height} />
              {state === 'lost' && <path d={`M${from * WIDTH} 18 L${(from + length) * WIDTH} 2`} />}
            </g>
          )
        })}
      </svg>
      {isLarge && (
        <span class="strip-axis" aria-hidden="true">
          {['24 h ago', '18 h', '12 h', '6 h', 'now'].map((label) => (
            <span key={label}>{label}</span>
          ))}
        </span>
      )}
      {isLarge && (
        <span class="strip-key">
          <span class="is-awake">{WORDS.awake}</span>
          <span class="is-asleep">asleep</span>
          <span class="is-lost">lost</span>
          <span class="is-unknown">not known</span>
        </span>
      )}
    </span>
  )
}

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runs } from './runs.ts'
import { type Life, live } from './sim/life.ts'
import { setups } from './sim/setup.ts'
import type { Step } from './sim/step.ts'
import { NIGHT_STEP } from './sim/steps.ts'

/** What a life looks like from outside: all bytes, and what was reported. `atRest`: the most sensors that were rows at a time. */
interface Seen {
  readonly trace: readonly string[]
  readonly notices: readonly [string, number][]
  readonly found: readonly string[]
  /** What is reported of all sensors, at each datagram. */
  readonly sensors: readonly string[]
  /** Records in the store. */
  readonly appended: number
  readonly atRest: number
}

function seen(taken: readonly Step[], rests: boolean): Seen {
  let atRest = 0
  const sensors: string[] = []
  let ended: Life | undefined
  const { trace, found } = live(taken, (life) => {
    life.site.world.mostIdle = rests ? 0 : Number.POSITIVE_INFINITY
    ended = life
    life.site.world.observers.push({
      datagramIn: () => {
        const { gateway } = life.site.world.server
        atRest = Math.max(atRest, gateway.clientsAtRest)
        const reported = gateway.sensors.page(0, 1000).sensors
        const states = Object.entries(gateway.sensors.counts)
        expect(states.map(([state]) => reported.filter((each) => each.state === state).length)).toEqual(
          states.map(([, count]) => count),
        )
        sensors.push(JSON.stringify(reported))
      },
    })
  })
  const { notices, store } = ended!.site.world
  return { trace, notices: [...notices], found, sensors, appended: store.appended, atRest }
}

test('it makes no difference to anybody outside whether sleeping sensors are rows', { timeout: 600_000 }, () => {
  let mostAtRest = 0
  const nights = fc.array(NIGHT_STEP, { minLength: 1, maxLength: 80, size: 'max' })
  const lives = fc.property(setups(), nights, (scarce, taken) => {
    // A row takes less memory than an object: with a small limit, what is refused differs.
    const { memoryLimit: _, ...setup } = scarce
    const life: Step[] = [{ do: 'build', ...setup }, ...taken]
    const { atRest, ...rested } = seen(life, true)
    const { atRest: none, ...awake } = seen(life, false)
    expect(none).toBe(0)
    expect(rested).toEqual(awake)
    mostAtRest = Math.max(mostAtRest, atRest)
  })
  fc.assert(lives, runs(40))
  expect(mostAtRest).toBeGreaterThan(0)
})

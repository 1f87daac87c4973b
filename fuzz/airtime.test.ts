import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Airtime } from '../src/gateway/ports/airtime.ts'
import { unwrap } from '../src/mqttsn/forwarder.ts'
import { runs } from './runs.ts'
import { DAY, Day } from './sim/day.ts'

const HOUR = 3_600_000

interface Sent {
  readonly at: number
  readonly octets: number
}

/** What is wrong with a sequence of frames on a medium. */
function violations(frames: readonly Sent[], bytesPerSecond: number, dutyCycle: number): string[] {
  const problems: string[] = []
  let freeAt = 0
  let from = 0
  let used = 0
  for (const { at, octets } of frames) {
    // A clock of milliseconds in floating point.
    if (at < freeAt - 1e-6) problems.push(`${at}: the frame before takes until ${freeAt}`)
    const duration = (octets * 1000) / bytesPerSecond
    freeAt = at + duration
    used += duration
    for (; frames[from]!.at <= at - HOUR; from++) used -= (frames[from]!.octets * 1000) / bytesPerSecond
    if (used > dutyCycle * HOUR + 1e-3) problems.push(`${at}: ${used} ms in the hour before`)
  }
  return problems
}

test('whatever is asked for and whenever: frames never overlap, and in no hour is the duty cycle exceeded', () => {
  const waits = fc.oneof(fc.constant(0), fc.nat(5000), fc.nat(2 * HOUR))
  const wishes = fc.array(fc.record({ wait: waits, octets: fc.integer({ min: 1, max: 300 }) }), { maxLength: 300 })
  fc.assert(
    fc.property(wishes, fc.constantFrom(10, 100, 1000), fc.constantFrom(0.1, 0.01, 1), (list, bytesPerSecond, dutyCycle) => {
      const airtime = new Airtime({ bytesPerSecond, dutyCycle })
      const sent: Sent[] = []
      let now = 0
      for (const { wait, octets } of list) {
        now += wait
        if (!airtime.fits(octets)) continue
        now = Math.max(now, airtime.earliest(octets))
        expect(airtime.earliest(octets)).toBeLessThanOrEqual(now)
        airtime.spend(now, octets)
        sent.push({ at: now, octets })
      }
      expect(violations(sent, bytesPerSecond, dutyCycle)).toEqual([])
    }),
    runs(300),
  )
})

describe('a virtual half day of 20 sensors behind a slow radio', () => {
  test('keeps to its airtime, acknowledges in time, and loses nothing that was acknowledged', { timeout: 60_000 }, () => {
    const [bytesPerSecond, dutyCycle] = [300, 0.1]
    const radio = {
      name: 'sn',
      maxFrame: 200,
      retry: { tRetryMs: 20_000, nRetry: 4, backoff: 1.5, jitter: 0.5 },
      airtime: { bytesPerSecond, dutyCycle },
      maxQueued: 100,
    }
    const day = new Day({ seed: 5, sensors: 20, durationMs: DAY / 2, crashes: [DAY / 5], gateway: { ports: [radio] } })
    day.run()
    const { world, ledger } = day
    expect(day.radioSilence.found).toEqual([])
    expect(ledger.missing()).toEqual([])
    expect(ledger.repeated(2)).toEqual([])
    expect(ledger.disordered()).toEqual([])
    expect(day.pending()).toEqual([])
    const down = world.trace.map((line) => line.split(' ')).filter(([, what]) => what === 'down')
    const frames = down.map(([at, , , hex]) => ({ at: Number(at), octets: hex!.length / 2 }))
    expect(frames.length).toBeGreaterThan(2000)
    expect(unwrap(Buffer.from(down[0]![3]!, 'hex'))).toBeUndefined()
    // A new process knows nothing of what the one before has sent.
    const crash = frames.findIndex(({ at }) => at >= DAY / 5)
    for (const part of [frames.slice(0, crash), frames.slice(crash)])
      expect(violations(part, bytesPerSecond, dutyCycle)).toEqual([])
  })
})

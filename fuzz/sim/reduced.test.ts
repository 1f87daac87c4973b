import { expect, test } from 'vitest'
import { reduced } from './reduced.ts'
import type { Step } from './step.ts'

test('of a failing life only the steps and fates are left that it takes', () => {
  const advance: Step = { do: 'advance', ms: 50 }
  const crash: Step = { do: 'crash', survivors: 0, torn: false }
  const tape: Step = { do: 'tape', who: 1, up: true, fates: ['late', 'twice', 'lost', 'twice'] }
  const steps = [advance, { do: 'connect', who: 1 } as const, advance, tape, advance, advance, crash, { do: 'heal' } as const]
  // A second datagram that is doubled, and a crash behind it.
  const fails = (candidate: readonly Step[]): boolean => {
    const wound = candidate.findIndex((step) => step.do === 'tape' && step.fates[1] === 'twice')
    return wound >= 0 && candidate.slice(wound).some((step) => step.do === 'crash')
  }
  expect(reduced(steps, fails)).toEqual([{ ...tape, fates: ['arrives', 'twice'] }, crash])
})

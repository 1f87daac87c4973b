import { describeLives } from './lives-of-servers.ts'
import { knownRuns } from './runs.ts'
import { livePair, PairLife } from './sim/pair-life.ts'
import { PAIR_STEP, pairSetups } from './sim/pair-step.ts'

describeLives('two servers with a bridge between them', {
  folder: 'pair',
  runs: knownRuns(100),
  setups: pairSetups(),
  step: PAIR_STEP,
  begin: (scarce) => new PairLife(scarce),
  live: livePair,
})

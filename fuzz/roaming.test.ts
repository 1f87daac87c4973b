import { describeLives } from './lives-of-servers.ts'
import { knownRuns } from './runs.ts'
import { liveRoaming, RoamLife } from './sim/roam-life.ts'
import { ROAM_STEP, roamSetups } from './sim/roam-step.ts'

describeLives('sensors that move between two gateways in front of a cluster', {
  folder: 'roaming',
  runs: knownRuns(20),
  setups: roamSetups(),
  step: ROAM_STEP,
  begin: (scarce) => new RoamLife(scarce),
  live: liveRoaming,
})

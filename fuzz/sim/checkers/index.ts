import type { Site } from '../site.ts'
import { AcknowledgedIsDurable } from './acknowledged-is-durable.ts'
import { BacklogFirst } from './backlog-first.ts'
import { BeginsAnew } from './begins-anew.ts'
import { BoundsHold } from './bounds-hold.ts'
import { BridgeHears } from './bridge-hears.ts'
import { BridgeState } from './bridge-state.ts'
import type { Checker } from './checker.ts'
import { ConditionsHold } from './conditions-hold.ts'
import { DropsTold } from './drops-told.ts'
import { ExpiredLeaves } from './expired-leaves.ts'
import { FitsItsType } from './fits-its-type.ts'
import { KnownIds } from './known-ids.ts'
import { NobodyKeptOut } from './nobody-kept-out.ts'
import { OneExchange } from './one-exchange.ts'
import { OperatorIsAnswered } from './operator-is-answered.ts'
import { OwnExchange } from './own-exchange.ts'
import { PromisesKept } from './promises-kept.ts'
import { RadioSilence } from './radio-silence.ts'
import { RecoversTheSame } from './recovers-the-same.ts'
import { SameTopicIds } from './same-topic-ids.ts'
import { SessionsLive } from './sessions-live.ts'
import { SetupAnswers } from './setup-answers.ts'
import { WillInTime } from './will-in-time.ts'
import { WillOnce } from './will-once.ts'

/** One for each promise. */
export const checkersFor = (site: Site): Checker[] => [
  new OneExchange(site),
  new OwnExchange(site),
  new BacklogFirst(site),
  new SameTopicIds(site),
  new KnownIds(site),
  new BeginsAnew(site),
  new WillOnce(site),
  new WillInTime(site),
  new SessionsLive(site),
  new AcknowledgedIsDurable(site),
  new BoundsHold(site),
  new ExpiredLeaves(site),
  new DropsTold(site),
  new PromisesKept(site),
  new ConditionsHold(site),
  new RadioSilence(site.world, site.setup.strictSleep),
  new SetupAnswers(site),
  new RecoversTheSame(site),
  new NobodyKeptOut(site),
  new BridgeHears(site),
  new BridgeState(site),
  new OperatorIsAnswered(site),
  new FitsItsType(site),
]

import { Histogram } from '../../base/histogram.ts'
import { Traffic } from '../../mqtt/traffic.ts'
import { MsgType } from '../../mqttsn/messages.ts'

const WAKE_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const

/** Counters of all datagrams. */
export class SensorTraffic extends Traffic {
  /** Messages that were sent again, because nothing acknowledged them. */
  retransmissions = 0
  /** Length of each wake of a sleeping sensor, in seconds: from its PINGREQ to PINGRESP. */
  readonly wakeSeconds = new Histogram(WAKE_BOUNDS)

  constructor() {
    super(MsgType.PUBLISH)
  }
}

import { COST } from '../base/memory-costs.ts'
import type { Publish } from '../mqtt/publish.ts'

/** Bytes a message counts. Keep the value: the broker may replace the properties, which changes the weight. */
export const messageBytes = ({ weight }: Publish): number => COST.message + weight

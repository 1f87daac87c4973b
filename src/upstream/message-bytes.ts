import { COST } from '../base/memory-costs.ts'
import type { Publish } from '../mqtt/publish.ts'

/** What a message takes. The broker may give one that it has accepted other properties, and then it takes something else. */
export const messageBytes = ({ weight }: Publish): number => COST.message + weight

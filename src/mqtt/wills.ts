import { COST, stringBytes } from '../base/memory-costs.ts'
import type { Will } from './packets.ts'
import { propertyMemory } from './publish.ts'

export const willBytes = (will: Will | undefined): number =>
  will === undefined ? 0 : COST.will + stringBytes(will.topic) + will.payload.length + propertyMemory(will.properties)

/** Wills with properties, which sensors do not have, count as different. */
export function isSameWill(a: Will | undefined, b: Will | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  const isPlain = Object.keys(a.properties).length === 0 && Object.keys(b.properties).length === 0
  const isSame = a.topic === b.topic && a.qos === b.qos && a.retain === b.retain
  return isPlain && isSame && a.payload.length === b.payload.length && a.payload.every((byte, i) => byte === b.payload[i])
}

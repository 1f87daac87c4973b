import type { Carried } from './line-ledger.ts'

/** A message that stands behind a later one. */
export interface Backwards {
  /** What has to stay in order: of one publisher, which has one topic, with one QoS. On the line a topic may be an alias. */
  readonly line: string
  readonly one: Carried
  readonly before: Carried
}

/** The first delivery of a message, when the line had seen so many PUBLISH packets of its way. */
export interface Delivered {
  readonly carried: Carried
  readonly seen: number
}

/** Messages in the order in which they were first sent, which is not that of their publication. */
export const sentBackwards = (messages: readonly Carried[]): Backwards[] =>
  backwards(
    messages.map((carried) => ({ carried })),
    ({ carried }, last) => after([Number(carried.text.split(' ')[1])], last),
  )

/**
 * Messages that were delivered in an order which the line does not explain. One that was sent several times may have been taken from any of its PUBLISH
 * packets before its delivery: the receiver may have been killed with the earlier ones.
 */
export const deliveredBackwards = (delivered: readonly Delivered[]): Backwards[] =>
  backwards(delivered, ({ carried: { places }, seen }, last) => {
    const place = after(places, last)
    return place !== undefined && place <= seen ? place : undefined
  })

const after = (places: readonly number[], last: number): number | undefined => places.find((place) => place > last)

function backwards<T extends { readonly carried: Carried }>(
  messages: readonly T[],
  placeAfter: (message: T, last: number) => number | undefined,
): Backwards[] {
  const latest = new Map<string, { carried: Carried; place: number }>()
  return messages.flatMap((message) => {
    const { carried } = message
    const line = `${carried.text.split(' ')[0]} with QoS ${carried.qos}`
    const before = latest.get(line) ?? { carried, place: Number.NEGATIVE_INFINITY }
    const place = placeAfter(message, before.place)
    if (place === undefined) return [{ line, one: carried, before: before.carried }]
    latest.set(line, { carried, place })
    return []
  })
}

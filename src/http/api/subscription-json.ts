import type { SubscriptionRequest } from '../../mqtt/packets.ts'

/** A subscription in the names of the API. */
export const subscriptionJson = ({ filter, qos, noLocal, retainAsPublished, retainHandling }: SubscriptionRequest): object => ({
  filter,
  qos,
  no_local: noLocal,
  retain_as_published: retainAsPublished,
  retain_handling: retainHandling,
})

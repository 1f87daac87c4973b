import type { Instant } from '../base/machine.ts'
import type { Author } from '../mqtt/author.ts'
import { fingerprint } from '../mqtt/fingerprint.ts'
import { BRIDGE_LISTENER } from '../mqtt/link.ts'
import type { Will } from '../mqtt/packets.ts'
import type { Properties } from '../mqtt/properties.ts'
import { Publish } from '../mqtt/publish.ts'
import {
  type StoredMessage,
  type StoredReceipt,
  type StoredSubscription,
  type StoredWill,
  type WallClock,
  wallTime,
} from '../store/store.ts'
import type { Condition } from './conditions.ts'
import type { Session } from './session.ts'
import type { Subscription } from './subscription.ts'

// Between what the broker works with and what the store keeps: plain data, with wall time in place of instants.

export function storedMessage(clock: WallClock, message: Publish): StoredMessage {
  return {
    topic: message.topic,
    payload: message.payload,
    qos: message.qos,
    retain: message.retain,
    from: message.from,
    ...(hasAny(message.properties) && { properties: message.properties }),
    ...(message.source !== undefined && { source: message.source }),
    ...(message.expiresAt !== undefined && { expiresAt: wallTime(clock, message.expiresAt) }),
  }
}

export function storedReceipt({ key, listener }: Session, packetId: number, { topic, payload }: Publish): StoredReceipt {
  return { key, packetId, ...(listener === BRIDGE_LISTENER && { fingerprint: fingerprint(topic, payload) }) }
}

/** Its time of expiry is by the store's time line, until `restoreExpiry`. */
export function restoredMessage(stored: StoredMessage, author: Author): Publish {
  const properties = (stored.properties ?? {}) as Properties
  const message = Publish.of(stored.topic, stored.payload, stored.qos, stored.retain, 0, properties)
  message.own()
  message.author = author
  if (stored.expiresAt !== undefined) message.expiresAt = stored.expiresAt
  return message
}

/**
 * To be called once for each restored message that expires. Time that passed while the process was down counts; it never has more
 * left than it began with.
 */
export function restoreExpiry(clock: WallClock, now: Instant, message: Publish): void {
  const most = Math.max(1, message.properties.messageExpiryInterval ?? 0) * 1000
  message.expiresAt = Math.min(message.expiresAt! - clock.epoch, now + most)
}

export function storedWill(will: Will): StoredWill {
  const { willDelayInterval, ...properties } = will.properties
  return {
    message: {
      topic: will.topic,
      payload: will.payload,
      qos: will.qos,
      retain: will.retain,
      from: '',
      ...(hasAny(properties) && { properties }),
    },
    delaySeconds: willDelayInterval ?? 0,
  }
}

export function restoredWill({ message, delaySeconds }: StoredWill): Will {
  const properties = {
    ...(message.properties as Properties | undefined),
    ...(delaySeconds > 0 && { willDelayInterval: delaySeconds }),
  }
  return { topic: message.topic, payload: message.payload, qos: message.qos, retain: message.retain, properties }
}

/** `condition`: that which its client asked for. One of the configuration is found again by the next process, if it is still there. */
export function storedSubscription(subscription: Subscription, condition: Condition | undefined): StoredSubscription {
  const { qos, noLocal, retainAsPublished, retainHandling, subscriptionIdentifier } = subscription
  return {
    qos,
    noLocal,
    retainAsPublished,
    retainHandling,
    ...(subscriptionIdentifier !== undefined && { subscriptionIdentifier }),
    ...(condition !== undefined && { condition: condition.text }),
  }
}

export function restoredSubscription(filter: string, stored: StoredSubscription, condition: Condition | undefined): Subscription {
  // By name: a spread keeps some of them in an object of their own.
  const { qos, noLocal, retainAsPublished, retainHandling, subscriptionIdentifier } = stored
  if (condition === undefined) return { filter, qos, noLocal, retainAsPublished, retainHandling, subscriptionIdentifier }
  return { filter, qos, noLocal, retainAsPublished, retainHandling, subscriptionIdentifier, condition }
}

function hasAny(properties: object): boolean {
  for (const _name in properties) return true
  return false
}

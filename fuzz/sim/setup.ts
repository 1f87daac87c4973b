import fc from 'fast-check'
import type { MemoryLimits } from '../../src/base/memory.ts'
import type { BrokerLimits } from '../../src/broker/limits.ts'
import type { GatewayOptions } from '../../src/gateway/gateway-options.ts'
import type { AirtimeLimits } from '../../src/gateway/ports/airtime.ts'
import { WITHOUT } from '../runs.ts'
import type { HookKind } from './hook.ts'

/**
 * How a site is built: the bounds that its server has, and what its radio can do. Each has a name of its own here, a plain value in which nothing is
 * scarce, and others in which something is.
 */
export interface Setup {
  /** Who is there at the beginning: the collector alone, or all who are connected, or all who are subscribed to most. */
  readonly begins: 'alone' | 'connected' | 'subscribed'
  /** Whether one of the TCP clients is a bridge, and of which version; `later`: its first conversation does not say so yet. */
  readonly bridge: 'none' | '3.1.1' | '3.1' | 'later'
  /** Whose subscriptions have a condition: a TCP client asks for it, a sensor is given it by the configuration. */
  readonly conditional: 'nobody' | 'station' | 'sensor'
  /** Octets of the largest frame: of what the gateway sends (sn_max_frame), and of what the radio carries. */
  readonly maxFrame: number
  /** Of the gateway's port; none is no bound. */
  readonly airtime: (AirtimeLimits & { readonly maxQueued: number }) | null
  /** Of each link of the radio, on which no datagram overtakes another; 0 takes no time. */
  readonly linkBytesPerSecond: number
  readonly backoff: number
  readonly jitter: number
  readonly inflightMessages: number
  readonly wakeMessages: number
  readonly wakeBytes: number
  readonly topicsPerClient: number
  readonly register: 'lazy' | 'eager'
  readonly roam: 'asleep' | 'never'
  readonly strictSleep: boolean
  /** Whether addresses of sensors may be forged, so that they have to prove themselves (ruling A20). */
  readonly addresses: 'trusted' | 'unproven'
  /** Whether the sensor with a clean session has a will: without one its CONNECT has no dialogue. */
  readonly cleanWill: boolean
  /** With which the lasting sensor without a will subscribes: with 2 its CONNECT may cut an exchange whose link to the broker goes on. */
  readonly qosWithoutWill: 1 | 2
  /** A sensor that refuses the REGISTER of one topic. */
  readonly choosy: boolean
  /** A sensor that does not answer the REGISTER of one topic, because its table is full. */
  readonly ignoresRegister: boolean
  /** How long a sensor takes to hear what has arrived: one that is slow answers what was repeated meanwhile. */
  readonly hearsAfterMs: number
  /** The last normal topic id: those of a life run out, and are given again. */
  readonly lastTopicId: number
  /** Of the broker, and of the gateway. */
  readonly maxSessions: number
  readonly maxQueuedMessages: number
  readonly maxQueuedBytes: number
  readonly queueLimit: number
  readonly queueFull: 'drop_newest' | 'drop_oldest'
  readonly queueQos0Messages: boolean
  readonly maxInflightMessages: number
  readonly receiveMaximum: number
  readonly messageSizeLimit: number
  readonly maxRetainedMessages: number
  readonly maxRetainedBytes: number
  readonly maxSubscriptions: number
  /** Whether topics have a type, and what becomes of what does not fit. */
  readonly types: 'none' | 'refuse' | 'mark'
  /** Bytes of all that peers make the process hold; Infinity is no bound. */
  readonly memoryLimit: number
  /** Bytes of records that may wait to become durable. */
  readonly storeBytes: number
  /** What the program around the broker does with messages. */
  readonly hook: HookKind
}

/** More than anybody here ever needs. */
const PLENTY = 1_000_000

/** The plain value of each first. */
const CHOICES: { readonly [Name in keyof Setup]: readonly [Setup[Name], ...Setup[Name][]] } = {
  begins: ['alone', 'connected', 'subscribed', 'subscribed', 'subscribed'],
  bridge: ['none', '3.1.1', '3.1', 'later', 'later'],
  conditional: ['nobody', 'station', 'sensor'],
  maxFrame: [1024, 40, 24],
  airtime: [
    null,
    { bytesPerSecond: 500, dutyCycle: 1, maxQueued: 1 },
    { bytesPerSecond: 50, dutyCycle: 1, maxQueued: 1 },
    { bytesPerSecond: 50, dutyCycle: 1, maxQueued: 100 },
    { bytesPerSecond: 50, dutyCycle: 0.005, maxQueued: 100 },
  ],
  linkBytesPerSecond: [0, 200, 20],
  backoff: [1, 2],
  jitter: [0, 0.5],
  inflightMessages: [1, 2, 3],
  wakeMessages: [100, 1],
  wakeBytes: [PLENTY, 20],
  topicsPerClient: [100, 2, 1],
  register: ['lazy', 'eager'],
  roam: ['asleep', 'never'],
  strictSleep: [false, true],
  addresses: ['trusted', 'unproven'],
  cleanWill: [true, false],
  qosWithoutWill: [1, 2],
  choosy: [false, true],
  ignoresRegister: [false, true],
  hearsAfterMs: [0, 12_000],
  lastTopicId: [0xfffe, 0x0402, 0x0401],
  maxSessions: [1000, 4],
  maxQueuedMessages: [1000, 3, 1],
  maxQueuedBytes: [PLENTY, 60],
  queueLimit: [PLENTY, 2],
  queueFull: ['drop_newest', 'drop_oldest'],
  queueQos0Messages: [false, true],
  maxInflightMessages: [20, 1, 2],
  receiveMaximum: [1000, 1, 2],
  messageSizeLimit: [PLENTY, 40],
  maxRetainedMessages: [100, 1],
  maxRetainedBytes: [PLENTY, 30],
  maxSubscriptions: [100, 1],
  types: ['none', 'refuse', 'mark'],
  // Of which a sensor and its session take some 3300, and a TCP client 8000.
  memoryLimit: [Number.POSITIVE_INFINITY, 60_000, 35_000],
  storeBytes: [PLENTY, 2000],
  hook: ['none', 'asks', 'late', 'late', 'refuses', 'moves'],
}

/** Odds of the plain value, where others than four to one make for more to see. */
const USUAL: { readonly [Name in keyof Setup]?: number } = {
  begins: 1,
  airtime: 2,
  bridge: 2,
  cleanWill: 1,
  qosWithoutWill: 1,
  types: 1,
}

/** Nothing is scarce. */
export const PLAIN = Object.fromEntries(Object.entries(CHOICES).map(([name, [plain]]) => [name, plain])) as unknown as Setup

/** What differs from the plain setup. */
export type Scarce = Partial<Setup>

/** One thing in five is scarce, and in every third life nothing is; a setup shrinks to the plain one. */
export const setups = (): fc.Arbitrary<Scarce> => {
  const choices = Object.entries(CHOICES).filter(([name]) => !WITHOUT.includes(name))
  const scarce = fc.record(
    Object.fromEntries(
      choices.map(([name, [plain, ...others]]) => [
        name,
        fc.oneof(
          { withCrossShrink: true },
          { weight: USUAL[name as keyof Setup] ?? 4, arbitrary: fc.constant(plain) },
          { weight: 1, arbitrary: fc.constantFrom<unknown>(...others) },
        ),
      ]),
    ),
  )
  return fc
    .oneof({ withCrossShrink: true }, { weight: 1, arbitrary: fc.constant({}) }, { weight: 2, arbitrary: scarce })
    .map(onlyScarce)
}

const onlyScarce = (setup: object): Scarce =>
  Object.fromEntries(Object.entries(setup).filter(([name, value]) => value !== PLAIN[name as keyof Setup]))

/** As the gateway is configured with it. */
export const gatewayOptions = (setup: Setup): Partial<GatewayOptions> => ({
  ports: [
    {
      name: 'sn',
      maxFrame: setup.maxFrame,
      retry: { tRetryMs: 10_000, nRetry: 3, backoff: setup.backoff, jitter: setup.jitter },
      airtime: setup.airtime ?? undefined,
      maxQueued: setup.airtime?.maxQueued ?? 0,
    },
  ],
  inflightMessages: setup.inflightMessages,
  wakeMessages: setup.wakeMessages,
  wakeBytes: setup.wakeBytes,
  topicsPerClient: setup.topicsPerClient,
  topicIds: { from: 0x0401, to: setup.lastTopicId },
  register: setup.register,
  roam: setup.roam,
  strictSleep: setup.strictSleep,
  maxSessions: setup.maxSessions,
  ...(setup.addresses === 'unproven' && { trustedNetworks: [] }),
})

/** As the broker is configured with it. */
export const brokerLimits = (setup: Setup): Partial<BrokerLimits> => ({
  maxSessions: setup.maxSessions,
  maxQueuedMessages: setup.maxQueuedMessages,
  maxQueuedBytes: setup.maxQueuedBytes,
  queueLimit: setup.queueLimit === PLENTY ? Number.POSITIVE_INFINITY : setup.queueLimit,
  queueFull: setup.queueFull,
  queueQos0Messages: setup.queueQos0Messages,
  maxInflightMessages: setup.maxInflightMessages,
  receiveMaximum: setup.receiveMaximum,
  messageSizeLimit: setup.messageSizeLimit,
  maxRetainedMessages: setup.maxRetainedMessages,
  maxRetainedBytes: setup.maxRetainedBytes,
  maxSubscriptionsPerSession: setup.maxSubscriptions,
})

/** As its memory is bounded. */
export const memoryLimits = ({ memoryLimit }: Setup): Partial<MemoryLimits> => ({
  memoryLimit,
  maxMemoryPerClient: memoryLimit / 4,
})

/** Whether it is the sensor that is given a condition. */
export const isConditional = ({ conditional }: Setup, clientId: string): boolean => conditional === 'sensor' && clientId === 's1'

import type { BridgeValues } from '../config/options/bridges.ts'

/** A topic of a bridge: a line as in mosquitto.conf, or an object. */
export type GivenBridgeTopic =
  | string
  | {
      readonly pattern?: string | undefined
      readonly direction?: 'in' | 'out' | 'both' | undefined
      readonly qos?: 0 | 1 | 2 | undefined
      readonly localPrefix?: string | undefined
      readonly remotePrefix?: string | undefined
    }

type Optional = Partial<Omit<BridgeValues, 'name' | 'addresses'>>

/** A bridge to another broker (docs/bridge.md). */
export type GivenBridge = { readonly [K in keyof Optional]: Optional[K] | undefined } & {
  readonly name: string
  readonly topics: readonly GivenBridgeTopic[]
} & ({ readonly addresses: string | readonly string[] } | { readonly address: string })

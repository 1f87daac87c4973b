import type { GivenListener, GivenSettings, GivenSnListener } from '../config/options.ts'
import type { Hooks } from '../process/hooks.ts'
import type { GivenBridge } from './given-bridge.ts'
import type { GivenFilter } from './given-filters.ts'
import type { GivenTypes } from './given-types.ts'
import type { GivenUpstream } from './given-upstream.ts'
import type { Log } from './log.ts'

/** Options of the library alone: not keys of the configuration file. */
interface OwnOptions {
  /**
   * Path of a configuration file, as for `roost serve --config`; paths in it are relative to it. The other keys override it, as
   * flags do. With a file, the defaults are those of `roost serve`; multicast stays off all the same.
   */
  readonly config?: string | undefined
  /** Where log lines go. Absent: errors to standard error. false: nowhere. */
  readonly log?: Log | false | undefined
}

/**
 * The keys of the configuration file (docs/configuration.md) in camelCase, all optional, and what only a program can give. Paths are
 * relative to the working directory. Lists are arrays, or texts with commas as in the file.
 *
 * Without `config`, some defaults differ from those of `roost serve`, because a library should do nothing that nobody asked for:
 * the state is kept in memory unless `dataDir` is set (or `memory: false`: ./roost-data), there is no HTTP service unless a key of
 * it is set, and nothing is sent to or received from a multicast group unless `multicastGroup` or another key about it is.
 */
export type StartOptions = GivenSettings &
  Hooks &
  OwnOptions & {
    /** Listeners for MQTT clients, in place of the one that host, port and the like describe. */
    readonly listeners?: readonly GivenListener[] | undefined
    /** Ports for sensors, in place of the one that snHost, snPort and the like describe. */
    readonly snListeners?: readonly GivenSnListener[] | undefined
    /** Types of topics, in place of those of the file. */
    readonly types?: GivenTypes | undefined
    /** Bridges to other brokers, in place of those of the file (docs/bridge.md). */
    readonly bridges?: readonly GivenBridge[] | undefined
    /** The cluster at which sensors have their sessions, in place of that of the file. */
    readonly upstream?: GivenUpstream | undefined
    /** Conditions of subscriptions, in place of those of the file; the first that fits counts. */
    readonly filters?: readonly GivenFilter[] | undefined
  }

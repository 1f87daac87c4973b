import type { Connect, Will } from '../mqtt/packets.ts'
import { NO_PROPERTIES, type Properties } from '../mqtt/properties.ts'
import type { ProtocolVersion } from '../mqtt/publish.ts'
import type { Dialect } from './targets.ts'
import { TOPIC_ALIASES } from './upstream-stream.ts'

/** The Session Expiry Interval of a session that does not expire [5.0 section 3.1.2.11.2]. */
export const NEVER = 0xffff_ffff

/** What a link knows when it words a CONNECT. */
export interface ConnectState {
  readonly window: number
  readonly maxPacketSize: number
  /** The far side has a session of ours, which the next stream continues. */
  readonly keepsSession: boolean
  /** Client id that the far side has assigned; '' if none. */
  readonly assignedId: string
}

/** The session ends with each stream. */
export const isBrief = ({ cleanStart, properties }: Connect): boolean =>
  cleanStart && (properties.sessionExpiryInterval ?? 0) === 0

/**
 * Before 5.0 a session that begins clean also ends with its stream: where it should last, a first CONNECT makes it clean, and a
 * second one continues it.
 */
export const needsPurge = (connect: Connect, keepsSession: boolean, version: ProtocolVersion): boolean =>
  version < 5 && connect.cleanStart && !isBrief(connect) && !keepsSession

/** The CONNECT for a stream that has just been opened, from that of the link's owner. `will`: what this version is to have. */
export function connectFor(connect: Connect, state: ConnectState, dialect: Dialect, will: Will | undefined): Connect {
  const { version, bridge } = dialect
  const { sessionExpiryInterval, userProperties } = connect.properties
  const own: Properties = {
    receiveMaximum: state.window,
    maximumPacketSize: state.maxPacketSize,
    topicAliasMaximum: TOPIC_ALIASES,
  }
  if (sessionExpiryInterval !== undefined) own.sessionExpiryInterval = sessionExpiryInterval
  if (userProperties !== undefined) own.userProperties = userProperties
  return {
    ...connect,
    clientId: connect.clientId || state.assignedId,
    protocolVersion: version,
    bridge: connect.bridge && bridge,
    cleanStart: connect.cleanStart && !state.keepsSession,
    // A session that is only made clean first has no will.
    will:
      will === undefined || needsPurge(connect, state.keepsSession, version)
        ? undefined
        : version === 5
          ? will
          : { ...will, properties: NO_PROPERTIES },
    properties: version === 5 ? own : NO_PROPERTIES,
  }
}

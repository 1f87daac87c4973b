import type { ClientFacts } from '../mqtt/client-events.ts'
import { isOwnListener, type LinkInfo } from '../mqtt/link.ts'
import type { Connect } from '../mqtt/packets.ts'
import type { ClientLink } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import type { Session } from './session.ts'

/** A client as hooks see it. */
export const factsOf = ({ kind, clientId, username, listener }: Session): ClientFacts => ({ kind, clientId, username, listener })

/** Tells the hook `onConnect`. */
export function tellConnected({ hooks }: BrokerContext, session: Session, link: ClientLink, packet: Connect): void {
  const { onConnect } = hooks.events ?? {}
  if (onConnect === undefined || isOwn(link.info)) return
  const { protocolVersion, cleanStart, keepAlive } = packet
  const { peer } = link.info
  onConnect({ ...factsOf(session), peer, protocolVersion, cleanStart, sessionPresent: link.resumed, keepAlive })
}

/** Tells the hook `onDisconnect`; `reason`: why, if the client has not sent DISCONNECT. */
export function tellDisconnected({ hooks }: BrokerContext, session: Session, link: ClientLink, reason?: string): void {
  const { onDisconnect } = hooks.events ?? {}
  if (onDisconnect === undefined || isOwn(link.info)) return
  onDisconnect({ ...factsOf(session), peer: link.info.peer, isLost: reason !== undefined, reason: reason ?? 'DISCONNECT' })
}

/** Nobody is behind it who could be told of. */
const isOwn = ({ isShared, listener }: LinkInfo): boolean => isShared === true || isOwnListener(listener)

import type { ClientKind } from '../mqtt/link.ts'
import type { SessionKey } from '../store/store.ts'

/** The last key and what it was made of: a CONNECT asks three times, and each string of its own is joined and hashed again. */
const last: { kind: ClientKind; clientId: string; key: SessionKey } = { kind: 'mqtt', clientId: '', key: 'mqtt:' }

export function sessionKey(kind: ClientKind, clientId: string): SessionKey {
  if (clientId !== last.clientId || kind !== last.kind) {
    last.kind = kind
    last.clientId = clientId
    last.key = `${kind}:${clientId}`
  }
  return last.key
}

import { AccessPolicy } from '../../src/access/policy.ts'
import type { AuthAnswer, AuthRequest } from '../../src/broker/access.ts'
import type { Connect } from '../../src/mqtt/packets.ts'
import type { Wire } from './wire.ts'
import { WireClient, world } from './wire-client.ts'

// Enhanced authentication by a method M, whose verifier is the test.

export const METHOD = { authenticationMethod: 'M' }
export const withData = (data: string): object => ({ ...METHOD, authenticationData: Buffer.from(data) })
export const ACCEPTED: AuthAnswer = { kind: 'accepted', username: 'u', grant: undefined, data: Buffer.from('final') }
export const CONTINUE: AuthAnswer = { kind: 'continue', data: Buffer.from('challenge') }
export const REFUSED: AuthAnswer = { kind: 'refused', reasonCode: 0x87, reason: 'the proof is wrong' }

/** Method M is asked about; whoever uses none is let in. */
const POLICY = {
  allowAnonymous: true,
  verifies: false,
  methods: ['M'],
  passwords: undefined,
  tokenKeys: new Set<string>(),
  acl: undefined,
}
export const access = new AccessPolicy(new Map(), POLICY)

/** Answers the question that waits. */
export function answerAuth(wire: Wire, answered: AuthAnswer): AuthRequest {
  const request = wire.broker.nextAuthRequest()
  if (request === undefined) throw new Error('nothing was asked')
  wire.broker.authenticated(wire.now, request.link, request.step, answered)
  wire.run()
  return request
}

/** A client that has sent CONNECT with method M. */
export const asking = (options: Partial<Connect> = {}): { wire: Wire; client: WireClient } => {
  const wire = world({ access })
  return { wire, client: new WireClient(wire, { properties: withData('first'), ...options }) }
}

/** The same, let in. */
export const joined = (options: Partial<Connect> = {}): { wire: Wire; client: WireClient } => {
  const { wire, client } = asking(options)
  answerAuth(wire, ACCEPTED)
  client.hears()
  return { wire, client }
}

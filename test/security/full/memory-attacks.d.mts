import type { Started } from './started.mjs'

/** What was taken, how often each reason code refused the rest, and who did it. */
export interface Outcome {
  readonly taken: number
  readonly refusals: ReadonlyMap<number, number>
  /** Messages that came meanwhile. */
  readonly deliveries?: readonly { readonly payload: Uint8Array }[]
  readonly clients: readonly { end(): void }[]
}

type Attack = (roost: Started, ...sizes: number[]) => Promise<Outcome>

export class Victim {
  readonly sent: number
  readonly refused: number
  static start(port: number, perSecond?: number): Promise<Victim>
  percentiles(): [number, number]
  stop(): Promise<number>
}

/** `times`: milliseconds that honest logins took, the first with nobody beside it. */
export const pendingLogins: (
  roost: Started,
  connections: number,
  users: number,
  before: number,
  perSecond?: number,
  octets?: number,
) => Promise<Outcome & { readonly times: readonly number[] }>
export const halfHandshakes: Attack
export const filters: Attack
export const deepFilters: Attack
export const sharedGroups: Attack
export const retained: Attack
export const queues: Attack
export const wills: Attack
export const sessions: Attack
export const halfPackets: Attack
export const routes: Attack
export const wireForms: Attack
export const outputs: Attack
export const unacknowledged: Attack
export const receipts: Attack
export const aliases: Attack
export const manyFilters: Attack
export const registers: Attack
export const userNames: Attack
export const retainers: Attack
export const answers: Attack
export const firedWills: Attack
export const waitingWills: Attack
export const willTopics: Attack
export const keptWills: Attack

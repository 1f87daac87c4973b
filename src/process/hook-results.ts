import type { DeliveryAnswer, MessageChange, PublishAnswer } from '../broker/hooks.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { DeliverEvent, PublishEvent } from './hooks.ts'
import { propertiesOf, topicError } from './messages.ts'

/** What a hook has returned and may not: one line that names the key. */
export class HookResultError extends Error {}

/** Reason codes with which PUBACK and PUBREC refuse [5.0 sections 3.4.2.1, 3.5.2.1]. */
const OF_PUBACK: ReadonlySet<unknown> = new Set([
  ReasonCode.UNSPECIFIED_ERROR,
  ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
  ReasonCode.NOT_AUTHORIZED,
  ReasonCode.TOPIC_NAME_INVALID,
  ReasonCode.QUOTA_EXCEEDED,
  ReasonCode.PAYLOAD_FORMAT_INVALID,
])

/** Reason codes with which CONNACK refuses a client that could not be verified [5.0 section 3.2.2.2]. */
const OF_CONNACK: ReadonlySet<unknown> = new Set([
  ReasonCode.UNSPECIFIED_ERROR,
  ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
  ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
  ReasonCode.BAD_USER_NAME_OR_PASSWORD,
  ReasonCode.NOT_AUTHORIZED,
  ReasonCode.SERVER_UNAVAILABLE,
  ReasonCode.SERVER_BUSY,
  ReasonCode.BANNED,
  ReasonCode.QUOTA_EXCEEDED,
  ReasonCode.USE_ANOTHER_SERVER,
  ReasonCode.CONNECTION_RATE_EXCEEDED,
])

function wrongCode(given: unknown, codes: ReadonlySet<unknown>): HookResultError {
  const [last, ...others] = Array.from(codes, hex).reverse()
  const got = typeof given === 'number' && given >= 0 ? hex(given) : inWords(given)
  return new HookResultError(`reasonCode: expected ${others.reverse().join(', ')} or ${last}, got ${got}`)
}

const hex = (code: unknown): string => `0x${Number(code).toString(16).padStart(2, '0')}`

/** The answer of `authenticate`: 0 accepts. `username`: `undefined` for the one that the client has. */
export interface LoginAnswer {
  readonly reasonCode: number
  readonly username: string | undefined
}

/** @throws HookResultError */
export function loginAnswer(result: unknown): LoginAnswer {
  if (typeof result === 'boolean') return { reasonCode: result ? 0 : ReasonCode.BAD_USER_NAME_OR_PASSWORD, username: undefined }
  if (!isRecord(result)) throw new HookResultError(`expected true, false or { reasonCode, username }, got ${inWords(result)}`)
  refuseOthers(result, ['reasonCode', 'username'])
  const { reasonCode = 0, username } = result
  if (username !== undefined && (typeof username !== 'string' || username === '' || /[\0\p{Cs}]/u.test(username)))
    throw new HookResultError(`username: expected a text, got ${inWords(username)}`)
  if (reasonCode === 0) {
    // {} is a result that was forgotten, not one that lets a client in.
    if (!('reasonCode' in result) && username === undefined) throw new HookResultError('expected reasonCode or username, got {}')
    return { reasonCode, username }
  }
  if (!OF_CONNACK.has(reasonCode)) throw wrongCode(reasonCode, OF_CONNACK)
  return { reasonCode: reasonCode as number, username: undefined }
}

/** @throws HookResultError */
export function accessAnswer(result: unknown): boolean {
  if (typeof result === 'boolean') return result
  throw new HookResultError(`expected true or false, got ${inWords(result)}${tooLate(result)}`)
}

/** @throws HookResultError */
export function publishAnswer(result: unknown, message: PublishEvent): PublishAnswer {
  if (result === undefined || result === true) return ACCEPTED
  if (result === false) return { kind: 'refused', reasonCode: ReasonCode.NOT_AUTHORIZED, reason: BY_HOOK }
  if (!isRecord(result)) throw new HookResultError(`expected nothing, false or an object, got ${inWords(result)}`)
  const { reasonCode = 0 } = result
  refuseOthers(result, [...Object.keys(message), 'reasonCode'])
  if (reasonCode !== 0) {
    if (!OF_PUBACK.has(reasonCode)) throw wrongCode(reasonCode, OF_PUBACK)
    return { kind: 'refused', reasonCode: reasonCode as number, reason: BY_HOOK }
  }
  const { topic } = result
  const wrong = topic === undefined ? '' : topicError(topic)
  if (wrong !== '') throw new HookResultError(`topic: ${wrong}`)
  const change = contentChange(result, message)
  const isMoved = topic !== undefined && topic !== message.topic
  if (change === undefined && !isMoved) return ACCEPTED
  return { kind: 'accepted', change: isMoved ? { ...change, topic: topic as string } : change }
}

const BY_HOOK = 'refused by the hook onPublish'
const ACCEPTED: PublishAnswer = { kind: 'accepted' }

/** @throws HookResultError */
export function deliveryAnswer(result: unknown, message: DeliverEvent): DeliveryAnswer {
  if (result === undefined || result === true) return undefined
  if (result === false) return 'drop'
  if (!isRecord(result) || isThenable(result))
    throw new HookResultError(`expected nothing, false or an object, got ${inWords(result)}${tooLate(result)}`)
  refuseOthers(result, Object.keys(message))
  if (result.topic !== undefined && result.topic !== message.topic)
    throw new HookResultError('topic: cannot be changed for one recipient')
  return contentChange(result, message)
}

type Content = Pick<MessageChange, 'payload' | 'properties'>

function contentChange(result: Record<string, unknown>, message: PublishEvent): Content | undefined {
  for (const key of ['qos', 'retain'] as const)
    if (result[key] !== undefined && result[key] !== message[key]) throw new HookResultError(`${key}: cannot be changed`)
  const { payload, properties: given } = result
  const properties = given === message.properties ? undefined : given
  if (payload === undefined && properties === undefined) return undefined
  if (payload !== undefined && typeof payload !== 'string' && !(payload instanceof Uint8Array))
    throw new HookResultError(`payload: expected a Uint8Array or a string, got ${inWords(payload)}`)
  const checked = properties === undefined ? undefined : propertiesOf(properties as PublishEvent['properties'])
  if (typeof checked === 'string') throw new HookResultError(checked)
  return { payload: typeof payload === 'string' ? Buffer.from(payload) : payload, properties: checked }
}

/** What the message has besides may be repeated, as in `{ ...message, payload }`. */
function refuseOthers(result: Record<string, unknown>, known: readonly string[]): void {
  const other = Object.keys(result).find((key) => !known.includes(key))
  if (other !== undefined) throw new HookResultError(`${other}: unknown key`)
}

export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'

/** What to say of a promise that nobody can wait for. What it leads to must not end the process as an unhandled rejection. */
function tooLate(result: unknown): string {
  if (!isThenable(result)) return ''
  result.then(undefined, () => {})
  return ': it has to decide at once, and cannot be async'
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)

const inWords = (value: unknown): string =>
  isThenable(value) ? 'a promise' : Array.isArray(value) ? 'a list' : value === null ? 'null' : short(value)

const short = (value: unknown): string =>
  typeof value === 'number' || typeof value === 'boolean' ? String(value) : `a value of type ${typeof value}`

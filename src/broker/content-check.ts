import { plainName } from '../base/describe.ts'
import type { Publish } from '../mqtt/publish.ts'
import type { BrokerContext } from './context.ts'

/** What is wrong with the payload of a message. */
export interface Misfit {
  readonly message: Publish
  /** The name of the type that its topic has. */
  readonly type: string
  /** In plain words, without control characters, and short. */
  readonly problem: string
  /** What becomes of the message. 'marked': it has a user property that says so. */
  readonly action: 'refused' | 'marked'
  /** A client of MQTT 3 is disconnected: no acknowledgement of its protocol can say that a message was refused. */
  readonly closes: boolean
}

/** Looks at the payloads of messages before they are accepted, whoever publishes them; those of the broker itself are not looked at. */
export interface ContentCheck {
  /** Returns what is wrong with a message, and completes its properties: content type and mark. */
  check(message: Publish): Misfit | undefined
  /** Returns why `check` would refuse the message; changes and counts nothing. */
  foresee(message: Publish): Misfit | undefined
  /** What has become of the messages of each type since the start, in the order of the configuration. */
  figures(): readonly ContentFigures[]
}

export interface ContentFigures {
  readonly type: string
  /** Messages that were held against a schema or a layout, and fitted. */
  valid: number
  refused: number
  marked: number
}

export const misfitWords = ({ type, problem }: Misfit): string => `not of type ${type}: ${problem}`

/** Returns what is wrong with a message if it is refused for that; reports it if it is marked instead. `client`: its publisher's session key. */
export function refusedMisfit(
  { content, notice }: Pick<BrokerContext, 'content' | 'notice'>,
  message: Publish,
  client: string,
): Misfit | undefined {
  const misfit = content?.check(message)
  if (misfit?.action !== 'marked') return misfit
  const reason = `${plainName(message.topic)} is ${misfitWords(misfit)}`
  notice({ code: 'publish-marked', level: 'info', client, reason })
  return undefined
}

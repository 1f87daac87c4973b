import { StartError } from '../../base/start-error.ts'
import { printable } from '../../process/log.ts'
import { jsonArray, table } from '../listing.ts'
import type { Host } from '../serve.ts'
import { ApiClient, type ApiFlags, collected } from './api-client.ts'
import { timeText } from './figures.ts'
import type { Shape } from './shape.ts'

export interface RetainedFlags extends ApiFlags {
  readonly query?: string
  readonly level?: string
  readonly json?: true
}

interface RetainedMessage {
  readonly topic: string
  readonly payload_bytes: number
  readonly qos: number
  readonly publisher?: string
  readonly user?: string
  readonly expires_in?: number
}

const MESSAGE: Shape = {
  topic: 'string',
  payload_bytes: 'number',
  qos: 'number',
  'publisher?': 'string',
  'user?': 'string',
  'expires_in?': 'number',
}
const LEVEL: Shape = { topic: 'string', retained: 'boolean', below: 'number' }

interface RetainedLevel {
  readonly topic: string
  readonly retained: boolean
  readonly below: number
}

/** Lists retained messages, or levels of their topics. */
export async function retained(flags: RetainedFlags, host: Host, filter: string | undefined): Promise<void> {
  const { query: q, level, json } = flags
  if (level !== undefined && (filter !== undefined || q !== undefined))
    throw new StartError('--level: not with a filter or --query')
  const api = await ApiClient.from(flags, host)
  const path = '/api/v1/retained'
  const lines =
    level === undefined
      ? output(await collected(api.list<RetainedMessage>(path, { filter, q }, 'messages', MESSAGE)), json, messageTable)
      : output(await collected(api.list<RetainedLevel>(path, { level }, 'levels', LEVEL)), json, levelTable)
  for (const line of lines) host.stdout.write(line)
}

const output = <T>(entries: readonly T[], json: true | undefined, tableOf: (entries: readonly T[]) => readonly string[]) =>
  json === true ? jsonArray(entries) : tableOf(entries)

const messageTable = (messages: readonly RetainedMessage[]): readonly string[] =>
  table(
    [
      ['TOPIC', 'BYTES', 'QOS', 'PUBLISHER', 'USER', 'EXPIRES'],
      ...messages.map(({ topic, payload_bytes: bytes, qos, publisher, user, expires_in: expires }) =>
        [
          topic,
          `${bytes}`,
          `${qos}`,
          publisher ?? '-',
          user ?? '-',
          expires === undefined ? 'never' : `in ${timeText(expires)}`,
        ].map(printable),
      ),
    ],
    new Set([1, 2]),
  )

const levelTable = (levels: readonly RetainedLevel[]): readonly string[] =>
  table(
    [
      ['TOPIC', 'RETAINED', 'BELOW'],
      ...levels.map(({ topic, retained, below }) => [topic, retained ? 'yes' : 'no', `${below}`].map(printable)),
    ],
    new Set([2]),
  )

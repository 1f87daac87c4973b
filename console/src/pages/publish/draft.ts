import { signal } from '@preact/signals'
import type { Operations } from '../../lib/api-types.ts'
import { base64 } from '../../lib/session.ts'
import { topicNameError } from '../../lib/topics.ts'

export type Form = 'text' | 'json' | 'hex' | 'base64'
export type Body = Operations['POST /api/v1/publish']['body']

/** What is in the form. */
export interface Draft {
  readonly topic: string
  readonly form: Form
  readonly payload: string
  readonly qos: '0' | '1' | '2'
  readonly retain: boolean
  /** Seconds; '' for never. */
  readonly expiry: string
  readonly payloadFormat: '' | 'bytes' | 'utf-8'
  readonly contentType: string
  readonly responseTopic: string
  /** Text, or hexadecimal digits after 0x. */
  readonly correlationData: string
  /** `name: value`, one a line. */
  readonly userProperties: string
}

export const EMPTY: Draft = {
  topic: '',
  form: 'text',
  payload: '',
  qos: '0',
  retain: false,
  expiry: '',
  payloadFormat: '',
  contentType: '',
  responseTopic: '',
  correlationData: '',
  userProperties: '',
}

/** It stays while the user looks at other pages, and is gone with the tab: payloads may be secrets. */
export const draft = signal<Draft>(EMPTY)

/** Errors by the field that they are about. */
export type Errors = Partial<Record<keyof Draft, string>>

const EXPIRY_MAX = 0xffffffff

export function errorsOf(from: Draft): Errors {
  const errors: Errors = {}
  const topic = topicNameError(from.topic)
  if (topic !== '') errors.topic = `The topic ${topic}.`
  else if (/^\$(SYS|CONTROL)(\/|$)/.test(from.topic)) errors.topic = 'Only Roost publishes below $SYS and $CONTROL.'
  const payload = payloadError(from)
  if (payload !== '') errors.payload = payload
  const seconds = Number(from.expiry)
  if (from.expiry !== '' && !(Number.isInteger(seconds) && seconds >= 1 && seconds <= EXPIRY_MAX))
    errors.expiry = `A whole number of seconds from 1 to ${EXPIRY_MAX}, or nothing.`
  const response = from.responseTopic === '' ? '' : topicNameError(from.responseTopic)
  if (response !== '') errors.responseTopic = `The response topic ${response}.`
  if (/^0x/i.test(from.correlationData) && bytesOfHex(from.correlationData.slice(2)) === undefined)
    errors.correlationData = 'After 0x come pairs of hexadecimal digits.'
  if (linesOf(from.userProperties).some((line) => !line.includes(':')))
    errors.userProperties = 'Each line is a name, a colon and a value.'
  return errors
}

function payloadError({ form, payload }: Draft): string {
  if (form === 'hex' && bytesOfHex(payload) === undefined) return 'Pairs of hexadecimal digits, such as 48 65 6c.'
  if (form === 'base64' && !isBase64(payload)) return 'This is not base64.'
  if (form !== 'json' || payload === '') return ''
  try {
    JSON.parse(payload)
    return ''
  } catch (error) {
    return `This is not JSON: ${(error as Error).message}.`
  }
}

export function bytesOfHex(text: string): Uint8Array | undefined {
  const digits = text.replaceAll(/[\s:,]|0x/gi, '')
  if (digits.length % 2 === 1 || /[^0-9a-f]/i.test(digits)) return undefined
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}

const withoutSpaces = (text: string): string => text.replaceAll(/\s/g, '')

function isBase64(text: string): boolean {
  try {
    atob(withoutSpaces(text))
    return true
  } catch {
    return false
  }
}

const linesOf = (text: string): string[] => text.split('\n').filter((line) => line.trim() !== '')

/** Of a draft without errors. */
export function bodyOf(from: Draft): Body {
  const { topic, form, payload, qos, retain, expiry } = from
  const properties = propertiesOf(from)
  const content = {
    text: { payload },
    json: { payload },
    hex: { payload_base64: base64(bytesOfHex(payload) ?? new Uint8Array()) },
    base64: { payload_base64: withoutSpaces(payload) },
  }[form]
  return {
    topic,
    ...content,
    qos: Number(qos),
    retain,
    ...(expiry !== '' && { expiry: Number(expiry) }),
    ...(Object.keys(properties).length > 0 && { properties }),
  }
}

function propertiesOf({ payloadFormat, contentType, responseTopic, correlationData, userProperties }: Draft) {
  const pairs = linesOf(userProperties).map((line) => {
    const colon = line.indexOf(':')
    return { name: line.slice(0, colon).trim(), value: line.slice(colon + 1).trim() }
  })
  const correlation = /^0x/i.test(correlationData)
    ? bytesOfHex(correlationData.slice(2))!
    : new TextEncoder().encode(correlationData)
  return {
    ...(payloadFormat !== '' && { payload_format: payloadFormat }),
    ...(contentType !== '' && { content_type: contentType }),
    ...(responseTopic !== '' && { response_topic: responseTopic }),
    ...(correlation.length > 0 && { correlation_data: base64(correlation) }),
    ...(pairs.length > 0 && { user_properties: pairs }),
  }
}

/** Bytes of the payload. */
export function lengthOf({ form, payload }: Draft): number | undefined {
  if (form === 'hex') return bytesOfHex(payload)?.length
  if (form === 'base64') return isBase64(payload) ? atob(withoutSpaces(payload)).length : undefined
  return new TextEncoder().encode(payload).length
}

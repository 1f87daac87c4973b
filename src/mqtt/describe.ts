import { utf8Length } from '../base/bytes.ts'
import { field, flags, hex, list, name, payload, plainName, type Shown } from '../base/describe.ts'
import { type Connect, type Packet, PacketType, type Will } from './packets.ts'
import type { Properties } from './properties.ts'
import type { ProtocolVersion, Publish } from './publish.ts'
import { ReasonCode } from './reason-codes.ts'

const TYPE_NAMES = new Map(Object.entries(PacketType).map(([key, type]) => [type as number, key]))
const REASON_NAMES = new Map(
  Object.entries(ReasonCode).map(([key, code]) => [code as number, key.toLowerCase().replaceAll('_', ' ')]),
)
const VERSIONS: Readonly<Record<ProtocolVersion, string>> = { 3: '3.1', 4: '3.1.1', 5: '5.0' }

/** From this reason code on, it is an error [5.0 section 2.4]. */
const FIRST_ERROR = 0x80

/** Name of a packet type: `PUBLISH`. */
export const packetTypeName = (type: number): string => TYPE_NAMES.get(type) ?? `packet type ${type}`

/** Name of a reason code as in the specification, with its number: `not authorized (0x87)`. */
export const reasonCodeName = (code: number): string => {
  const number = `0x${code.toString(16).padStart(2, '0')}`
  const known = REASON_NAMES.get(code)
  return known === undefined ? `reason code ${number}` : `${known} (${number})`
}

/**
 * Describes a packet in one line: `PUBLISH topic="site/temp" qos=1 msgid=12 4 bytes`. Never contains a password or
 * authentication data; payloads, what is said of them, and user properties only if `shown` asks for them.
 */
export function describePacket(packet: Packet, shown: Shown = {}): string {
  const { type } = packet
  const properties = 'properties' in packet ? describeProperties(packet.properties, shown) : []
  return [packetTypeName(type), ...fieldsOf(packet, shown), ...properties].join(' ')
}

function fieldsOf(p: Packet, shown: Shown): string[] {
  switch (p.type) {
    case PacketType.CONNECT:
      return connectFields(p, shown)
    case PacketType.CONNACK:
      return [outcome(p.reasonCode, 'accepted'), ...flags({ 'session-present': p.sessionPresent })]
    case PacketType.PUBLISH:
      return publishFields(p, shown)
    case PacketType.PUBACK:
    case PacketType.PUBREC:
    case PacketType.PUBREL:
    case PacketType.PUBCOMP:
      return [`msgid=${p.packetId}`, ...(p.reasonCode === 0 ? [] : [outcome(p.reasonCode, '')])]
    case PacketType.SUBSCRIBE:
      return [
        list(p.subscriptions, ({ filter, qos, noLocal, retainAsPublished, retainHandling }) =>
          [
            field('topic', filter),
            `qos=${qos}`,
            ...flags({ 'no-local': noLocal, 'retain-as-published': retainAsPublished }),
            ...(retainHandling === 0 ? [] : [`retain-handling=${retainHandling}`]),
          ].join(' '),
        ),
        `msgid=${p.packetId}`,
      ]
    case PacketType.SUBACK:
      return [list(p.reasonCodes, (code) => (code < 3 ? `qos=${code}` : outcome(code, ''))), `msgid=${p.packetId}`]
    case PacketType.UNSUBSCRIBE:
      return [list(p.filters, (filter) => field('topic', filter)), `msgid=${p.packetId}`]
    case PacketType.UNSUBACK:
      return [...(p.reasonCodes.length === 0 ? [] : [list(p.reasonCodes, (code) => outcome(code, 'ok'))]), `msgid=${p.packetId}`]
    case PacketType.DISCONNECT:
    case PacketType.AUTH:
      return p.reasonCode === 0 ? [] : [reasonCodeName(p.reasonCode)]
    default:
      return []
  }
}

function connectFields(p: Connect, shown: Shown): string[] {
  return [
    field('client', p.clientId),
    `version=${VERSIONS[p.protocolVersion]}`,
    ...flags({ bridge: p.bridge, clean: p.cleanStart }),
    `keepalive=${p.keepAlive}`,
    ...(p.username === undefined ? [] : [field('user', p.username)]),
    ...flags({ password: p.password !== undefined }),
    ...(p.will === undefined ? [] : [`will(${willFields(p.will, shown).join(' ')})`]),
  ]
}

const willFields = ({ topic, qos, retain, payload: message, properties }: Will, shown: Shown): string[] => [
  field('topic', topic),
  `qos=${qos}`,
  ...flags({ retain }),
  payload(message, shown),
  ...describeProperties(properties, shown),
]

function publishFields(p: Publish, shown: Shown): string[] {
  const named = p.topic === '' && shown.topic !== undefined ? [`topic="" (${plainName(shown.topic)})`] : [field('topic', p.topic)]
  const msgId = p.qos === 0 ? [] : [`msgid=${p.packetId}`]
  return [...named, `qos=${p.qos}`, ...flags({ dup: p.dup, retain: p.retain }), ...msgId, payload(p.payload, shown)]
}

const outcome = (code: number, success: string): string => {
  if (code === 0) return success
  return code >= FIRST_ERROR ? `rejected: ${reasonCodeName(code)}` : reasonCodeName(code)
}

/** Texts by which a publisher says what its payload is. */
const OF_PAYLOADS: ReadonlySet<keyof Properties> = new Set(['contentType', 'responseTopic'])

function describeProperties(properties: Properties, shown: Shown): string[] {
  const described: string[] = []
  for (const [key, value] of Object.entries(properties) as [keyof Properties, unknown][]) {
    if (value === undefined || key === 'authenticationData') continue
    if (key === 'userProperties') described.push(userProperties(value as NonNullable<Properties['userProperties']>, shown))
    else if (OF_PAYLOADS.has(key) && shown.payloads !== true) described.push(`${key}=(${utf8Length(value as string)} bytes)`)
    else if (value instanceof Uint8Array)
      described.push(`${key}=${shown.payloads === true ? hex(value.subarray(0, 64)) : ''}(${value.length} bytes)`)
    else described.push(`${key}=${typeof value === 'string' ? name(value) : String(value)}`)
  }
  return described
}

function userProperties(pairs: readonly (readonly [string, string])[], { payloads = false }: Shown): string {
  if (!payloads) return `userProperties=${pairs.length}`
  return `userProperties=(${list(pairs, ([key, value]) => `${name(key)}: ${name(value)}`)})`
}

import type { ExplainedRule } from '../../access/acl.ts'
import { type Action, actionsOf, decidingRule, isPartial } from '../../access/explanation.ts'
import type { RuleSource } from '../../access/policy.ts'
import type { Identity } from '../../broker/access.ts'
import {
  bridgeOfStateTopic,
  isReservedTopic,
  realFilter,
  sharedFilter,
  topicFilterError,
  topicNameError,
} from '../../mqtt/topics.ts'
import type { HttpContext } from '../context.ts'
import { type HttpRequest, type HttpResponse, json, problem, type Route } from '../exchange.ts'
import { READ_ACCESS } from './access-specs.ts'
import { findClient, isEntry } from './client-actions.ts'
import { type ClientEntry, first, LISTED } from './client-json.ts'

/** What a client may do. */
export const accessRoutes = (context: HttpContext): readonly Route[] => [
  { method: 'GET', path: '/api/v1/access', needs: 'view', spec: READ_ACCESS, answer: (request) => readAccess(context, request) },
]

/** A client, as the rules see it. */
interface Subject {
  readonly entry: ClientEntry
  readonly who: Identity
  readonly mountPoint: string
  /** The name of the listener, or ''. */
  readonly listener: string
  readonly sensorUser: object | undefined
  readonly unknown: string[]
}

function readAccess(context: HttpContext, { query }: HttpRequest): HttpResponse {
  const { client = '', topic, action, user, listener } = query
  if ((topic === undefined) !== (action === undefined)) return problem(400, 'topic and action belong together')
  const { access } = context
  if (listener !== undefined && !access.listeners.includes(listener))
    return problem(400, `listener: there are ${access.listeners.join(', ')}`)
  const entry = entryOf(context, client)
  if (!isEntry(entry)) return entry
  if (entry.protocol === 'mqtt-sn' && (user ?? listener) !== undefined)
    return problem(400, 'user and listener are for MQTT clients: the user of a sensor follows from sn_users')
  const subject = entry.protocol === 'mqtt-sn' ? sensorOf(context, entry) : mqttClientOf(context, entry, user, listener)
  const source = access.sourceOf(subject.who)
  const answer = topic === undefined ? undefined : answerTo(context, subject, source, action as Action, topic)
  if (typeof answer === 'string') return problem(400, `topic: ${answer}`)
  return json({ ...accessJson(context, subject, source), answer })
}

/** A client that is known, or one that could connect with this id. */
function entryOf({ server }: HttpContext, client: string): ClientEntry | HttpResponse {
  const found = findClient(server, client)
  const [, kind, clientId] = /^(mqtt|sn):(.+)$/s.exec(client) ?? []
  if (isEntry(found) || found.status !== 404) return found
  if (kind === undefined)
    return problem(404, 'there is no such client; with mqtt: or sn: before the client id it may be a new one')
  const protocol = kind === 'sn' ? 'mqtt-sn' : 'mqtt'
  const key = `${kind as 'mqtt' | 'sn'}:${clientId!}` as const
  const nothing = { user: undefined, port: '', session: undefined, sensor: undefined }
  return { key, clientId: clientId!, protocol, state: 'disconnected', ...nothing }
}

function mqttClientOf(
  { access }: HttpContext,
  entry: ClientEntry,
  user: string | undefined,
  atListener: string | undefined,
): Subject {
  const { clientId, session, port } = entry
  const [only, another] = access.listeners
  const listener = atListener ?? (port === '' && another === undefined ? (only ?? '') : port)
  const isAsked = user !== undefined
  const unknown: string[] = []
  if (session === undefined && !isAsked)
    unknown.push('user: it has no session; these are the rules for a client without a user name')
  if (listener === '') unknown.push('listener: it is not known; these are the rules that hold for all listeners without own ones')
  const who: Identity = {
    kind: 'mqtt',
    clientId,
    username: isAsked ? user : entry.user,
    listener,
    // The rights of a login are those of its user.
    grant: isAsked ? undefined : session?.grant,
    certified: session?.certified ?? false,
    verified: isAsked || (session?.verified ?? false),
  }
  if (session !== undefined && session.link === undefined && access.sourceOf(who).kind === 'login')
    unknown.push('rules: these are the rights of its last login; the next one may bring others')
  return { entry, who, listener, mountPoint: access.mountPointOf(listener), sensorUser: undefined, unknown }
}

/** A sensor has no credentials: its user follows from its client id and its address. */
function sensorOf({ access, sensors, server }: HttpContext, entry: ClientEntry): Subject {
  const { clientId, session } = entry
  const route = server.gateway.client(clientId)?.route
  const { rule, outcome, username } = sensors.rules.decide(clientId, route ?? '')
  const unknown: string[] = []
  if (route === undefined && sensors.rules.rules.some(({ networks }) => networks !== undefined))
    unknown.push('address: it is not known, so rules of sn_users with networks are taken not to match')
  const known = session?.username ?? entry.user
  const who: Identity = {
    kind: 'sn',
    clientId,
    username: session === undefined && entry.sensor === undefined ? username : known,
    listener: '',
    grant: undefined,
    certified: username !== undefined,
    verified: true,
  }
  const isAdmitted = outcome === 'user' || outcome === 'anonymous'
  const option = rule?.user === undefined ? (sensors.username === undefined ? undefined : 'sn_username') : 'sn_users'
  const sensorUser = {
    outcome,
    may_connect: isAdmitted && access.remains({ ...who, username }) === 0,
    user: username,
    option,
    ...(rule !== undefined && { file: sensors.file, line: rule.line }),
  }
  return { entry, who, listener: '', mountPoint: '', sensorUser, unknown }
}

function accessJson({ access }: HttpContext, subject: Subject, source: RuleSource): object {
  const { entry, who, listener, mountPoint, sensorUser, unknown } = subject
  const { key, clientId, protocol, state, session, sensor } = entry
  const rules = source.kind === 'none' ? [] : source.rules
  const address = sensor?.address ?? session?.link?.info.peer ?? ''
  return {
    id: key,
    client_id: clientId,
    protocol,
    connected: state !== 'disconnected' && state !== 'lost',
    user: who.username,
    user_verified: who.username !== undefined && who.verified,
    listener: listener === '' ? undefined : listener,
    mount_point: mountPoint === '' ? undefined : mountPoint,
    banned: access.bans.hasId(clientId) || access.bans.hasPeer(address) || undefined,
    sensor_user: sensorUser,
    rules_from: rulesFrom(source),
    rules_of_user: source.kind === 'acl' ? source.username : undefined,
    default: source.kind === 'none' ? 'allow' : 'deny',
    subscriptions: access.keepsSubscriptions(who) ? 'filtered' : 'whole',
    rule_count: rules.length,
    rules: first(rules, LISTED, ({ filter = '', pattern = '' }) => filter.length + pattern.length).map((rule) => ({
      permission: rule.permission,
      allow: rule.permission !== 'deny',
      actions: actionsOf(rule.permission),
      filter: rule.filter,
      ...placeOf(source, rule),
      ignored: rule.filter === undefined ? whyIgnored(rule, source) : undefined,
    })),
    unknown,
  }
}

function rulesFrom(source: RuleSource): string {
  if (source.kind !== 'login') return source.kind === 'acl' ? 'acl_file' : 'none'
  return source.proof === 'token' || source.proof === 'service' ? source.proof : 'login'
}

const placeOf = (source: RuleSource, { line, pattern }: ExplainedRule): object => ({
  file: source.kind === 'acl' ? source.file : undefined,
  line,
  pattern,
})

const whyIgnored = ({ pattern = '' }: ExplainedRule, source: RuleSource): string =>
  source.kind === 'acl' && source.username === undefined && pattern.split('/').includes('%u')
    ? 'the client has no user name that counts here'
    : 'the name of the client cannot be one level of a topic'

/** Decides as the broker does, without its caches. Returns an error of the topic as text. */
function answerTo(
  { server, access }: HttpContext,
  { entry, who, mountPoint }: Subject,
  source: RuleSource,
  action: Action,
  topic: string,
): object | string {
  const wrong = action === 'subscribe' ? filterError(topic) : topicNameError(topic)
  if (wrong !== '') return wrong
  const real = mountPoint + (action === 'subscribe' ? realFilter(topic) : topic)
  const rules = source.kind === 'none' ? [] : source.rules
  const filtered = access.keepsSubscriptions(who)
  const rule = decidingRule(rules, action, real, filtered)
  const said = (allowed: boolean, why: string, by?: ExplainedRule): object => ({
    action,
    topic,
    allowed,
    why,
    ...(by !== undefined && { permission: by.permission, filter: by.filter, ...placeOf(source, by) }),
    partial: (action === 'subscribe' && allowed && source.kind !== 'none' && isPartial(rules, real)) || undefined,
  })
  if (action === 'publish') {
    const bridge = bridgeOfStateTopic(real)
    if (server.broker.live.owns(real) || (isReservedTopic(real) && bridge === undefined))
      return said(false, 'only the broker publishes on this topic')
    if (bridge !== undefined && rule === undefined) {
      const isOwn = entry.session?.link?.bridge === true && bridge === who.clientId
      return said(
        isOwn,
        isOwn ? 'a bridge may publish its own state' : 'only this bridge, and whom a rule allows it, publishes there',
      )
    }
  }
  if (source.kind === 'none') return said(true, 'no rules restrict the client')
  if (rule === undefined) return said(false, 'no rule allows it')
  const isDenied = rule.permission === 'deny'
  const place = rule.line === undefined ? 'a rule of its login' : `line ${rule.line}`
  return said(!isDenied, `${place} ${isDenied ? 'denies' : 'allows'} it`, rule)
}

const filterError = (filter: string): string =>
  sharedFilter(filter) === 'invalid' ? 'an invalid shared subscription' : topicFilterError(filter)

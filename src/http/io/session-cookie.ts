import type { FastifyReply } from 'fastify'
import type { HttpUsers, KnownCaller } from './http-users.ts'

/** Cookies do not know ports: two services on one machine would overwrite each other's. */
const nameOf = (port: number | undefined): string => `roost_session_${port ?? 0}`

/** The session id in a Cookie header [RFC 6265 section 4.2]. */
export function sessionIdIn(cookie: string | undefined, port: number | undefined): string | undefined {
  const start = `${nameOf(port)}=`
  return cookie
    ?.split(';')
    .map((each) => each.trim())
    .find((each) => each.startsWith(start))
    ?.slice(start.length)
}

/**
 * Begins or ends the browser session of this caller. The cookie cannot be read by scripts, is sent with requests of our own pages
 * only, and is forgotten with the browser. The session that the request has named, whether or not it also carried credentials, is
 * over: returns its id.
 */
export function changeSession(
  reply: FastifyReply,
  change: 'begin' | 'end',
  caller: KnownCaller | undefined,
  { users, tls }: { readonly users: HttpUsers; readonly tls?: object },
): string | undefined {
  const { socket, headers } = reply.request
  const { localPort } = socket
  const attributes = `Path=/; HttpOnly; SameSite=Strict${tls === undefined ? '' : '; Secure'}`
  const former = sessionIdIn(headers.cookie, localPort)
  if (former !== undefined) users.endSession(former)
  const id = change === 'begin' && caller !== undefined ? users.beginSession(caller) : undefined
  if (id !== undefined) void reply.header('set-cookie', `${nameOf(localPort)}=${id}; ${attributes}`)
  else if (change === 'end') void reply.header('set-cookie', `${nameOf(localPort)}=; Max-Age=0; ${attributes}`)
  return former
}

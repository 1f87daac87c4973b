import { expect, test } from 'vitest'
import { DEFAULT_CONFIG, type ListenerConfig } from '../../src/config/config.ts'
import { openRole } from '../../src/process/http.ts'

const [BY_DEFAULT] = DEFAULT_CONFIG.listeners as readonly [ListenerConfig]
const roleOf = (...more: readonly Partial<ListenerConfig>[]): string =>
  openRole({ aclFile: undefined, hooks: undefined, listeners: more.map((each) => ({ ...BY_DEFAULT, ...each })) })

test('without users, anyone on this machine may manage if MQTT lets them do everything', () => {
  expect(roleOf({})).toBe('manage')
  expect(roleOf({ host: '::1' }, { host: 'localhost', requireCertificate: 'optional' })).toBe('manage')
})

test.each<readonly [string, Partial<ListenerConfig>]>([
  ['needs a login', { allowAnonymous: false }],
  ['is a Unix socket, which has permissions', { socketPath: '/run/roost.sock' }],
  ['is open to other machines', { host: '0.0.0.0' }],
  ['has an access list', { aclFile: 'acl' }],
  ['needs a certificate', { requireCertificate: 'required' }],
  ['needs one for the user name', { certfile: 'c', useIdentityAsUsername: true }],
])('they may only view if a listener %s', (_, more) => {
  expect(roleOf({}, more)).toBe('view')
})

test('nor if an access list is for all', () => {
  expect(openRole({ ...DEFAULT_CONFIG, aclFile: 'acl' })).toBe('view')
  expect(openRole({ ...DEFAULT_CONFIG, hooks: 'hooks.mjs' })).toBe('view')
})

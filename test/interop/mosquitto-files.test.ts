import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectAsync, type ISubscriptionGrant, type MqttClient } from 'mqtt'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { describeWithMosquittoBroker, MosquittoBroker } from './mosquitto-broker.ts'
import { StartedProcess } from './started-process.ts'

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

let dir: string
const cleanUp: (() => unknown)[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'roost-files-'))
})
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
  rmSync(dir, { recursive: true })
})

async function both(passwords: string, acl?: string): Promise<{ roost: number; mosquitto: number }> {
  const lines = ['allow_anonymous true', `password_file ${passwords}`, ...(acl === undefined ? [] : [`acl_file ${acl}`])]
  const mosquitto = await MosquittoBroker.start(...lines)
  cleanUp.push(() => mosquitto.stop())
  const flags = ['--memory', '--allow-anonymous', '--password-file', passwords]
  const roost = await StartedProcess.start(...flags, ...(acl === undefined ? [] : ['--acl-file', acl]))
  cleanUp.push(() => roost.stop())
  return { roost: roost.mqttPort, mosquitto: mosquitto.port }
}

/** The client, or the reason code with which it was refused. */
async function login(port: number, username?: string, password?: string, clientId?: string): Promise<MqttClient | number> {
  try {
    const client = await connectAsync(`mqtt://127.0.0.1:${port}`, {
      reconnectPeriod: 0,
      protocolVersion: 5,
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      ...(clientId !== undefined && { clientId }),
    })
    cleanUp.push(() => client.endAsync(true))
    return client
  } catch (error) {
    return (error as { code: number }).code
  }
}
const outcome = async (...login_: Parameters<typeof login>): Promise<string> =>
  typeof (await login(...login_)) === 'number' ? 'refused' : 'in'

const roostPasswd = (...argv: string[]): void => void execFileSync(process.execPath, [MAIN, 'passwd', ...argv])

describeWithMosquittoBroker('one password file for both brokers', () => {
  const path = (): string => join(dir, 'passwords')

  const compare = async (users: Record<string, string>): Promise<void> => {
    const ports = await both(path())
    for (const port of [ports.roost, ports.mosquitto]) {
      for (const [user, password] of Object.entries(users)) {
        expect([port, user, await outcome(port, user, password)]).toEqual([port, user, 'in'])
        expect([port, user, await outcome(port, user, `${password}x`)]).toEqual([port, user, 'refused'])
      }
      expect(await outcome(port, 'nobody', 'x')).toBe('refused')
      expect(await outcome(port)).toBe('in')
    }
  }

  test('as mosquitto_passwd writes it, with both of its hashes', async () => {
    execFileSync('mosquitto_passwd', ['-c', '-b', path(), 'alice', 'se cret'], { stdio: 'ignore' })
    execFileSync('mosquitto_passwd', ['-H', 'sha512', '-b', path(), 'bob', 'pässword'], { stdio: 'ignore' })
    await compare({ alice: 'se cret', bob: 'pässword' })
  })

  test('as roost passwd writes it', async () => {
    roostPasswd('-c', '-b', path(), 'alice', 'se cret')
    roostPasswd('-b', '-I', '101', path(), 'bob', 'pässword')
    await compare({ alice: 'se cret', bob: 'pässword' })
  })

  test('each program changes what the other wrote', async () => {
    roostPasswd('-c', '-b', '-I', '101', path(), 'alice', 'one')
    execFileSync('mosquitto_passwd', ['-b', path(), 'bob', 'two'], { stdio: 'ignore' })
    roostPasswd('-b', '-I', '101', path(), 'bob', 'three')
    execFileSync('mosquitto_passwd', ['-b', path(), 'alice', 'four'], { stdio: 'ignore' })
    await compare({ alice: 'four', bob: 'three' })
  })

  test('-U puts hashes in place of passwords, as mosquitto_passwd -U', async () => {
    writeFileSync(path(), 'alice:one\nbob:two\n')
    roostPasswd('-U', '-I', '101', path())
    await compare({ alice: 'one', bob: 'two' })
  })
})

const ACL = `
# For everybody without a name.
topic read public/#
topic write in/anonymous

user alice
topic read sensors/+/temp
topic write cmd/alice
topic readwrite shared/#
topic deny shared/secret
topic deny shared/secret/#
topic readwrite with spaces/a b

user bob
topic deny sensors/x/hidden
topic sensors/#
topic +/plus

pattern readwrite dev/%c/#
pattern read users/%u/inbox
pattern write users/+/inbox
pattern readwrite end
`

const TOPICS = [
  'public/a',
  'in/anonymous',
  'sensors/x/temp',
  'sensors/x/hidden',
  'sensors/y/z/temp',
  'cmd/alice',
  'cmd/bob',
  'shared',
  'shared/a',
  'shared/secret',
  'shared/secret/deep',
  'with spaces/a b',
  'a/plus',
  'dev/a1/state',
  'dev/b1/state',
  'dev/n1/state',
  'dev/c1',
  'users/alice/inbox',
  'users/bob/inbox',
  'users/carol/inbox',
  '$other/plus',
]
const USERS = [undefined, 'alice', 'bob', 'carol']
/** Each of every user on its own: overlapping subscriptions are another matter. */
const FILTERS = [
  'public/#',
  'sensors/#',
  'sensors/+/temp',
  'sensors/x/hidden',
  'shared/#',
  'shared/secret',
  'with spaces/+',
  '+/plus',
  'users/+/inbox',
  'users/alice/inbox',
  'users/carol/inbox',
  '#',
]

interface Reader {
  readonly user: string | undefined
  readonly id: string
  readonly filter: string
}
const READERS: readonly Reader[] = [
  ...USERS.flatMap((user) => FILTERS.map((filter, i) => ({ user, id: `${user}-${i}`, filter }))),
  { user: 'alice', id: 'a1', filter: 'dev/a1/#' },
  { user: 'bob', id: 'b1', filter: 'dev/+/state' },
  { user: 'bob', id: 'b2', filter: 'dev/a1/#' },
  { user: undefined, id: 'n1', filter: 'dev/n1/state' },
  { user: 'carol', id: 'c1', filter: 'dev/c1/#' },
]
const nameOf = ({ user, id, filter }: Reader): string => `${user ?? 'nobody'} as ${id}: ${filter}`

/** What each reader gets when everybody publishes on every topic, and which subscriptions are refused. */
async function deliveries(port: number): Promise<{ got: Map<string, string[]>; refused: Set<string> }> {
  const got = new Map<string, string[]>()
  const refused = new Set<string>()
  const writers: [string | undefined, MqttClient][] = []
  const ended: Promise<void>[] = []
  for (const reader of READERS) {
    const { user, id, filter } = reader
    const client = (await login(port, user, user, id)) as MqttClient
    const lines: string[] = []
    got.set(nameOf(reader), lines)
    ended.push(
      new Promise((resolve) => {
        client.on('message', (topic, payload) => (topic === 'end' ? resolve() : lines.push(String(payload))))
      }),
    )
    const grants = await client.subscribeAsync(filter, { qos: 1 }).catch(() => [] as ISubscriptionGrant[])
    if (grants.length === 0 || grants.some(({ qos }) => qos >= 0x80)) refused.add(nameOf(reader))
    if (filter !== '#') await client.subscribeAsync('end', { qos: 1 })
    else if (refused.has(nameOf(reader))) await client.subscribeAsync('end', { qos: 1 })
    if (/^dev/.test(filter)) writers.push([user, client])
  }
  for (const user of USERS) writers.push([user, (await login(port, user, user, `${user}-w`)) as MqttClient])
  for (const [user, writer] of writers)
    for (const topic of TOPICS) await writer.publishAsync(topic, `${user} ${topic}`, { qos: 1 }).catch(() => {})
  await writers[0]![1].publishAsync('end', '', { qos: 1 })
  await Promise.all(ended)
  return { got, refused }
}

describeWithMosquittoBroker('one access list for both brokers', () => {
  test('the same publishes and subscriptions give the same deliveries', async () => {
    const acl = join(dir, 'acl')
    writeFileSync(acl, ACL)
    const passwords = join(dir, 'passwords')
    for (const [i, user] of ['alice', 'bob', 'carol'].entries())
      execFileSync('mosquitto_passwd', [...(i === 0 ? ['-c'] : []), '-b', passwords, user, user], { stdio: 'ignore' })
    const ports = await both(passwords, acl)
    const ours = await deliveries(ports.roost)
    const theirs = await deliveries(ports.mosquitto)
    expect(theirs.refused.size).toBe(0)
    let compared = 0
    for (const [name, lines] of theirs.got) {
      expect([name, ours.got.get(name)]).toEqual([name, lines])
      // Mosquitto grants everything; Roost refuses where nothing can ever be read.
      if (lines.length > 0) expect(ours.refused).not.toContain(name)
      if (lines.length > 0) compared++
    }
    expect(compared).toBeGreaterThan(8)
    expect(ours.refused.size).toBeGreaterThan(8)
    for (const name of ['alice as alice-11: #', 'bob as b1: dev/+/state', 'alice as alice-8: users/+/inbox'])
      expect(ours.refused).not.toContain(name)
  })
})

test('roost passwd asks on a terminal, and shows nothing of the answer', async () => {
  const path = join(dir, 'passwords')
  const command = `${process.execPath} ${MAIN} passwd -c -I 3 ${path} alice`
  const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] })
  let shown = ''
  const exited = once(child, 'exit')
  child.stdout.on('data', (bytes) => {
    shown += String(bytes)
    if (shown.endsWith('Password: ')) child.stdin.write('s3cret\r')
    if (shown.endsWith('Once more: ')) child.stdin.write('s3cret\r')
  })
  const [code] = (await exited) as [number]
  expect({ code, shown }).toEqual({ code: 0, shown: 'Password: \r\nOnce more: \r\n' })
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(readFileSync(path, 'utf8')).toMatch(/^alice:\$7\$3\$/)
})

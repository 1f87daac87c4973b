import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { Random } from '../../fuzz/sim/random.ts'
import { type Acl, parseAcl } from '../../src/access/acl.ts'
import { AccessFiles } from '../../src/access/io/access-files.ts'
import { isRefused, parsePasswordLines, parsePasswords } from '../../src/access/password-file.ts'
import { AccessPolicy, type ListenerPolicy } from '../../src/access/policy.ts'
import { type Config, DEFAULT_CONFIG, resolveConfig } from '../../src/config/config.ts'
import { loadConfig, parseConfigFile } from '../../src/config/io/config-file.ts'
import { YamlFile } from '../../src/config/io/yaml-file.ts'
import type { OptionKey } from '../../src/config/options.ts'
import type { LinkInfo } from '../../src/mqtt/link.ts'
import type { Connect } from '../../src/mqtt/packets.ts'
import { connectPacket, PERSISTENT, TestBroker, type TestClient, will } from '../broker/harness.ts'

const dir = mkdtempSync(join(tmpdir(), 'roost-security-'))
afterAll(() => rmSync(dir, { recursive: true }))
let files = 0
function write(text: string): string {
  const path = join(dir, `file-${++files}`)
  writeFileSync(path, text, { mode: 0o600 })
  return path
}

const acl = (text: string): Acl => {
  const parsed = parseAcl(text)
  if ('reason' in parsed) throw new Error(parsed.reason)
  return parsed
}
/** Whoever says a name has it, and may do what the rules allow. */
const ruled = (rules: string, subscriptionAccess: 'filtered' | 'whole' = 'filtered'): ListenerPolicy => ({
  allowAnonymous: true,
  verifies: false,
  methods: [],
  passwords: undefined,
  tokenKeys: new Set(),
  acl: acl(rules),
  subscriptionAccess,
})

/** A broker with rules that can change. */
class Ruled extends TestBroker {
  readonly policy: AccessPolicy

  readonly #subscriptionAccess: 'filtered' | 'whole'

  constructor(rules: string, store?: DelayedStore, subscriptionAccess: 'filtered' | 'whole' = 'filtered') {
    const policy = new AccessPolicy(new Map(), ruled(rules, subscriptionAccess))
    super({ access: policy }, store)
    this.policy = policy
    this.#subscriptionAccess = subscriptionAccess
  }

  change(rules: string): void {
    this.policy.replace(new Map(), ruled(rules, this.#subscriptionAccess))
    this.broker.accessChanged(this.now)
  }
}
const as = (username: string, more: Partial<Connect> = {}): Partial<Connect> => ({ username, ...more })
const subscribed = (client: TestClient, filter: string, qos: 0 | 1 | 2 = 1): string[] => {
  client.subscribe(filter, qos)
  return client.poll()
}

describe('rules and names', () => {
  test('lesson 8: a client id or user name never widens a pattern', () => {
    const rules = acl('pattern readwrite s/%c/x\npattern readwrite u/%u/#\n')
    const random = new Random(1)
    const alphabet = ['+', '#', '/', '$', '.', '*', '^', '[', ')', '|', '%c', '%u', '\0', 'a', 'b', ' ']
    const name = (): string => Array.from({ length: random.between(1, 6) }, () => random.pick(alphabet)).join('')
    for (let i = 0; i < 5000; i++) {
      const [clientId, username] = [name(), name()]
      const set = rules.rulesFor({ clientId, username })
      const plain = (text: string): boolean => !/[+#/\0]/.test(text)
      expect(set.mayPublish(`s/${clientId}/x`)).toBe(plain(clientId))
      for (const other of ['a', 'b', 'aa', 'zz', '+', '#']) {
        expect(set.mayPublish(`s/${other}/x`), clientId).toBe(other === clientId && plain(clientId))
        expect(set.mayRead(`u/${other}/deep/x`), username).toBe(other === username && plain(username))
      }
      for (const filter of ['#', '+/+/x', 's/+/x', 's/#', 'u/+/y', 'u/#']) expect(set.maySubscribe(filter)).toBe(false)
    }
  })

  test('lesson 8: a client that calls itself $SYS reads nothing of the broker', () => {
    const world = new Ruled('pattern readwrite %c/#\npattern readwrite %u/#\n')
    const client = world.connect('$SYS', as('$SYS'))
    for (const filter of ['$SYS/#', '$SYS/broker/+', '$SYS/broker/version', '$share/g/$SYS/#'])
      expect(subscribed(client, filter)).toEqual(['SUBACK #100 135'])
    const other = world.connect('a', as('a'))
    expect(subscribed(other, 'a/#')).toEqual(['SUBACK #100 1'])
  })

  test.each(['', '# nothing but this\n', '\n\n', 'user alice\n'])(
    'lesson 9: an ACL without rules denies everything: %j',
    (rules) => {
      const world = new Ruled(rules)
      const client = world.connect('c', as('alice'))
      expect(subscribed(client, 'a')).toEqual(['SUBACK #100 135'])
      client.publish('a', 'x', 1)
      expect(client.poll()).toEqual(['PUBACK #1 135'])
    },
  )

  test('lesson 9: one that cannot be read refuses the start', () => {
    for (const aclFile of [join(dir, 'nowhere'), dir, write('topic read a/#/b\n'), write('topci read a\n')])
      expect(() => new AccessFiles({ ...DEFAULT_CONFIG, listeners: [{ ...DEFAULT_CONFIG.listeners[0]!, aclFile }] })).toThrow(
        /acl_file|:1: /,
      )
  })
})

const HASH = `$7$1$${'A'.repeat(16)}$${'A'.repeat(86)}==`

describe('files', () => {
  const config = (passwordFile: string, aclFile: string): Config => ({
    ...DEFAULT_CONFIG,
    listeners: [{ ...DEFAULT_CONFIG.listeners[0]!, passwordFile, aclFile, allowAnonymous: false }],
  })

  test.each([
    'alice',
    'alice:',
    ':x',
    'alice:secret',
    'alice:$7$',
    'alice:$7$1$AAAA$AAAA',
    'alice:$9$x$y',
    `alice:$6$!$${'A'.repeat(86)}==`,
  ])('lesson 10: a line of a password file that is wrong is no user without a password: %j', (line) => {
    expect(parsePasswords(`bob:${HASH}\n${line}\n`)).toMatchObject({ line: 2 })
    const { users } = parsePasswordLines(`bob:${HASH}\n${line}\n`)
    for (const [user, entry] of users) expect([user, isRefused(entry)]).toEqual([user, user !== 'bob'])
    const access = new AccessFiles(config(write(`${line}\n`), write('topic a\n')))
    expect(access.warnings).toEqual([expect.stringMatching(/:1: .*\(password_file\): this user is refused$/)])
    expect(() => access.prepareReload()).toThrow(/:1: .*\(password_file\)$/)
  })

  test('lesson 10, lesson 11: a reload takes everything or nothing', () => {
    const [passwords, rules] = [write(`alice:${HASH}\n`), write('topic readwrite a\n')]
    const access = new AccessFiles(config(passwords, rules))
    const info: LinkInfo = { kind: 'mqtt', peer: 'test', listener: DEFAULT_CONFIG.listeners[0]!.name }
    const inForce = (): unknown[] => [
      access.policy.connect(info, connectPacket('c')),
      access.policy.connect(info, connectPacket('c', { username: 'alice', password: Buffer.from('x') })),
      ...['a', 'b'].map((topic) => access.policy.publish({ ...who, listener: info.listener }, topic)),
    ]
    const who = { kind: 'mqtt' as const, clientId: 'c', username: undefined, grant: undefined, certified: false, verified: true }
    const before = inForce()
    expect(before).toEqual([0x87, 'ask', true, false])
    const broken: (() => void)[] = [
      () => writeFileSync(rules, 'topic readwrite b\nnonsense\n'),
      () => writeFileSync(passwords, 'alice\n'),
      () => rmSync(rules),
    ]
    for (const breakIt of broken) {
      writeFileSync(passwords, `bob:${HASH}\nalice:${HASH}\n`)
      writeFileSync(rules, 'topic readwrite b\n')
      breakIt()
      expect(() => access.prepareReload()).toThrow(/acl_file|password_file/)
      expect(inForce()).toEqual(before)
    }
    writeFileSync(passwords, `bob:${HASH}\nalice:${HASH}\n`)
    writeFileSync(rules, 'topic readwrite b\n')
    access.prepareReload()()
    expect(inForce()).toEqual([0x87, 'ask', false, true])
  })

  const LISTENERS: Record<string, string> = {
    'the default listener': 'host: 0.0.0.0\nport: 1883\nOPTIONS',
    'a listener of the file': 'listeners:\n  - {host: 0.0.0.0, port: 1883}\nOPTIONS',
    'a listener with options of its own': 'listeners:\n  - {host: 0.0.0.0, port: 1883, INLINE}\n',
    WebSocket: 'listeners:\n  - {host: 0.0.0.0, port: 9001, protocol: websockets}\nOPTIONS',
    'one of several': 'listeners:\n  - {port: 1883}\n  - {host: "::", port: 1884}\nOPTIONS',
    'a Unix socket': 'listeners:\n  - {socket_path: /tmp/s}\nOPTIONS',
  }
  const OPTIONS: Record<string, string[]> = {
    nothing: [],
    'allow_anonymous: false': ['allow_anonymous: false'],
    password_file: ['password_file: PASSWORDS'],
    'password_file and acl_file': ['password_file: PASSWORDS', 'acl_file: RULES'],
    acl_file: ['acl_file: RULES'],
    'acl_file and no anonymous': ['acl_file: RULES', 'allow_anonymous: false'],
  }
  const matrix = Object.keys(LISTENERS).flatMap((listener) => Object.keys(OPTIONS).map((options) => [listener, options] as const))

  test.each(matrix)('lesson 12: %s with %s lets no stranger in from another machine', (listener, options) => {
    const [passwords, rules] = [write(`alice:${HASH}\n`), write('topic a\n')]
    const lines = OPTIONS[options]!.map((line) => line.replace('PASSWORDS', passwords).replace('RULES', rules))
    const text = LISTENERS[listener]!.replace('OPTIONS', lines.join('\n')).replace('INLINE', lines.join(', '))
    const parse = (): Config => {
      const file = parseConfigFile(new YamlFile('roost.yaml', text.replace(', }', '}')))
      return { ...resolveConfig(new Map(), file.global, file.listeners), predefinedTopics: [] }
    }
    let config: Config
    try {
      config = parse()
    } catch (error) {
      expect((error as Error).message).toMatch(/is not loopback.*(allow_anonymous|--allow-anonymous)/)
      return
    }
    const { policy } = new AccessFiles(config)
    for (const { name, host, socketPath } of config.listeners) {
      const info: LinkInfo = { kind: 'mqtt', peer: '192.0.2.1:1', listener: name }
      const isLocal = socketPath !== undefined || host === '127.0.0.1'
      const verified = lines.some((line) => line.startsWith('password_file'))
      const anonymous = [connectPacket('c'), connectPacket('c', { username: 'alice' })].map((one) => policy.connect(info, one))
      if (verified || !isLocal) for (const answer of anonymous) expect(answer).not.toBe(0)
    }
  })

  test('lesson 12: flags go the same way', () => {
    const flags = (more: Record<string, unknown>): Map<OptionKey, { value: unknown; origin: string }> =>
      new Map(
        Object.entries({ host: '0.0.0.0', ...more }).map(([key, value]) => [key as OptionKey, { value, origin: `--${key}` }]),
      )
    expect(() => loadConfig(flags({}), dir)).toThrow('is not loopback')
    expect(() => loadConfig(flags({ acl_file: write('topic a\n') }), dir)).toThrow('is not loopback')
    expect(loadConfig(flags({ password_file: write('') }), dir).listeners[0]!.allowAnonymous).toBe(false)
  })
})

describe('what was allowed once', () => {
  test('lesson 13: a retained message does not outlive the right to publish it', () => {
    const store = new DelayedStore()
    const world = new Ruled('user writer\ntopic write news\nuser reader\ntopic read news\n', store)
    const writer = world.connect('w', as('writer'))
    writer.publish('news', 'old', 1, 1, { retain: true })
    world.commit()
    const reader = world.connect('r', as('reader'))
    reader.subscribe('news', 1)
    world.commit()
    expect(reader.poll()).toEqual(['SUBACK #100 1', 'news=old q1 #1 retain'])
    const revoked = 'user reader\ntopic read news\n'
    world.change(revoked)
    const late = world.connect('late', as('reader'))
    expect(subscribed(late, 'news')).toEqual(['SUBACK #100 1'])
    const listeners = new Map([['other', ruled('user writer\ntopic write news\nuser reader\ntopic read news\n')]])
    for (const policy of [new AccessPolicy(new Map(), ruled(revoked)), new AccessPolicy(listeners, ruled(revoked))]) {
      const again = new TestBroker({ access: policy }, store.crash({}))
      for (const record of again.store.replay()) again.broker.apply(record as never)
      again.broker.recover(0)
      again.broker.runDownRecovered(0)
      const client = again.open()
      client.send(connectPacket('after', as('reader')))
      client.poll()
      expect(subscribed(client, 'news')).toEqual(['SUBACK #100 1'])
    }
  })

  test.each([
    ['filtered', 0],
    ['whole', 2],
  ] as const)(
    'lesson 14: a subscription that is revoked delivers nothing more, neither now nor to who comes back (%s)',
    (mode, ended) => {
      const world = new Ruled('topic readwrite #\n', undefined, mode)
      const writer = world.connect('w')
      const [here, away] = [world.connect('here'), world.connect('away', PERSISTENT)]
      for (const client of [here, away]) subscribed(client, 'secret')
      away.lost()
      writer.publish('secret', 'waits', 1)
      writer.poll()
      here.poll()
      world.change('topic write #\ntopic read public\n')
      expect(world.codes().filter((code) => code === 'subscription-ended')).toHaveLength(ended)
      writer.publish('secret', 'x', 1, 2)
      expect(here.poll()).toEqual([])
      const back = world.open()
      back.send(connectPacket('away', PERSISTENT))
      expect(back.poll()).toEqual(['CONNACK present'])
      expect(world.broker.subscriptionCount).toBe(2 - ended)
    },
  )

  test('lesson 15: a QoS 2 exchange that is resumed after the right was revoked delivers nothing', () => {
    const world = new Ruled('topic readwrite #\n')
    const [reader, writer] = [world.connect('r', PERSISTENT), world.connect('w', PERSISTENT)]
    subscribed(reader, 'secret', 2)
    writer.publish('secret', 'x', 2, 5)
    expect(reader.poll()).toEqual(['secret=x q2 #1'])
    writer.lost()
    reader.lost()
    world.change('topic readwrite public\n')
    const [readerAgain, writerAgain] = [world.open(), world.open()]
    writerAgain.send(connectPacket('w', PERSISTENT))
    writerAgain.publish('secret', 'x', 2, 5)
    writerAgain.ack(6, 5)
    expect(writerAgain.poll()).toEqual(['CONNACK present', 'PUBREC #5', 'PUBCOMP #5'])
    writerAgain.publish('secret', 'new', 2, 6)
    expect(writerAgain.poll()).toEqual(['PUBREC #6 135'])
    readerAgain.send(connectPacket('r', PERSISTENT))
    expect(readerAgain.poll()).toEqual(['CONNACK present'])
  })

  test('lesson 16: a will is asked about at CONNECT and when it fires, and never goes to the topics of the broker', () => {
    const world = new Ruled('topic readwrite allowed\n')
    const watcher = world.connect('watcher')
    subscribed(watcher, 'allowed')
    const refused = (topic: string): string[] => {
      const client = world.open()
      client.send(connectPacket('c', { will: will(topic, 'x') }))
      return client.poll()
    }
    for (const topic of ['denied', '$SYS/broker/version', '$CONTROL/dynamic-security/v1', '$CONTROL'])
      expect(refused(topic)).toEqual(['CONNACK 135', 'CLOSE 135'])
    const mortal = world.connect('mortal', { will: will('allowed', 'first') })
    mortal.lost()
    expect(watcher.poll()).toEqual(['allowed=first q0'])
    const other = world.connect('other', { will: will('allowed', 'second', 1, {}, true) })
    world.change('topic read allowed\n')
    other.lost()
    expect(watcher.poll()).toEqual([])
    expect(world.broker.retained.count).toBe(0)
    expect(world.codes()).toContain('will-refused')
  })

  test('lesson 17: a shared subscription is asked about by its real filter, and a rule has to cover all of it', () => {
    const rules = 'topic readwrite a/#\ntopic read b/+/c\ntopic read $share/g/secret\ntopic read $SYS/#\n'
    const world = new Ruled(rules, undefined, 'whole')
    const client = world.connect('c')
    const filtering = new Ruled(rules).connect('c')
    for (const filter of ['$share/g/secret', 'secret', '$share/g/b/1', '$share/g/c/#'])
      expect(subscribed(filtering, filter), filter).toEqual(['SUBACK #100 135'])
    for (const filter of [
      '$share',
      '$share/',
      '$share/g',
      '$share/g/',
      '$share//a/x',
      '$share/+/a/x',
      '$share/#/a',
      '$share/g+/a',
    ])
      expect(subscribed(client, filter), filter).toEqual(['SUBACK #100 143'])
    for (const filter of ['#', '+', '+/#', 'b/#', 'b/+/+', 'b/+/#', '+/x', 'secret', '$share/g/secret', '$share/g/#']) {
      expect(subscribed(client, filter), filter).toEqual(['SUBACK #100 135'])
    }
    for (const filter of ['a/#', 'a', 'a/+/x', '$share/g/a/#', '$share/x/b/1/c', 'b/+/c', '$SYS/#'])
      expect(subscribed(client, filter)[0], filter).toBe('SUBACK #100 1')
    expect(world.broker.subscriptionCount).toBe(7)
  })
})

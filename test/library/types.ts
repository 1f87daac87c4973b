// The public types, as users see them: compiled by `npm run check`, never run.
import { expectTypeOf } from 'vitest'
import {
  type Client,
  type ClientDetail,
  type Message,
  type MessageIterator,
  type Notice,
  type NoticeCode,
  type Roost,
  RoostError,
  StartError,
  type StartOptions,
  type Subscription,
  start,
} from '../../src/index.ts'

export async function wellTyped(): Promise<void> {
  expectTypeOf(start).returns.resolves.toEqualTypeOf<Roost>()
  await using roost = await start()
  await start({})
  await start({ port: 0, snPort: 0, dataDir: 'state', log: console, maxConnections: undefined })
  await start({ config: 'roost.yaml', port: 0, log: false })
  await start({ log: { info: (line: string) => line, warn: () => {}, error: () => {} } })
  await start({ socketMode: '0660', requireCertificate: true, queueFull: 'drop_oldest', tRetry: 1.5 })
  await start({ trustedNetworks: ['10.0.0.0/8'], httpManagers: 'a, b', traceClients: ['sensor-*'] as const })
  await start({
    listeners: [{ port: 0 }, { name: 'web', port: 0, protocol: 'websockets', passwordFile: 'passwords' }],
    snListeners: [
      { port: 0, maxFrame: 64 },
      { device: '/dev/ttyUSB0', baudRate: 57_600, framing: 'slip' },
    ],
  })
  await start({
    authenticate: async ({ username, password }) => username === 'a' && password?.toString() === 'b',
    authorize: ({ action, topic }) => action !== 'publish' || topic.startsWith('a/'),
    onPublish: ({ payload }) => (payload.length > 10 ? { reasonCode: 0x97 } : undefined),
    onConnect: ({ clientId }) => expectTypeOf(clientId).toBeString(),
  })

  expectTypeOf(roost.urls.mqtt).toBeString()
  expectTypeOf(roost.urls.http).toEqualTypeOf<string | undefined>()
  expectTypeOf(roost.ports.allSn).toEqualTypeOf<readonly number[]>()

  expectTypeOf(roost.publish('a', 'b')).resolves.toBeVoid()
  await roost.publish('a', Buffer.from('b'), { qos: 2, retain: true, as: { clientId: 'c', username: 'u' } })
  await roost.publish('a', new Uint8Array(1), { properties: { contentType: 'x', userProperties: [['a', 'b']] } })

  const handled = await roost.subscribe('a', async ({ payload }) => expectTypeOf(payload).toEqualTypeOf<Buffer>(), { qos: 1 })
  expectTypeOf(handled).toEqualTypeOf<Subscription>()
  expectTypeOf(await roost.subscribe('a')).toEqualTypeOf<MessageIterator>()
  expectTypeOf(await roost.subscribe('a', { qos: 2, maxQueued: 5 })).toEqualTypeOf<MessageIterator>()
  expectTypeOf(await roost.subscribe('a', undefined, { qos: 2 })).toEqualTypeOf<MessageIterator>()
  await roost.subscribe('a', () => {}, { qos: 1, clientId: 'archive' })
  for await (const message of await roost.subscribe('a')) {
    expectTypeOf(message).toEqualTypeOf<Message>()
    expectTypeOf(message.qos).toEqualTypeOf<0 | 1 | 2>()
  }

  roost.on('lost', ({ clientId, reason }) => expectTypeOf([clientId, reason]).toEqualTypeOf<string[]>())
  roost.once('asleep', ({ duration }) => expectTypeOf(duration).toBeNumber())
  roost.on('notice', (notice) => expectTypeOf(notice).toEqualTypeOf<Notice>())
  roost.on('dropped', ({ code }) => expectTypeOf(code).toEqualTypeOf<NoticeCode>())

  for (const client of roost.clients()) expectTypeOf(client).toEqualTypeOf<Client>()
  expectTypeOf(roost.client('a')).toEqualTypeOf<ClientDetail | undefined>()
  expectTypeOf(roost.client('a')?.since).toEqualTypeOf<Date | undefined>()
  expectTypeOf(roost.disconnect('a')).toBeBoolean()
  expectTypeOf([...roost.retained('a/#')]).toEqualTypeOf<Message[]>()
  expectTypeOf(roost.figures().clients.connected).toBeNumber()
  expectTypeOf(roost.reload()).resolves.toEqualTypeOf<readonly string[]>()
  expectTypeOf(roost.stop()).resolves.toBeVoid()
  expectTypeOf(new RoostError('x', 0x87).reasonCode).toBeNumber()
  expectTypeOf(new StartError('x')).toExtend<Error>()
}

export async function refused(roost: Roost): Promise<void> {
  // @ts-expect-error: unknown key
  await start({ prot: 0 })
  // @ts-expect-error: a key as in the file
  await start({ password_file: 'x' })
  // @ts-expect-error: a value of another type
  await start({ port: '1883' })
  // @ts-expect-error: none of the choices
  await start({ queueFull: 'drop' })
  // @ts-expect-error: permissions are text, as in the file
  await start({ socketMode: 0o660 })
  // @ts-expect-error: not a key of one listener
  await start({ listeners: [{ port: 0, maxQueuedMessages: 5 }] })
  // @ts-expect-error: keys of an entry have no sn
  await start({ snListeners: [{ snPort: 0 }] })
  // @ts-expect-error: only a flag
  await start({ testConfig: true })
  // @ts-expect-error: a logger needs error
  await start({ log: { info: () => {}, warn: () => {} } })
  // @ts-expect-error: no payload
  await roost.publish('a')
  // @ts-expect-error: an object is no payload
  await roost.publish('a', { x: 1 })
  // @ts-expect-error: QoS 3
  await roost.publish('a', 'b', { qos: 3 })
  // @ts-expect-error: user properties may repeat
  await roost.publish('a', 'b', { properties: { userProperties: { a: 'b' } } })
  // @ts-expect-error: unknown option
  await roost.subscribe('a', { maxQueue: 5 })
  // @ts-expect-error: a client id is text
  await roost.subscribe('a', { qos: 1, clientId: 5 })
  // @ts-expect-error: a subscription with a handler has no iterator
  for await (const _ of await roost.subscribe('a', () => {})) break
  // @ts-expect-error: no such event
  roost.on('connect', () => {})
  // @ts-expect-error: no such field
  roost.on('connected', ({ client_id }) => client_id)
  // @ts-expect-error: read only
  roost.urls.mqtt = 'x'
}

/** Every key of the configuration file is optional, and none is of any type. */
export type NoKeyIsAny = { [K in keyof StartOptions]: 0 extends 1 & StartOptions[K] ? K : never }[keyof StartOptions]
expectTypeOf<Exclude<NoKeyIsAny, undefined>>().toBeNever()
expectTypeOf<object>().toExtend<StartOptions>()

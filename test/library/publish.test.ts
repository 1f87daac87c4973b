import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import mqtt from 'mqtt'
import { describe, expect, test, vi } from 'vitest'
import { hashPassword } from '../../src/access/io/password-hash.ts'
import { broker, start, tempDir } from './broker.ts'

test('resolves when the message is durable: it is there after a restart without a stop', async () => {
  const dataDir = tempDir()
  const roost = await start({ dataDir, port: 0, snPort: 0 })
  const client = await mqtt.connectAsync(roost.urls.mqtt, { clientId: 'away', clean: false, reconnectPeriod: 0 })
  await client.subscribeAsync('t', { qos: 1 })
  await client.endAsync()
  await Promise.all(Array.from({ length: 50 }, (_, i) => roost.publish('t', String(i), { qos: 1 })))
  expect(roost.client('away')).toMatchObject({ state: 'disconnected', waitingMessages: 50 })
  await roost.stop()
  const again = await broker({ dataDir })
  expect(again.client('away')).toMatchObject({ waitingMessages: 50 })
})

test('what is under way when the broker stops is stored, or rejected', async () => {
  const roost = await broker({ dataDir: tempDir() })
  const results = Array.from({ length: 200 }, (_, i) =>
    roost.publish('t', String(i), { qos: 1, retain: true }).then(
      () => 'stored',
      (error: { reasonCode?: number }) => error.reasonCode,
    ),
  )
  await roost.stop()
  const all = await Promise.all(results)
  expect(all[0]).toBe('stored')
  expect(new Set(all)).toEqual(new Set(['stored', 0x8b]))
})

test('what it publishes is a copy', async () => {
  const roost = await broker()
  const payload = Buffer.from('abc')
  const correlationData = new Uint8Array([1])
  const published = roost.publish('t', payload, { retain: true, properties: { correlationData } })
  payload.fill(0)
  correlationData.fill(0)
  await published
  const [message] = roost.retained()
  expect([String(message!.payload), message!.properties.correlationData]).toEqual(['abc', Buffer.from([1])])
  await roost.publish('t', '', { retain: true })
  expect([...roost.retained()]).toEqual([])
})

describe('as', () => {
  async function site() {
    const dir = tempDir()
    const [passwordFile, aclFile] = [join(dir, 'passwords'), join(dir, 'acl')]
    writeFileSync(passwordFile, `alice:${await hashPassword(Buffer.from('secret'), 1)}\n`, { mode: 0o600 })
    writeFileSync(aclFile, 'user alice\ntopic write alice/#\npattern write by/%c\n')
    return broker({ passwordFile, aclFile })
  }

  test('the access rules of a user, and of a client id', async () => {
    const roost = await site()
    const refused = { name: 'RoostError', reasonCode: 0x87, message: 'publish other: not allowed' }
    await roost.publish('alice/t', 'x', { as: { username: 'alice' } })
    await roost.publish('by/c', 'x', { as: { clientId: 'c' } })
    await expect(roost.publish('other', 'x', { as: { username: 'alice' } })).rejects.toMatchObject(refused)
    await expect(roost.publish('other', 'x', { as: { clientId: 'c' }, qos: 2 })).rejects.toMatchObject(refused)
    await expect(roost.publish('alice/t', 'x', { as: { clientId: 'c' } })).rejects.toMatchObject({ reasonCode: 0x87 })
    await roost.publish('other', 'x')
    expect(roost.figures().notices['publish-refused']).toBe(3)
  })

  test('authorize is asked, onPublish is not', async () => {
    const asked: unknown[] = []
    const onPublish = vi.fn()
    const roost = await broker({
      listeners: [{ name: 'house', port: 0 }],
      onPublish,
      authorize: ({ clientId, username, listener, action, topic, qos, retain }) => {
        asked.push({ clientId, username, listener, action, topic, qos, retain })
        return topic.startsWith('alice/')
      },
    })
    const as = { clientId: 'pump', username: 'alice', listener: 'house' }
    await roost.publish('alice/t', 'x', { as, qos: 1, retain: true })
    await expect(roost.publish('bob/t', 'x', { as })).rejects.toMatchObject({ reasonCode: 0x87 })
    const question = { ...as, action: 'publish' }
    expect(asked).toEqual([
      { ...question, topic: 'alice/t', qos: 1, retain: true },
      { ...question, topic: 'bob/t', qos: 0, retain: false },
    ])
    await roost.publish('bob/t', 'x')
    expect(asked).toHaveLength(2)
    expect(onPublish).not.toHaveBeenCalled()
  })

  test('it is the sender: No Local applies', async () => {
    const roost = await broker()
    const client = await mqtt.connectAsync(roost.urls.mqtt, { protocolVersion: 5, clientId: 'c', reconnectPeriod: 0 })
    await client.subscribeAsync('t', { qos: 1, nl: true })
    const got: string[] = []
    client.on('message', (_topic, payload) => got.push(String(payload)))
    await roost.publish('t', 'own', { as: { clientId: 'c' } })
    await roost.publish('t', 'other')
    await vi.waitFor(() => expect(got).toEqual(['other']))
    client.end(true)
  })
})

describe('what is refused', () => {
  test.each<[string, number, string]>([
    ['', 0x90, 'publish "": empty topic name'],
    ['a/#', 0x90, 'publish "a/#": wildcard in a topic name'],
    ['a\0', 0x90, 'contains U+0000'],
    ['a'.repeat(65_536), 0x90, 'longer than 65535 bytes'],
    ['a/'.repeat(200), 0x90, 'beyond a limit (max_topic_levels)'],
    ['$SYS/broker/version', 0x87, 'publish $SYS/broker/version: only the broker publishes there'],
    ['big', 0x97, 'publish big: beyond a limit (message_size_limit)'],
  ])('%.20s', async (topic, reasonCode, words) => {
    const roost = await broker({ messageSizeLimit: 100 })
    const refused = roost.publish(topic, 'x'.repeat(topic === 'big' ? 101 : 1))
    await expect(refused).rejects.toMatchObject({ name: 'RoostError', reasonCode, message: expect.stringContaining(words) })
  })

  test('retained messages where there are none', async () => {
    const roost = await broker({ retainAvailable: false })
    const refused = { reasonCode: 0x9a, limit: 'retain_available' }
    await expect(roost.publish('a', 'x', { retain: true })).rejects.toMatchObject(refused)
  })

  test('names a long topic by its beginning', async () => {
    const roost = await broker()
    for (const publish of [() => roost.publish('a'.repeat(70_000), 'x'), () => roost.publish('a'.repeat(60_000), 5 as never)]) {
      const error: Error = await publish().catch((thrown) => thrown)
      expect(error.message).toMatch(/^publish "?a{100}\.\.\."?: /)
      expect(error.message.length).toBeLessThan(200)
    }
  })

  test.each<[unknown[], string]>([
    [['a', 'x', { as: { username: 'u', listener: 'nqtt-0' } }], 'as.listener: there is none named nqtt-0'],
    [[5, 'x'], 'publish: topic: expected a string, got number'],
    [['a'], 'publish a: payload: expected a string or a Uint8Array, got undefined'],
    [['a', null], 'publish a: payload: expected a string or a Uint8Array, got null'],
    [['a', { x: 1 }], 'publish a: payload: expected a string or a Uint8Array, got object'],
    [['a', 5], 'publish a: payload: expected a string or a Uint8Array, got number'],
    [['a', 'x', 1], 'publish: expected an object of options, got number'],
    [['a', 'x', { qos: 3 }], 'publish a: qos: expected 0, 1 or 2, got 3'],
    [['a', 'x', { qos: '1' }], 'publish a: qos: expected 0, 1 or 2, got 1'],
    [['a', 'x', { retian: true }], 'publish: retian: unknown option (did you mean retain?)'],
    [['a', 'x', { retain: 1 }], 'publish a: retain: expected a boolean, got number'],
    [['a', 'x', { properties: 1 }], 'publish a: properties: expected an object, got number'],
    [['a', 'x', { properties: { topicAlias: 1 } }], 'publish a: properties.topicAlias: unknown property of a message'],
    [
      ['a', 'x', { properties: { contentType: 'a\0' } }],
      'publish a: properties.contentType: contains U+0000 or half a surrogate pair',
    ],
    [['a', 'x', { properties: { responseTopic: '#' } }], 'publish a: properties.responseTopic: wildcard in a topic name'],
    [
      ['a', 'x', { properties: { messageExpiryInterval: -1 } }],
      'properties.messageExpiryInterval: expected a whole number of seconds',
    ],
    [['a', 'x', { properties: { correlationData: 'x' } }], 'properties.correlationData: expected a Uint8Array'],
    [['a', 'x', { properties: { userProperties: { a: 'b' } } }], 'properties.userProperties: expected a list of [name, value]'],
    [['a', 'x', { properties: { payloadFormatIndicator: true } }], 'properties.payloadFormatIndicator: expected 0 or 1'],
    [['a', 'x', { as: 'c' }], 'publish a: as: expected an object of options, got string'],
    [['a', 'x', { as: {} }], 'publish a: as: expected clientId or username, got neither'],
    [['a', 'x', { as: { clientId: 5 } }], 'publish a: as.clientId: expected a string, got number'],
    [['a', 'x', { as: { user: 'x' } }], 'publish a: as: user: unknown option'],
  ])('%j', async (given, words) => {
    const roost = await broker()
    const publish = roost.publish as unknown as (...given: unknown[]) => Promise<unknown>
    const refused = publish.apply(roost, given)
    await expect(refused).rejects.toBeInstanceOf(TypeError)
    await expect(refused).rejects.toThrow(words)
  })
})

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Packet, Suback } from '../../src/mqtt/packets.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { describeWithMosquittoBroker, MosquittoBroker } from './mosquitto-broker.ts'
import { PacketClient } from './packet-client.ts'
import { roost } from './roost-command.ts'
import { StartedProcess } from './started-process.ts'

vi.setConfig({ testTimeout: 60_000 })

let dir: string
let mosquitto: MosquittoBroker
const started: StartedProcess[] = []

beforeEach(async () => {
  dir = join(mkdtempSync(join(tmpdir(), 'roost-import-')), 'data')
  mosquitto = await MosquittoBroker.start('allow_anonymous true', 'persistence true', 'max_queued_messages 0')
})
afterEach(async () => {
  for (const one of started.splice(0)) await one.stop()
  await mosquitto.stop()
  rmSync(join(dir, '..'), { recursive: true, force: true })
})

const lasting = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } }

async function connected(port: number, clientId: string, more: object = lasting): Promise<PacketClient> {
  const client = PacketClient.to(port)
  expect(await client.connect({ clientId, ...more })).toBe(0)
  return client
}

/** Subscribes with all options of MQTT 5. */
async function subscribe(client: PacketClient, filter: string, identifier: number): Promise<void> {
  const subscriptions = [{ filter, qos: 2 as const, noLocal: true, retainAsPublished: true, retainHandling: 2 as const }]
  client.send({ type: 8, packetId: 1, subscriptions, properties: { subscriptionIdentifiers: [identifier] } })
  expect(((await client.next()) as Suback).reasonCodes).toEqual([2])
}

async function publish2(client: PacketClient, topic: string, payload: string, packetId: number): Promise<void> {
  client.send(Publish.of(topic, Buffer.from(payload), 2, false, packetId, { userProperties: [['n', payload]] }))
  expect(await client.next()).toMatchObject({ type: 5, packetId, reasonCode: 0 })
  client.send({ type: 6, packetId, reasonCode: 0, properties: {} })
  expect(await client.next()).toMatchObject({ type: 7, packetId })
}

/** What is told of a PUBLISH. */
const told = (packet: Packet | 'closed'): object => {
  if (!(packet instanceof Publish)) return packet as object
  const { topic, payload, qos, retain, dup, properties } = packet
  return { topic, payload: Buffer.from(payload).toString(), qos, retain, dup, properties }
}

async function rejoin(port: number, clientId: string): Promise<PacketClient> {
  const client = PacketClient.to(port)
  client.send({
    ...{ type: 1, protocolVersion: 5, bridge: false, clientId, keepAlive: 60, will: undefined },
    ...{ username: undefined, password: undefined, ...lasting },
  })
  expect(await client.next()).toMatchObject({ type: 2, sessionPresent: true, reasonCode: 0 })
  return client
}

/** Ends Mosquitto, imports what it has saved, and starts Roost with it. */
async function moved(): Promise<{ readonly port: number; readonly said: string }> {
  await mosquitto.save()
  const { code, out, err } = await roost('import', mosquitto.database, '--data-dir', dir)
  expect(err).toBe('')
  expect(code).toBe(0)
  const process = await StartedProcess.start('--data-dir', dir)
  started.push(process)
  return { port: process.mqttPort, said: out }
}

describeWithMosquittoBroker('clients that go on where Mosquitto has left them', () => {
  test('queues, subscriptions and retained messages', async () => {
    const away = await connected(mosquitto.port, 'away')
    await subscribe(away, 'q/#', 5)
    away.close()
    const publisher = await connected(mosquitto.port, 'publisher')
    expect(await publisher.publish('q/a', 'one')).toBe(0)
    await publish2(publisher, 'q/b', 'two', 2)
    publisher.send(Publish.of('q/c', Buffer.from('expires'), 1, true, 3, { messageExpiryInterval: 100, contentType: 'text/x' }))
    await publisher.next()
    await publisher.publish('r/s', 'kept', true)
    publisher.close()

    const { port, said } = await moved()
    expect(said).toMatch(/: 2 retained messages, 2 sessions, 1 subscription, 3 queued messages\n$/)
    const again = await rejoin(port, 'away')
    const [one, two, three] = [await again.next(), await again.next(), await again.next()].map(told)
    const plain = { qos: 1, dup: false, properties: { subscriptionIdentifiers: [5] } }
    expect(one).toEqual({ ...plain, topic: 'q/a', payload: 'one', retain: false })
    const named = { userProperties: [['n', 'two']], subscriptionIdentifiers: [5] }
    expect(two).toEqual({ ...plain, topic: 'q/b', payload: 'two', retain: false, qos: 2, properties: named })
    expect(three).toMatchObject({ topic: 'q/c', payload: 'expires', retain: true })
    const { messageExpiryInterval, ...others } = (three as { properties: Record<string, number> }).properties
    expect(others).toEqual({ contentType: 'text/x', subscriptionIdentifiers: [5] })
    expect(messageExpiryInterval).toBeGreaterThan(50)
    expect(messageExpiryInterval).toBeLessThanOrEqual(100)

    // The subscription lives on, with its options: the client's own message does not come back to it.
    const other = await connected(port, 'other')
    again.send(Publish.of('q/own', Buffer.from('own'), 0, false, 0, {}))
    expect(await again.isAlive()).toBe(true)
    expect(await other.publish('q/live', 'live')).toBe(0)
    expect(told(await again.next())).toMatchObject({ topic: 'q/live', properties: { subscriptionIdentifiers: [5] } })
    await other.subscribe('r/#', 1)
    expect(told(await other.next())).toMatchObject({ topic: 'r/s', payload: 'kept', retain: true })
    for (const client of [again, other]) client.close()
  })

  test('exchanges of QoS 2 that were under way go on with their packet ids, and nothing comes twice', async () => {
    const reader = await connected(mosquitto.port, 'reader')
    await subscribe(reader, 'x/#', 1)
    const writer = await connected(mosquitto.port, 'writer')
    await publish2(writer, 'x/unanswered', 'first', 1)
    const unanswered = (await reader.next()) as Publish
    await publish2(writer, 'x/received', 'second', 2)
    const received = (await reader.next()) as Publish
    reader.send({ type: 5, packetId: received.packetId, reasonCode: 0, properties: {} })
    expect(await reader.next()).toMatchObject({ type: 6, packetId: received.packetId })
    reader.close()
    // PUBREC has come back, PUBREL has not left: Mosquitto has passed neither on yet.
    for (const packetId of [11, 12]) {
      writer.send(Publish.of(`x/${packetId}`, Buffer.from(`${packetId}`), 2, false, packetId, {}))
      expect(await writer.next()).toMatchObject({ type: 5, packetId })
    }
    writer.close()

    const { port } = await moved()
    const writes = await rejoin(port, 'writer')
    writes.send({ type: 6, packetId: 11, reasonCode: 0, properties: {} })
    expect(await writes.next()).toMatchObject({ type: 7, packetId: 11, reasonCode: 0 })
    // Its client has lost the PUBREC.
    const again = Publish.of('x/12', Buffer.from('12'), 2, false, 12, {})
    again.dup = true
    writes.send(again)
    expect(await writes.next()).toMatchObject({ type: 5, packetId: 12 })
    writes.send({ type: 6, packetId: 12, reasonCode: 0, properties: {} })
    expect(await writes.next()).toMatchObject({ type: 7, packetId: 12, reasonCode: 0 })

    const reads = await rejoin(port, 'reader')
    const seen: string[] = []
    for (let left = 4; left > 0; ) {
      const packet = await reads.next()
      if (packet === 'closed') throw new Error('closed')
      if (packet instanceof Publish) {
        seen.push(`${packet.topic} ${packet.dup ? 'again' : 'new'}`)
        if (packet.topic === 'x/unanswered') expect(packet.packetId).toBe(unanswered.packetId)
        else expect([unanswered.packetId, received.packetId]).not.toContain(packet.packetId)
        reads.send({ type: 5, packetId: packet.packetId, reasonCode: 0, properties: {} })
      } else if (packet.type === 6) {
        if (packet.packetId === received.packetId) seen.push('PUBREL of x/received')
        reads.send({ type: 7, packetId: packet.packetId, reasonCode: 0, properties: {} })
        left--
      }
    }
    expect(seen.sort()).toEqual(['PUBREL of x/received', 'x/11 new', 'x/12 new', 'x/unanswered again'])
    expect(await reads.isAlive()).toBe(true)
    for (const client of [reads, writes]) client.close()
  })

  test('the user name that Mosquitto 2.0.11 writes for sessions without one is not taken', async () => {
    const ids = ['a', 'b', 'c', 'd', 'e']
    for (const id of ids) (await connected(mosquitto.port, id, { ...lasting, ...(id === 'a' && { username: 'ann' }) })).close()
    await mosquitto.save()
    const { code, err } = await roost('import', mosquitto.database, '--data-dir', dir, '--users-verified')
    expect([code, err]).toEqual([0, ''])
    const { out } = await roost('sessions', 'list', '--json', '--data-dir', dir)
    const found = JSON.parse(out) as { id: string; username: string | null; verified: boolean }[]
    expect(found.map(({ id }) => id).sort()).toEqual(ids.map((id) => `mqtt:${id}`))
    expect(found.filter(({ id }) => id !== 'mqtt:a').map(({ username }) => username)).toEqual([null, null, null, null])
    expect(found.find(({ id }) => id === 'mqtt:a')).toMatchObject({ username: 'ann', verified: true })
  })
})

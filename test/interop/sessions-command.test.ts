import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { PacketClient } from './packet-client.ts'
import { roost } from './roost-command.ts'
import { StartedProcess } from './started-process.ts'

const LASTING = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } }

/** What was waiting in a session. */
async function back(port: number, clientId: string): Promise<string[]> {
  const client = PacketClient.to(port)
  expect(await client.connect({ clientId, ...LASTING })).toBe(0)
  const messages: string[] = []
  client.send({ type: 12 })
  for (let packet = await client.next(); typeof packet !== 'string' && packet.type !== 13; packet = await client.next()) {
    if (packet.type === 3) messages.push(Buffer.from(packet.payload).toString())
  }
  client.send({ type: 14, reasonCode: 0, properties: {} })
  expect(await client.next()).toBe('closed')
  return messages
}

test('roost sessions: while Roost runs, its process id; when it has been stopped, one session goes and the others are whole', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'roost-sessions-'))
  try {
    const first = await StartedProcess.start('--data-dir', dir)
    for (const clientId of ['goes', 'stays']) {
      const client = PacketClient.to(first.mqttPort)
      await client.connect({ clientId, ...LASTING })
      expect(await client.subscribe('a')).toBe(1)
      client.send({ type: 14, reasonCode: 0, properties: {} })
      expect(await client.next()).toBe('closed')
    }
    const publisher = PacketClient.to(first.mqttPort)
    await publisher.connect({ clientId: 'publisher' })
    expect(await publisher.publish('a', 'for both')).toBe(0)
    for (const argv of [['list'], ['rm', 'goes']]) {
      const { code, out, err } = await roost('sessions', ...argv, '--data-dir', dir)
      const line = `store ${dir}: process ${first.child.pid} uses it: stop Roost first\n`
      expect({ code, out, err }).toEqual({ code: 2, out: '', err: line })
    }
    await first.stop()

    const listed = await roost('sessions', 'list', '--data-dir', dir)
    expect(listed).toMatchObject({ code: 0, err: '' })
    expect(listed.out).toMatch(/^mqtt:goes +- +127\.0\.0\.1 +disconnected +\S+Z +\S+Z +1 +1 +-$/m)
    const removed = await roost('sessions', 'rm', 'goes', '--data-dir', dir)
    expect(removed).toEqual({ code: 0, out: 'removed mqtt:goes: 1 subscription, 1 message\n', err: '' })
    expect((await roost('store', 'check', dir)).out).toMatch(/^The store is sound/)

    const second = await StartedProcess.start('--data-dir', dir)
    expect(await back(second.mqttPort, 'goes')).toEqual([])
    expect(await back(second.mqttPort, 'stays')).toEqual(['for both'])
    await second.stop()
  } finally {
    rmSync(dir, { recursive: true })
  }
})

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Wire } from './wire.ts'

const text = (value: string): number[] => [0, value.length, ...Buffer.from(value)]
const connectOf = (clientId: string): number[] => [0x10, 12 + clientId.length, ...text('MQTT'), 4, 0, 0, 60, ...text(clientId)]
const publish = (message: string, packetId: number, dup = 0): number[] => [
  0x32 | (dup << 3),
  5 + message.length,
  ...text('t'),
  0,
  packetId,
  ...Buffer.from(message),
]
const puback = (packetId: number): number[] => [0x40, 2, 0, packetId]

/** A client's end and the node's end of a connection through the relay. */
interface Ends {
  readonly client: Socket
  readonly node: Socket
}

/** Writes at one end, and waits until all of it has come at the other. */
async function carry(from: Socket, to: Socket, ...packets: number[][]): Promise<void> {
  const bytes = Buffer.from(packets.flat())
  let left = bytes.length
  const came = new Promise<void>((resolve) => {
    const count = (chunk: Buffer): void => {
      left -= chunk.length
      if (left > 0) return
      to.off('data', count)
      resolve()
    }
    to.on('data', count)
  })
  from.write(bytes)
  await came
}

async function recorded(): Promise<{ wire: Wire; open: (clientId: string) => Promise<Ends> }> {
  const node = createServer().listen(0, '127.0.0.1')
  await once(node, 'listening')
  const wire = new Wire()
  const port = await wire.relay('node', (node.address() as AddressInfo).port)
  onTestFinished(() => {
    wire.stop()
    node.close()
  })
  const open = async (clientId: string): Promise<Ends> => {
    const accepted = once(node, 'connection')
    const client = connect(port, '127.0.0.1')
    const [far] = (await accepted) as [Socket]
    await carry(client, far, connectOf(clientId))
    return { client, node: far }
  }
  return { wire, open }
}

/** A publisher has sent "p 1" and "p 2", in this order if not told otherwise, and both are acknowledged. */
async function published(order: readonly string[] = ['p 1', 'p 2']) {
  const { wire, open } = await recorded()
  const publisher = await open('p')
  for (const [i, message] of order.entries()) {
    await carry(publisher.client, publisher.node, publish(message, i + 1))
    await carry(publisher.node, publisher.client, puback(i + 1))
  }
  return { wire, open, how: () => wire.overtaking('sensor', 'p 1', 'p 2') }
}

async function closed({ client, node }: Ends): Promise<void> {
  const ended = once(node, 'close')
  client.end()
  await ended
}

describe('who changed the order, by what was sent over the wire', () => {
  test('nobody, when the cluster repeats what is unacknowledged before newer messages', async () => {
    const { open, how } = await published()
    const first = await open('sensor')
    await carry(first.node, first.client, publish('p 1', 1))
    await closed(first)
    const second = await open('sensor')
    await carry(second.node, second.client, publish('p 1', 1, 1), publish('p 2', 2))
    expect(how()).toBeUndefined()
  })

  test('not the cluster, when it sent both in order, twice', async () => {
    const { open, how } = await published()
    const first = await open('sensor')
    await carry(first.node, first.client, publish('p 1', 1), publish('p 2', 2))
    await carry(first.client, first.node, puback(2))
    await closed(first)
    const second = await open('sensor')
    await carry(second.node, second.client, publish('p 1', 1, 1))
    expect(how()).toBeUndefined()
  })

  test('not the cluster, when the older message was acknowledged', async () => {
    const { open, how } = await published()
    const first = await open('sensor')
    await carry(first.node, first.client, publish('p 1', 1))
    await carry(first.client, first.node, puback(1))
    await closed(first)
    const second = await open('sensor')
    await carry(second.node, second.client, publish('p 2', 1))
    expect(how()).toBeUndefined()
  })

  test('not the cluster, when the publisher sent the newer one first', async () => {
    const { open, how } = await published(['p 2', 'p 1'])
    const sensor = await open('sensor')
    await carry(sensor.node, sensor.client, publish('p 2', 1), publish('p 1', 2))
    expect(how()).toBeUndefined()
  })

  test('the cluster, after a new connection', async () => {
    const { open, how, wire } = await published()
    const first = await open('sensor')
    await carry(first.node, first.client, publish('p 1', 7))
    await closed(first)
    const second = await open('sensor')
    await carry(second.node, second.client, publish('p 2', 1), publish('p 1', 2, 1))
    expect(how()).toBe('reconnected')
    const course = wire.course('sensor', ['p 1', 'p 2']).map((each) => each.replace(/^\d+ ms: /, ''))
    expect(course.slice(4)).toEqual([
      'connection 2 to node opened',
      '"p 1" out, connection 2 (sensor), packet id 7',
      'connection 2 closed by the client',
      'connection 3 to node opened',
      '"p 2" out, connection 3 (sensor), packet id 1',
      '"p 1" out, connection 3 (sensor), packet id 2, DUP',
    ])
  })

  test('the cluster, while it has still the former connection', async () => {
    const { open, how } = await published()
    const first = await open('sensor')
    await carry(first.node, first.client, publish('p 1', 1))
    const second = await open('sensor')
    await carry(second.node, second.client, publish('p 2', 1), publish('p 1', 2, 1))
    expect(how()).toBe('taken over')
  })

  test('the cluster, with a message that no connection has carried before', async () => {
    const { open, how } = await published()
    const sensor = await open('sensor')
    await carry(sensor.node, sensor.client, publish('p 2', 1), publish('p 1', 2, 1))
    expect(how()).toBe('never sent')
  })
})

import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { RawClient, TestListener } from './test-listener.ts'

let roost: TestListener | undefined
afterEach(() => roost?.close())

const CONNECT_5 = Buffer.from('101000044d5154540502003c000003616263', 'hex')
/** Another CONNECT, which is a protocol error, and what the client goes on to say because it does not know yet. */
const WRONG = Buffer.concat([CONNECT_5, Buffer.alloc(4 * 1024 * 1024, 'c000', 'hex')])

describe('a client that is still sending when it is disconnected', () => {
  test('reads the reason, and the end of the stream, without a reset', async () => {
    roost = await TestListener.open()
    const client = await RawClient.connect({ port: roost.port, host: '127.0.0.1' })
    let error: Error | undefined
    client.socket.on('error', (it) => {
      error = it
    })
    client.socket.pause()
    client.socket.write(CONNECT_5)
    await Promise.race([new Promise((written) => client.socket.write(WRONG, written)), client.closed])
    client.socket.resume()
    await client.closed
    expect(error).toBeUndefined()
    // CONNACK, then DISCONNECT with 0x82.
    expect(client.hex).toMatch(/^20..0000.*e0..82/)
  })

  test('is destroyed after a second if it does not end', async () => {
    roost = await TestListener.open()
    const client = await RawClient.connect({ port: roost.port, host: '127.0.0.1', allowHalfOpen: true })
    client.socket.write(Buffer.concat([CONNECT_5, CONNECT_5]))
    await once(client.socket, 'end')
    const from = performance.now()
    const keepSending = setInterval(() => client.socket.write(Buffer.from('c000', 'hex')), 20)
    await client.closed
    clearInterval(keepSending)
    expect(performance.now() - from).toBeGreaterThan(500)
  })

  test('counts among the connections until its socket is closed', async () => {
    roost = await TestListener.open({}, { maxConnections: 1 })
    const client = await RawClient.connect({ port: roost.port, host: '127.0.0.1', allowHalfOpen: true })
    client.socket.write(Buffer.concat([CONNECT_5, CONNECT_5]))
    await once(client.socket, 'end')
    const second = await RawClient.connect({ port: roost.port, host: '127.0.0.1' })
    await second.closed
    expect(await roost.next('limit-reached')).toContain('max_connections')
    client.socket.end()
    await client.closed
    const third = await RawClient.connect({ port: roost.port, host: '127.0.0.1' })
    third.socket.write(CONNECT_5)
    await once(third.socket, 'data')
    expect(third.hex).toMatch(/^20..0000/)
    third.socket.destroy()
  })
})

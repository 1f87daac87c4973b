import { once } from 'node:events'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import { Certificates } from './certificates.ts'
import { RawClient, TestListener } from './test-listener.ts'
import { WsClient } from './ws-client.ts'

let roost: TestListener | undefined
afterEach(async () => {
  WsClient.terminateAll()
  await roost?.close()
})

const CONNECT_5 = Buffer.from('101000044d5154540502003c000003616263', 'hex')
/** MQTT 6, which there is not. */
const CONNECT_6 = Buffer.from('101000044d5154540602003c000003616263', 'hex')
const PINGS = Buffer.alloc(4 * 1024 * 1024, 'c000', 'hex')
/** Another CONNECT, which is a protocol error, and what the client goes on to say because it does not know yet. */
const WRONG = Buffer.concat([CONNECT_5, PINGS])

/** What ends a conversation while the client is sending: what it says, and the reason that it reads. */
const ENDS = [
  // CONNACK, then DISCONNECT with 0x82.
  ['DISCONNECT', [CONNECT_5, CONNECT_5], /^20..0000.*e0..82/],
  ['CONNACK', [CONNECT_6], /^20..0084/],
] as const

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

  test.each(ENDS)('reads the reason over TLS: %s', async (_, says, reads) => {
    const certificates = new Certificates()
    const { certfile, keyfile } = certificates.issue('server', '/CN=localhost', 'server')
    const tls = {
      requireCertificate: 'no',
      useIdentityAsUsername: false,
      useSubjectAsUsername: false,
      tlsVersion: 'tlsv1.2',
    } as const
    roost = await TestListener.open({ tls: { certfile, keyfile, ...tls } })
    const ca = certificates.read('ca.pem')
    const client = new RawClient(connectTls({ host: '127.0.0.1', port: roost.port, ca, checkServerIdentity: () => undefined }))
    certificates.remove()
    await once(client.socket, 'secureConnect')
    let error: Error | undefined
    client.socket.on('error', (it) => {
      error = it
    })
    client.socket.pause()
    const saidAll = new Promise((written) => client.socket.write(Buffer.concat([...says, PINGS]), written))
    await Promise.race([saidAll, client.closed])
    client.socket.resume()
    await client.closed
    expect(error).toBeUndefined()
    expect(client.hex).toMatch(reads)
  })

  test.each(ENDS)('reads the reason over WebSocket, and the close frame: %s', async (_, says, reads) => {
    roost = await TestListener.open({ protocol: 'websockets' })
    const client = await new WsClient(roost.port).open()
    let error: Error | undefined
    client.ws.on('error', (it) => {
      error = it
    })
    client.ws.pause()
    client.ws.send(Buffer.concat(says))
    const frames = Array.from({ length: 64 }, (_, i) => PINGS.subarray(i * 65_536, (i + 1) * 65_536))
    const saidAll = Promise.all(frames.map((frame) => new Promise((written) => client.ws.send(frame, written))))
    await Promise.race([saidAll, client.closed])
    client.ws.resume()
    // CLOSE_NORMAL
    expect(await client.closed).toBe(1000)
    expect(error).toBeUndefined()
    expect(client.hex).toMatch(reads)
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

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ListenOptions } from '../../../src/mqtt/io/listen.ts'
import { tlv, v2, v4Addresses, v6Addresses } from '../../vectors/proxy-protocol.ts'
import { CONNACK, CONNECT, PINGREQ, PINGRESP, RawClient, TestListener } from './test-listener.ts'

const opened: TestListener[] = []
const open = async (options: Partial<ListenOptions> = {}): Promise<TestListener> => {
  const listener = await TestListener.open(options)
  opened.push(listener)
  return listener
}
const clients: RawClient[] = []
const connect = async (to: { port: number } | { path: string }): Promise<RawClient> => {
  const client = await RawClient.connect('port' in to ? { port: to.port, host: '127.0.0.1' } : to)
  clients.push(client)
  return client
}
afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.destroy()
  for (const listener of opened.splice(0)) await listener.close()
})

describe('TCP', () => {
  test('a client is told apart by listener and address', async () => {
    const roost = await open()
    const client = await connect(roost)
    client.socket.write(CONNECT)
    await client.answer(CONNACK)
    expect(roost.infos).toMatchObject([{ kind: 'mqtt', listener: 'test', peer: `127.0.0.1:${client.socket.localPort}` }])
    expect(roost.listener.address).toEqual({ host: '127.0.0.1', port: roost.port })
  })

  test('the address of an IPv6 client is in brackets', async () => {
    const roost = await open({ host: '::1' })
    const client = await RawClient.connect({ host: '::1', port: roost.port })
    client.socket.write(CONNECT)
    await client.answer(CONNACK)
    expect(roost.infos[0]?.peer).toBe(`[::1]:${client.socket.localPort}`)
    client.socket.destroy()
  })

  test('an IPv4 client of a listener for both is where it is in IPv4', async () => {
    const roost = await open({ host: '::' })
    const client = await RawClient.connect({ host: '127.0.0.1', port: roost.port })
    client.socket.write(CONNECT)
    await client.answer(CONNACK)
    expect(roost.infos[0]?.peer).toMatch(/^127\.0\.0\.1:\d+$/)
  })

  test('a connection whose descriptor is above the bound is closed with a Notice', async () => {
    const roost = await open({ maxDescriptor: 1 })
    const client = await RawClient.connect({ host: '127.0.0.1', port: roost.port })
    await client.closed
    expect(await roost.next('limit-reached')).toMatch(/^warn PEER: listener test: refused, .* \(open_files\)$/)
  })

  test('a connection above the bound is closed at once, and one that leaves makes room', async () => {
    const roost = await open({ maxConnections: 1 })
    const first = await connect(roost)
    first.socket.write(CONNECT)
    await first.answer(CONNACK)
    const second = await connect(roost)
    await second.closed
    expect(await roost.next('limit-reached')).toBe('warn PEER: listener test is full (max_connections)')
    first.socket.end(Buffer.from('e000', 'hex'))
    await first.closed
    await roost.next('client-disconnected')
    const third = await connect(roost)
    third.socket.write(CONNECT)
    await third.answer(CONNACK)
  })

  test('a client that stops reading keeps nobody waiting, and gets all of it in the end', async () => {
    const roost = await open({ socketBufferBytes: 1 })
    const slow = await connect(roost)
    slow.socket.write(CONNECT)
    await slow.answer(CONNACK)
    slow.socket.write(Buffer.from('8206000100016100', 'hex'))
    await slow.answer('9003000100')
    slow.socket.pause()
    const handle = vi.spyOn(roost.loop, 'handle')
    const fast = await connect(roost)
    fast.socket.write(CONNECT)
    await fast.answer(CONNACK)
    // Together more than the buffers of the kernel hold, and less than the queue of the session.
    const publish = Buffer.concat([Buffer.from('30e3ff030001', 'hex'), Buffer.from('a'), Buffer.alloc(65_504, 'x')])
    for (let i = 0; i < 100; i++) fast.socket.write(publish)
    fast.socket.write(PINGREQ)
    await fast.answer(PINGRESP)
    let received = 0
    slow.socket.removeAllListeners('data').on('data', (bytes) => {
      received += bytes.length
    })
    slow.socket.resume()
    while (received < 100 * publish.length) await once(slow.socket, 'data')
    expect(received).toBe(100 * publish.length)
    for (const on of [true, false]) expect(handle).toHaveBeenCalledWith({ kind: 'congested', connection: 1, on })
    expect(roost.notices.filter(({ code }) => code === 'message-dropped' || code === 'queue-full')).toEqual([])
  })

  test('a client that takes nothing is closed after the write timeout, and one that only reads slowly is not', async () => {
    const roost = await open({ socketBufferBytes: 1, writeTimeoutMs: 400 })
    const connected = async (): Promise<RawClient> => {
      const client = await connect(roost)
      client.socket.write(CONNECT)
      await client.answer(CONNACK)
      return client
    }
    const [stuck, slow, fast] = [await connected(), await connected(), await connected()]
    for (const { socket, closed } of [stuck, slow]) {
      socket.write(Buffer.from('8206000100016100', 'hex'))
      await once(socket, 'data')
      void closed
      socket.removeAllListeners('data').pause()
    }
    const started = performance.now()
    // More than the buffers of the kernel hold.
    const publish = Buffer.concat([Buffer.from('30e3ff030001', 'hex'), Buffer.from('a'), Buffer.alloc(65_504, 'x')])
    for (let i = 0; i < 100; i++) fast.socket.write(publish)
    let received = 0
    slow.socket.on('data', (bytes: Buffer) => {
      received += bytes.length
      slow.socket.pause()
      setTimeout(() => slow.socket.resume(), 10)
    })
    slow.socket.resume()
    expect(await roost.next('limit-reached')).toBe('warn PEER: the socket takes nothing (write_timeout_seconds)')
    expect(performance.now() - started).toBeGreaterThan(399)
    while (received < 100 * publish.length && !slow.socket.closed) await new Promise((resolve) => setTimeout(resolve, 50))
    expect(received).toBe(100 * publish.length)
    expect(performance.now() - started).toBeGreaterThan(800)
    expect(roost.notices.filter(({ code }) => code === 'limit-reached')).toEqual([])
  })

  test('close ends connections, those of peers that do not answer too, and lets nobody in', async () => {
    const roost = await open({ proxyProtocol: false })
    const client = await connect(roost)
    client.socket.write(CONNECT)
    await client.answer(CONNACK)
    client.socket.pause()
    const { port } = roost
    await Promise.all([roost.listener.close(), client.closed])
    await expect(connect({ port })).rejects.toThrow('ECONNREFUSED')
  })

  test('a port that is taken rejects with the error of the system', async () => {
    const roost = await open()
    await expect(open({ port: roost.port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })
})

describe('Unix socket', () => {
  let dir: string
  let path: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'roost-unix-'))
    path = join(dir, 'mqtt.sock')
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  test('carries MQTT, and is gone after the end', async () => {
    const roost = await open({ socketPath: path })
    const client = await connect({ path })
    client.socket.write(CONNECT)
    await client.answer(CONNACK)
    expect(roost.infos[0]).toMatchObject({ peer: `unix:${path}`, listener: 'test' })
    expect(roost.listener.address).toEqual({ host: '', port: 0, path })
    await roost.listener.close()
    expect(readdirSync(dir)).toEqual([])
  })

  test.each([
    ['as Mosquitto has it', undefined, 0o770],
    ['as it was asked for', 0o606, 0o606],
  ])('its mode is %s, and the mask of the process stays', async (_, socketMode, mode) => {
    const umask = process.umask()
    await open({ socketPath: path, ...(socketMode !== undefined && { socketMode }) })
    expect(statSync(path).mode & 0o777).toBe(mode)
    expect(process.umask()).toBe(umask)
  })

  test('a file that a killed process has left is replaced', async () => {
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
    await once(spawn(process.execPath, ['-e', script]), 'exit')
    expect(readdirSync(dir)).toEqual(['mqtt.sock'])
    await open({ socketPath: path })
    const client = await connect({ path })
    client.socket.write(CONNECT)
    await client.answer(CONNACK)
  })

  test('one that somebody listens on is left alone', async () => {
    await open({ socketPath: path })
    await expect(open({ socketPath: path })).rejects.toThrow(`socket ${path}: another process is listening there`)
    const client = await connect({ path })
    client.socket.write(CONNECT)
    await client.answer(CONNACK)
  })

  test('a file that is no socket is left alone, and bad paths are told', async () => {
    writeFileSync(path, 'precious')
    await expect(open({ socketPath: path })).rejects.toThrow('there is a file of this name, and it is no socket')
    expect(statSync(path).size).toBe(8)
    await expect(open({ socketPath: join(dir, 'none', 'x') })).rejects.toThrow(/socket .*none\/x: cannot listen: E/)
    await expect(open({ socketPath: join(dir, 'x'.repeat(100)) })).rejects.toThrow('is longer than')
  })
})

describe('PROXY header', () => {
  const proxied = (options: Partial<ListenOptions> = {}): Promise<TestListener> => open({ proxyProtocol: true, ...options })
  const v1 = Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.9 51234 1883\r\n')
  const ssl = tlv(0x20, Buffer.concat([Buffer.of(3, 0, 0, 0, 0), tlv(0x22, Buffer.from('sensor 1'))]))

  test.each<[string, Buffer, string | undefined]>([
    ['version 1', v1, '192.0.2.1:51234'],
    ['version 1 UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n'), undefined],
    ['version 2', v2(0x21, 0x21, v6Addresses('20010db8000000000000000000000001', 7)), '[2001:db8::1]:7'],
    ['version 2 LOCAL', v2(0x20, 0, Buffer.alloc(0)), undefined],
  ])('%s, with the client right behind it or byte by byte', async (_, header, peer) => {
    const roost = await proxied()
    for (const way of ['at once', 'split'] as const) {
      const client = await connect(roost)
      if (way === 'at once') client.socket.write(Buffer.concat([header, CONNECT]))
      else await client.dribble(Buffer.concat([header, CONNECT]))
      await client.answer(CONNACK)
      client.socket.write(PINGREQ)
      await client.answer(PINGRESP)
      expect(roost.infos.pop()?.peer).toBe(peer ?? `127.0.0.1:${client.socket.localPort}`)
    }
  })

  test.each([true, false])('the name that the proxy has verified counts if that is wanted: %s', async (wanted) => {
    const roost = await proxied({ useProxyIdentityAsUsername: wanted })
    const client = await connect(roost)
    client.socket.write(Buffer.concat([v2(0x21, 0x11, v4Addresses('192.0.2.1', 1), ssl), CONNECT]))
    await client.answer(CONNACK)
    expect(roost.infos[0]?.identity).toBe(wanted ? 'sensor 1' : undefined)
  })

  test('who sends none is closed at once', async () => {
    const roost = await proxied()
    const client = await connect(roost)
    client.socket.write(CONNECT)
    await client.closed
    expect(client.hex).toBe('')
    expect(await roost.next('client-refused')).toBe('info PEER: no PROXY header (proxy_protocol)')
    expect(roost.infos).toEqual([])
  })

  test('who does not finish it is closed in time, once told', async () => {
    const roost = await proxied({ connectTimeoutMs: 30 })
    const client = await connect(roost)
    client.socket.write('PROXY ')
    await client.closed
    expect(await roost.next('client-refused')).toBe('info PEER: no PROXY header in time (connect_timeout_seconds)')
    expect(roost.notices).toEqual([])
  })

  test('who leaves before it is told as a detail, and close does not wait for who stays', async () => {
    const roost = await proxied()
    const leaves = await connect(roost)
    leaves.socket.end()
    expect(await roost.next('client-refused')).toBe('debug PEER: closed without PROXY header')
    const stays = await connect(roost)
    await Promise.all([roost.listener.close(), stays.closed])
  })

  test('in front of a Unix socket', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'roost-unix-'))
    const path = join(dir, 's')
    const roost = await proxied({ socketPath: path })
    const client = await connect({ path })
    client.socket.write(Buffer.concat([v1, CONNECT]))
    await client.answer(CONNACK)
    expect(roost.infos[0]?.peer).toBe('192.0.2.1:51234')
    await roost.listener.close()
    rmSync(dir, { recursive: true })
  })
})

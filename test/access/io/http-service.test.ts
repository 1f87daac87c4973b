import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { bodyOf, HttpService, keySetFetcher } from '../../../src/access/io/http-service.ts'

let server: Server
let url: string
let answer: (response: ServerResponse) => void
beforeEach(async () => {
  server = createServer((_, response) => answer(response)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
})
afterEach(() => server.close().closeAllConnections())

test('what is compressed counts as what it is unpacked', async () => {
  const bomb = gzipSync(Buffer.alloc(50_000_000))
  expect(bomb.length).toBeLessThan(65_536)
  answer = (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb)
  await expect(bodyOf(await fetch(url), 65_536)).rejects.toThrow('an answer of more than 65536 bytes')
})

test('a body may have as many bytes as are allowed, and no more', async () => {
  answer = (response) => response.end('x'.repeat(1000))
  expect(await bodyOf(await fetch(url), 1000)).toHaveLength(1000)
  await expect(bodyOf(await fetch(url), 999)).rejects.toThrow('more than 999 bytes')
})

test('a key set whose body stands still is given up in time', async () => {
  answer = (response) => void response.writeHead(200).write('{')
  const ask = keySetFetcher(new HttpService(url), 100)
  await expect(ask(url, { signal: AbortSignal.timeout(100) })).rejects.toThrow(`jwt_jwks ${url}: no answer within 100 ms`)
})

test('where it is, is told without what is secret', () => {
  const { url: asked, place } = new HttpService('https://user:pass@host.example:8443/keys?token=secret')
  expect([asked, place]).toEqual(['https://host.example:8443/keys?token=secret', 'https://host.example:8443/keys'])
})

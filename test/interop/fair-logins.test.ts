import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { hashPassword } from '../../src/access/io/password-hash.ts'
import { DEFAULT_ITERATIONS } from '../../src/access/password-file.ts'
import { LoginSwarm, login } from './login-swarm.ts'
import { PacketClient } from './packet-client.ts'
import { StartedProcess } from './started-process.ts'

// At full size as part of `npm run test:full`, which prints the figures of docs/security.md.
const FULL = process.env.FULL === '1'
const CONNECTIONS = FULL ? 1000 : 200
const ADDRESSES = FULL ? [1, 100, 1000] : [1, 20, 200]
const LOGINS = FULL ? 10 : 3
const BETWEEN_MS = FULL ? 2000 : 500
/** Of an honest first login, beside as many wrong ones as there are. */
const WITHIN_MS = 2000
/** On a machine so busy that one hash takes most of that: so many times what a login takes with nobody beside it. */
const TIMES_ALONE = 5

let dir: string
let roost: StartedProcess | undefined
let swarm: LoginSwarm | undefined
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'roost-logins-'))
  const lines: string[] = []
  for (let i = 0; i <= LOGINS; i++) lines.push(`honest-${i}:${await hashPassword(Buffer.from('right'), DEFAULT_ITERATIONS)}`)
  lines.push(`victim:${await hashPassword(Buffer.from('right'), DEFAULT_ITERATIONS)}`)
  writeFileSync(join(dir, 'passwords'), `${lines.join('\n')}\n`, { mode: 0o600 })
})
afterEach(async () => {
  swarm?.stop()
  await roost?.stop()
  roost = undefined
})
afterAll(() => rmSync(dir, { recursive: true }))

/** A client that is connected, and publishes 50 messages with QoS 1 a second. */
class Victim {
  readonly #client: PacketClient
  #took: number[] = []
  #ended = false

  constructor(port: number) {
    this.#client = PacketClient.to(port)
  }

  async begin(): Promise<void> {
    expect(await this.#client.connect({ clientId: 'victim', username: 'victim', password: Buffer.from('right') })).toBe(0)
    void this.#publish()
  }

  /** Since this was asked last. */
  figures(): string {
    const sorted = this.#took.toSorted((a, b) => a - b)
    this.#took = []
    const at = (part: number): string => sorted[Math.floor(sorted.length * part)]!.toFixed(1)
    return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`
  }

  end(): void {
    this.#ended = true
    this.#client.close()
  }

  async #publish(): Promise<void> {
    while (!this.#ended) {
      const began = performance.now()
      if (!((await this.#client.publish('victim')) < 0x80) && !this.#ended) throw new Error('refused')
      this.#took.push(performance.now() - began)
      await sleep(Math.max(0, 20 - (performance.now() - began)))
    }
  }
}

/** Honest first logins, each of another user from another address, once the others are at it: none may take too long. */
async function honestLogins(addresses: number, serviceMs = 0): Promise<void> {
  const port = roost!.mqttPort
  const victim = FULL ? new Victim(port) : undefined
  await victim?.begin()
  const alone = await login(port, `honest-${LOGINS}`, 'right', '127.9.9.200')
  if (FULL) await sleep(3000)
  const calm = victim?.figures()
  swarm = new LoginSwarm(port, CONNECTIONS, addresses)
  await sleep(BETWEEN_MS)
  const took: number[] = []
  for (let i = 0; i < LOGINS; i++) {
    took.push(await login(port, `honest-${i}`, 'right', `127.9.9.${i + 1}`))
    await sleep(BETWEEN_MS)
  }
  if (FULL) {
    const answers = [...swarm.answers].map(([code, count]) => `${code}: ${count}`).join(', ')
    const figures = took.toSorted((a, b) => a - b).map((ms) => ms.toFixed(0))
    process.stdout.write(`  ${figures.join(' ')} ms, alone ${alone.toFixed(0)} ms; the others were told ${answers}\n`)
    process.stdout.write(`  PUBACKs of a client that publishes all the time: ${calm} before, ${victim!.figures()} meanwhile\n`)
    victim!.end()
  }
  expect(Math.max(...took)).toBeLessThan(Math.max(WITHIN_MS, serviceMs + TIMES_ALONE * (alone - serviceMs)))
}

describe(`an honest first login is let in within ${WITHIN_MS} ms beside ${CONNECTIONS} connections with wrong passwords`, () => {
  test.each(ADDRESSES)('from %i addresses, with a password file', { timeout: 120_000 }, async (addresses) => {
    roost = await StartedProcess.start('--memory', '--password-file', join(dir, 'passwords'))
    await honestLogins(addresses)
    expect(swarm!.answers.get(4)).toBeGreaterThan(0)
  })

  describe('with an HTTP service that takes 800 ms', () => {
    const SERVICE_MS = 800
    let service: Server
    beforeAll(async () => {
      service = createServer(async (request, response) => {
        let body = ''
        for await (const chunk of request) body += String(chunk)
        const { password } = JSON.parse(body) as { password: string }
        setTimeout(() => response.writeHead(password === 'right' ? 200 : 401).end(), SERVICE_MS)
      })
      service.listen(0, '127.0.0.1')
      await once(service, 'listening')
    })
    afterAll(() => {
      service.closeAllConnections()
      service.close()
    })

    test.each(ADDRESSES)('from %i addresses', { timeout: 120_000 }, async (addresses) => {
      const { port } = service.address() as AddressInfo
      roost = await StartedProcess.start('--memory', '--http-auth-url', `http://127.0.0.1:${port}/`)
      await honestLogins(addresses, SERVICE_MS)
    })
  })
})

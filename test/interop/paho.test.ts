import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Certificates } from './certificates.ts'
import { StartedProcess } from './started-process.ts'

const PYTHON = '/usr/bin/python3'
const SCRIPT = fileURLToPath(new URL('paho_conversation.py', import.meta.url))
const missing = spawnSync(PYTHON, ['-c', 'import paho.mqtt']).status !== 0

if (missing && process.env.CI === 'true') throw new Error('paho-mqtt is not installed, and CI skips nothing')
if (missing) process.stderr.write('skipped: the tests with paho-mqtt, which is not installed (Debian: python3-paho-mqtt)\n')

describe.skipIf(missing)('paho-mqtt for Python', () => {
  let certificates: Certificates
  let roost: StartedProcess

  beforeAll(async () => {
    certificates = new Certificates()
    const tls = `certfile: server.crt, keyfile: server.key, cafile: ca.crt, require_certificate: required`
    const config = join(certificates.directory, 'roost.yaml')
    writeFileSync(
      config,
      `memory: true
listeners:
  - {name: tcp, port: 0}
  - {name: tls, port: 0, ${tls}}
  - {name: ws, port: 0, protocol: websockets, websockets_path: /mqtt}
  - {name: wss, port: 0, protocol: websockets, ${tls}}
`,
    )
    roost = await StartedProcess.startWith('--config', config)
  })

  afterAll(async () => {
    await roost.stop()
    certificates.remove()
  })

  const runs = ['tcp', 'tls', 'ws', 'wss'].flatMap((listener) => ['3', '4', '5'].map((version) => [listener, version] as const))

  test.concurrent.each(runs)('over %s, protocol level %s', async (listener, version) => {
    const transport = listener.startsWith('ws') ? 'websockets' : 'tcp'
    const files = listener.endsWith('s') && listener !== 'ws' ? (['ca.crt', 'client.crt', 'client.key'] as const) : []
    const port = String(roost.ports.get(listener))
    const argv = [SCRIPT, transport, port, version, ...files.map((name) => certificates.path(name))]
    const child = spawn(PYTHON, argv, { stdio: ['ignore', 'pipe', 'pipe'] })
    let told = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (told += String(text)))
    const [code] = (await once(child, 'close')) as [number | null]
    expect(told).not.toMatch(/FAILED|Traceback/)
    expect(code).toBe(0)
  })
})

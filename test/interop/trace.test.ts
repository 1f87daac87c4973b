import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { connectAsync } from 'mqtt'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MAIN, StartedProcess } from './started-process.ts'
import { describeWithTshark } from './tshark.ts'

let dir: string
let roost: StartedProcess
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'roost-trace-'))
  roost = await StartedProcess.start('--memory', '--http-port', '0')
})
afterEach(async () => {
  await roost.stop()
  rmSync(dir, { recursive: true })
})

const command = (...argv: string[]) => {
  const child = spawn(process.execPath, [MAIN, ...argv], { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
  return { child, ended: once(child, 'exit') }
}

/** One client and one sensor connect and publish, until the trace has seen it. */
async function publish(until: () => boolean): Promise<void> {
  while (!until()) {
    const options = { clientId: 'pump-7', username: 'eva', password: 'secret' }
    const client = await connectAsync(`mqtt://127.0.0.1:${roost.mqttPort}`, options)
    await client.publishAsync('site/pump', 'on', { qos: 1 })
    await client.endAsync()
    await command('sn', 'pub', '--port', String(roost.snPort), '-i', 'sensor-7', '-t', 'site/temperature', '-m', '21.5').ended
  }
}

test('roost trace shows packets of both protocols until Ctrl-C, and no password', async () => {
  const { child, ended } = command('trace', '--http-port', String(roost.httpPort))
  const lines: string[] = []
  createInterface({ input: child.stdout! }).on('line', (line) => lines.push(line))
  const has = (pattern: RegExp): boolean => lines.some((line) => pattern.test(line))
  await publish(() => has(/ pump-7 -> PUBLISH .*"site\/pump" .*qos=1/) && has(/ sensor-7 -> PUBLISH .*\(site\/temperature\)/))
  child.kill('SIGINT')
  expect(await ended).toEqual([0, null])
  expect(lines.join('\n')).not.toContain('secret')
  expect(lines[0]).toMatch(/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z /)
})

test('nothing that answers: one line, exit code 2', () => {
  const { status, stderr } = spawnSync(process.execPath, [MAIN, 'trace', '--http-port', '1'], { encoding: 'utf8' })
  expect({ status, stderr }).toEqual({
    status: 2,
    stderr: expect.stringMatching(/^http:\/\/127\.0\.0\.1:1: nothing answers: [^\n]+\n$/),
  })
})

describeWithTshark('roost trace --pcap', () => {
  test('writes what tshark dissects, of one client', async () => {
    const file = join(dir, 'pump.pcap')
    const { child, ended } = command('trace', '--http-port', String(roost.httpPort), '--client', 'pump-7', '--pcap', file)
    const types = (): string[] => {
      const argv = ['-r', file, '-T', 'fields', '-e', 'mqtt.msgtype', '-e', 'mqtt.clientid']
      return spawnSync('tshark', argv, { encoding: 'utf8' }).stdout.split('\n')
    }
    await publish(() => types().includes('1\tpump-7') && types().some((line) => line.startsWith('4')))
    child.kill('SIGTERM')
    expect(await ended).toEqual([0, null])
    expect(types().some((line) => line.startsWith('3'))).toBe(true)
  })
})

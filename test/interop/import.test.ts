import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeWithMosquitto, MosquittoSub, mosquittoPub } from './mosquitto.ts'
import { MqttJs } from './mqttjs.ts'
import { StartedProcess } from './started-process.ts'

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

/** Ports that were free a moment ago: in Mosquitto's file none can be left to the system. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}

describeWithMosquitto('a mosquitto.conf, imported and served', () => {
  const dir = mkdtempSync(join(tmpdir(), 'roost-import-'))
  let roost: StartedProcess
  let ports: number[]
  let told = ''

  beforeAll(async () => {
    ports = await freePorts(3)
    const conf = join(dir, 'mosquitto.conf')
    execFileSync('mosquitto_passwd', ['-b', '-c', join(dir, 'passwords'), 'alice', 'secret'])
    writeFileSync(join(dir, 'rules'), 'user alice\ntopic readwrite home/#\npattern readwrite own/%c/#\n')
    writeFileSync(
      conf,
      `# As on a machine that runs Mosquitto today.
per_listener_settings true
pid_file /run/mosquitto/mosquitto.pid
persistence true
persistence_location ${join(dir, 'state')}/
max_queued_messages 2
sys_interval 1
listener ${ports[0]} 127.0.0.1
password_file ${join(dir, 'passwords')}
acl_file ${join(dir, 'rules')}
listener ${ports[1]} 127.0.0.1
protocol websockets
allow_anonymous true
max_qos 1
listener ${ports[2]} 127.0.0.1
allow_anonymous true
mount_point home/
`,
    )
    const imported = spawnSync(process.execPath, [MAIN, 'config', 'import', conf, '-o', join(dir, 'roost.yaml')], {
      encoding: 'utf8',
    })
    expect(imported.status).toBe(0)
    told = imported.stderr
    roost = await StartedProcess.startWith('--config', join(dir, 'roost.yaml'), '--data-dir', join(dir, 'data'))
  })
  afterAll(async () => {
    await roost?.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  const login = ['-u', 'alice', '-P', 'secret']

  test('what has no counterpart is told on standard error, and stands in the file', () => {
    expect(told).toBe(
      `${join(dir, 'mosquitto.conf')}:3: pid_file /run/mosquitto/mosquitto.pid: no counterpart: left to what starts the process, such as systemd
${join(dir, 'mosquitto.conf')}:5: persistence_location ${join(dir, 'state')}/: no counterpart: the files in data_dir are those of Roost alone
Carried over: 14 settings.
Needs attention: nothing.
Lost: pid_file, persistence_location.
Not imported: sessions, queued and retained messages in ${join(dir, 'state', 'mosquitto.db')}. To bring them over, stop Mosquitto, and then:
roost import ${join(dir, 'state', 'mosquitto.db')} --users-verified
`,
    )
    expect(readFileSync(join(dir, 'roost.yaml'), 'utf8')).toContain('pid_file')
  })

  test('--test-config takes it', () => {
    const argv = ['serve', '--test-config', '--http', 'false', '--config', join(dir, 'roost.yaml')]
    const checked = spawnSync(process.execPath, [MAIN, ...argv], { encoding: 'utf8' })
    expect(checked.status).toBe(0)
    const warnings = checked.stderr.split('\n').filter((line) => line !== '')
    // mosquitto_passwd of some versions leaves its file open to everybody.
    const open = warnings.filter((line) => !/^warning: password_file .*: chmod 600$/.test(line))
    const anybody = expect.stringMatching(/^warning: .*: every user of this machine may connect without a password /)
    expect(open).toEqual([anybody, anybody])
  })

  test('passwords and rules of the first listener hold: mosquitto_passwd wrote them', async () => {
    const sub = await MosquittoSub.start(ports[0]!, ...login, '-t', 'home/#')
    await mosquittoPub(ports[0]!, ...login, '-t', 'elsewhere', '-m', 'no', '-q', '1')
    await mosquittoPub(ports[0]!, ...login, '-t', 'home/door', '-m', 'open', '-q', '2')
    expect(await sub.next()).toBe('home/door open')
    await sub.stop()
    await expect(mosquittoPub(ports[0]!, '-t', 'home/door', '-m', 'x')).rejects.toThrow()
    await expect(mosquittoPub(ports[0]!, '-u', 'alice', '-P', 'wrong', '-t', 'home/door', '-m', 'x')).rejects.toThrow()
  })

  test('the second speaks WebSocket and grants QoS 1 at most; the third is mounted', async () => {
    const js = await MqttJs.connect(ports[1]!, { protocol: 'ws', protocolVersion: 5 })
    const [granted] = await js.client.subscribeAsync('home/#', { qos: 2 })
    expect(granted?.qos).toBe(1)
    const sub = await MosquittoSub.start(ports[2]!, '-t', 'lamp')
    await mosquittoPub(ports[2]!, '-t', 'lamp', '-m', 'on', '-q', '1')
    expect(await js.next()).toMatchObject({ topic: 'home/lamp', text: 'on' })
    expect(await sub.next()).toBe('lamp on')
    await sub.stop()
    await js.client.endAsync(true)
  })

  test('bounds and state: two messages wait for an absent client, also over a restart', async () => {
    const lasting = ['-c', '-i', 'absent', '-q', '1', '-t', 'home/queue', ...login]
    await (await MosquittoSub.start(ports[0]!, ...lasting)).stop()
    for (const text of ['1', '2', '3']) await mosquittoPub(ports[0]!, ...login, '-t', 'home/queue', '-m', text, '-q', '1')
    expect(await roost.stop()).toBe(0)
    roost = await StartedProcess.startWith('--config', join(dir, 'roost.yaml'), '--data-dir', join(dir, 'data'))
    const sub = await MosquittoSub.start(ports[0]!, ...lasting)
    expect([await sub.next(), await sub.next()]).toEqual(['home/queue 1', 'home/queue 2'])
    await mosquittoPub(ports[0]!, ...login, '-t', 'home/queue', '-m', 'last', '-q', '1')
    expect(await sub.next()).toBe('home/queue last')
    await sub.stop()
  })
})

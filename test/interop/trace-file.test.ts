import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { MqttJs } from './mqttjs.ts'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'
import { describeWithTshark } from './tshark.ts'

const dir = mkdtempSync(join(tmpdir(), 'roost-trace-'))
afterAll(() => rmSync(dir, { recursive: true }))

/** Fields of the packets that a filter lets through, as tshark finds them: a line for each packet. */
function tshark(file: string, filter: string, ...fields: string[]): string[] {
  const argv = [
    '-r',
    file,
    '-d',
    'udp.port==1884,mqttsn',
    '-Y',
    filter,
    '-T',
    'fields',
    ...fields.flatMap((field) => ['-e', field]),
  ]
  const checked = ['-o', 'tcp.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE']
  const { stdout, stderr, status } = spawnSync('tshark', [...argv, ...checked], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`tshark ended with ${status}: ${stderr}`)
  return stdout.split('\n').filter((line) => line !== '')
}

/** A client of MQTT 5 and a sensor talk to each other while everything is traced. */
async function traced(file: string, ...flags: string[]): Promise<void> {
  const roost = await StartedProcess.start('--memory', '--trace-file', file, ...flags)
  const js = await MqttJs.connect(roost.mqttPort, {
    protocolVersion: 5,
    clientId: 'reader',
    username: 'ann',
    password: 'hush-hush',
  })
  await js.client.subscribeAsync('site/#', { qos: 1 })
  // Larger than a packet of IP: it has to be reassembled.
  await js.client.publishAsync('site/large', Buffer.alloc(100_000, 'x'), { qos: 1 })
  await js.next()
  const sensor = await RawSensor.open(roost.snPort)
  sensor.sendHex('08 04 04 01 003c 7331')
  await sensor.next()
  sensor.sendHex(`0f 0a 0000 0001 ${Buffer.from('site/temp').toString('hex')}`)
  const id = (await sensor.next()).slice(4, 8)
  sensor.sendHex(`0b 0c 20 ${id} 0002 ${Buffer.from('21.5').toString('hex')}`)
  await sensor.next()
  await js.next()
  sensor.close()
  await js.client.endAsync()
  await roost.stop()
}

describeWithTshark('trace_file', () => {
  test('tshark reads both protocols, and finds nothing wrong', async () => {
    const file = join(dir, 'all.pcap')
    await traced(file, '--trace-payloads')
    expect(tshark(file, 'mqtt', 'mqtt.msgtype', 'mqtt.topic').sort()).toEqual(
      [
        ...['1\t', '2\t', '8\tsite/#', '9\t'],
        ...['3\tsite/large', '4\t', '3\tsite/large', '4\t', '3\tsite/temp', '4\t', '14\t'].sort(),
      ].sort(),
    )
    expect(
      tshark(file, 'mqttsn.msg.type != 0', 'mqttsn.msg.type', 'mqttsn.pub.msg').map((line) =>
        line.replace(/\t.*21.5|\t3.*/, ' 21.5'),
      ),
    ).toEqual([...['0x04\t', '0x05\t', '0x0a\t', '0x0b\t', '0x0c 21.5', '0x0d\t']])
    // ADVERTISE.
    expect(tshark(file, 'mqttsn.msg.type == 0', 'ip.dst')[0]).toBe('255.255.255.255')
    expect(tshark(file, 'mqtt.msgtype == 3', 'mqtt.len')).toContain('100015')
    expect(
      tshark(
        file,
        '_ws.malformed || tcp.analysis.flags || !(ip.checksum.status == 1 && (tcp.checksum.status == 1 || udp.checksum.status == 1))',
        'frame.number',
      ),
    ).toEqual([])
    expect(tshark(file, 'tcp.flags.syn == 1 || tcp.flags.fin == 1', 'tcp.flags.str').length).toBe(4)
    expect(readFileSync(file).includes('hush-hush')).toBe(false)
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  test('without trace_payloads payloads are zeros; trace_clients chooses', async () => {
    const file = join(dir, 'sensor.pcap')
    await traced(file, '--trace-clients', 'other,s*')
    expect(tshark(file, 'mqtt', 'frame.number')).toEqual([])
    expect(tshark(file, 'mqttsn.pub.msg', 'mqttsn.msg.len').length).toBe(1)
    expect(readFileSync(file).includes('21.5')).toBe(false)
  })
})

test('a file that is full ends, and Roost runs on', async () => {
  const file = join(dir, 'full.pcap')
  const roost = await StartedProcess.start('--memory', '--trace-file', file, '--trace-file-max-mib', '1')
  const js = await MqttJs.connect(roost.mqttPort, {})
  for (let i = 0; i < 12; i++) await js.client.publishAsync('a', Buffer.alloc(100_000), { qos: 1 })
  await roost.logged(/^warn .*full\.pcap: full, no more packets are traced to it \(trace_file_max_mib\)$/)
  await js.client.publishAsync('a', 'still there', { qos: 1 })
  expect(statSync(file).size).toBeLessThanOrEqual(1024 * 1024)
  await js.client.endAsync()
  await roost.stop()
})

test('a file that cannot be written is an error in one line', () => {
  const { stderr, status } = spawnSync(
    process.execPath,
    ['dist/main.js', 'serve', '--memory', '--port', '0', '--sn-port', '0', '--trace-file', dir],
    { encoding: 'utf8' },
  )
  expect({ stderr, status }).toEqual({ stderr: `trace_file: cannot write ${dir}: illegal operation on a directory\n`, status: 2 })
})

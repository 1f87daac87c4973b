import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { PacketType } from '../../src/mqtt/packets.ts'
import { encodedMessage } from '../../src/mqttsn/encode.ts'
import { MsgType } from '../../src/mqttsn/messages.ts'
import type { StreamEvent } from '../../src/trace/event.ts'
import { PcapWriter } from '../../src/trace/pcap.ts'
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

/** What must not be in a capture. */
const WRONG =
  '_ws.malformed || tcp.analysis.flags || (ip && !(ip.checksum.status == 1)) || !(tcp.checksum.status == 1 || udp.checksum.status == 1)'

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

describeWithTshark('trace_file', { timeout: 60_000 }, () => {
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
    expect(tshark(file, WRONG, 'frame.number')).toEqual([])
    expect(tshark(file, 'tcp.flags.syn == 1 || tcp.flags.fin == 1', 'tcp.flags.str').length).toBe(4)
    expect(readFileSync(file).includes('hush-hush')).toBe(false)
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  test('connections to other brokers: each is a stream of its own, with the broker as its server', () => {
    const file = join(dir, 'dialled.pcap')
    const pcap = new PcapWriter(true, [1024, 1043])
    const at = Date.UTC(2026, 11, 1, 4, 0, 0, 5)
    const records: Uint8Array[] = [pcap.header()]
    const packet = (connection: number, peer: string, way: '->' | '<-', hex: string): Uint8Array[] => {
      const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
      const seen = { protocol: 'mqtt', way, connection, peer, client: undefined, topic: undefined, bytes }
      return pcap.records(at, { ...seen, packet: { type: bytes[0]! >> 4 } } as unknown as StreamEvent)
    }
    const connect = (name: string): string => `100d 0004 4d515454 04 02 0000 0001 ${Buffer.from(name).toString('hex')}`
    const open = (connection: number, peer: string, name: string): Uint8Array[] => [
      ...packet(connection, peer, '<-', connect(name)),
      ...packet(connection, peer, '->', '20020000'),
    ]
    const TARGET = 'mqtt://10.0.0.11:1883'
    records.push(...open(-1, TARGET, 'a'), ...open(-2, TARGET, 'b'))
    records.push(...packet(-1, TARGET, '<-', 'c000'), ...packet(-2, TARGET, '<-', 'c000'), ...packet(-1, TARGET, '->', 'd000'))
    records.push(...open(-3, 'mqtts://[2001:db8::5]:8883', 'c'), ...open(-4, 'wss://10.0.0.11:443/mqtt', 'd'))
    records.push(...open(-5, 'mqtt://broker.example.org:1883', 'e'), ...open(-6, 'mqtt://127.0.0.1:1884', 'f'))
    records.push(...pcap.closed(at, -2))
    // More than there are ports, while the first connection lasts.
    for (let connection = -7; connection > -27; connection--) {
      packet(connection, TARGET, '<-', 'c000')
      pcap.closed(at, connection)
    }
    records.push(...open(-27, TARGET, 'g'), ...open(-28, TARGET, 'h'), ...packet(-1, TARGET, '->', 'd000'))
    writeFileSync(file, Buffer.concat(records))
    expect(tshark(file, WRONG, 'frame.number')).toEqual([])
    const streams = tshark(file, 'mqtt', 'tcp.stream', 'mqtt.msgtype', 'mqtt.clientid').map((line) => line.split('\t'))
    const of = (name: string): string => streams.find(([, , id]) => id === name)![0]!
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
    expect(new Set(names.map(of)).size).toBe(names.length)
    const typesOf = (name: string) => streams.flatMap(([stream, type]) => (stream === of(name) ? type : []))
    expect(typesOf('a')).toEqual(['1', '2', '12', '13', '13'])
    expect(typesOf('b')).toEqual(['1', '2', '12'])
    const ends = tshark(file, 'mqtt.msgtype == 1', 'ip.src', 'ip.dst', 'ipv6.src', 'ipv6.dst', 'tcp.dstport')
    expect(ends[0]).toBe('192.0.2.1\t10.0.0.11\t\t\t1883')
    expect(ends[2]).toBe('\t\t2001:db8::1\t2001:db8::5\t1883')
    expect(ends[4]).toMatch(/^192\.0\.2\.1\t198\.1[89]\.\d+\.\d+\t\t\t1883$/)
    expect(ends[5]).toBe('127.0.0.1\t127.0.0.1\t\t\t1883')
  })

  test('IPv6, loopback, Unix sockets, serial lines, and a stream that is traced from its middle to its end', () => {
    const file = join(dir, 'peers.pcap')
    const pcap = new PcapWriter(true)
    const at = Date.UTC(2026, 11, 1, 4, 0, 0, 5)
    const bytes = Buffer.from('c000', 'hex')
    const seen = { way: '->', client: undefined, topic: undefined } as const
    const peers = ['[2001:db8::7]:5000', '[::1]:5001', '[::ffff:192.0.2.7]:5002', '192.0.2.8:5003', 'unix:/run/roost.sock']
    const streams = peers.map((peer, connection) => ({
      ...{ protocol: 'mqtt', ...seen, connection, peer, packet: { type: PacketType.PINGREQ }, bytes },
    })) as StreamEvent[]
    const pingresp = { type: MsgType.PINGRESP } as const
    const datagram = { protocol: 'mqtt-sn', ...seen, way: '<-', packet: pingresp, bytes: encodedMessage(pingresp) } as const
    const records = [
      pcap.header(),
      ...streams.flatMap((event) => pcap.records(at, event)),
      ...['/dev/ttyUSB0@line', '[fe80::1%eth0]:7@field'].flatMap((carrier) =>
        pcap.records(at, { ...datagram, peer: carrier, carrier }),
      ),
      ...pcap.closed(at, 0),
      ...pcap.closed(at, 99),
    ]
    expect(pcap.bytes).toBeGreaterThan(0)
    writeFileSync(file, Buffer.concat(records))
    expect(tshark(file, WRONG, 'frame.number')).toEqual([])
    expect(tshark(file, 'mqtt', 'ip.src', 'ip.dst', 'ipv6.src', 'ipv6.dst', 'tcp.srcport')).toEqual([
      '\t\t2001:db8::7\t2001:db8::1\t5000',
      '\t\t::1\t::1\t5001',
      '192.0.2.7\t192.0.2.1\t\t\t5002',
      '192.0.2.8\t192.0.2.1\t\t\t5003',
      expect.stringMatching(/^198\.1[89]\.\d+\.\d+\t192\.0\.2\.1\t\t\t\d+$/),
    ])
    expect(tshark(file, 'mqttsn', 'ip.dst', 'ipv6.dst')).toEqual([expect.stringMatching(/^198\.1[89]\.\d+\.\d+\t$/), '\tfe80::1'])
    expect(tshark(file, 'tcp.flags.fin == 1', 'ipv6.src')).toEqual(['2001:db8::1', '2001:db8::7'])
    expect(tshark(file, 'frame.number == 1', 'frame.time_epoch')[0]).toContain(`${at / 1000}`)
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

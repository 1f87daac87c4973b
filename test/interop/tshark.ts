import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'vitest'

const missing = spawnSync('tshark', ['--version']).error !== undefined

if (missing && process.env.CI === 'true') throw new Error('tshark is not installed, and CI skips nothing')
if (missing) process.stderr.write('skipped: what tshark reads in our messages, because it is not installed (Debian: tshark)\n')

/** For tests that need Debian's tshark. */
export const describeWithTshark = describe.skipIf(missing)

/**
 * What tshark says of one MQTT-SN message, by its names for the fields; `<name>_raw` begins with the octets of the field as hexadecimal digits, or with
 * the value of its bits.
 */
export type Dissected = Readonly<Record<string, unknown>>

const PORT = 1884
/** Bare IPv4 packets, without a link layer. */
const LINKTYPE_RAW = 101

/** Puts each datagram into a UDP packet of one capture, and gives what tshark reads in it; undefined for what it does not understand. */
export function dissect(datagrams: readonly Uint8Array[]): (Dissected | undefined)[] {
  const dir = mkdtempSync(join(tmpdir(), 'roost-tshark-'))
  try {
    const file = join(dir, 'messages.pcap')
    writeFileSync(file, Buffer.concat([fileHeader(), ...datagrams.flatMap(packet)]))
    const argv = ['-r', file, '-d', `udp.port==${PORT},mqttsn`, '-T', 'json', '-J', 'mqttsn', '--no-duplicate-keys', '-x']
    const { stdout, stderr, status } = spawnSync('tshark', argv, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })
    if (status !== 0) throw new Error(`tshark ended with ${status}: ${stderr}`)
    const packets = JSON.parse(stdout) as { _source: { layers: { mqttsn?: { 'mqttsn.msg'?: Dissected } } } }[]
    return packets.map(({ _source }) => _source.layers.mqttsn?.['mqttsn.msg'])
  } finally {
    rmSync(dir, { recursive: true })
  }
}

function fileHeader(): Buffer {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(0xa1b2c3d4, 0)
  header.writeUInt16LE(2, 4)
  header.writeUInt16LE(4, 6)
  header.writeUInt32LE(262_144, 16)
  header.writeUInt32LE(LINKTYPE_RAW, 20)
  return header
}

function packet(datagram: Uint8Array): Buffer[] {
  const headers = Buffer.alloc(28)
  headers[0] = 0x45
  headers.writeUInt16BE(28 + datagram.length, 2)
  headers[8] = 64
  headers[9] = 17
  headers.set([10, 0, 0, 1, 10, 0, 0, 2], 12)
  headers.writeUInt16BE(50_000, 20)
  headers.writeUInt16BE(PORT, 22)
  headers.writeUInt16BE(8 + datagram.length, 24)
  const record = Buffer.alloc(16)
  record.writeUInt32LE(headers.length + datagram.length, 8)
  record.writeUInt32LE(headers.length + datagram.length, 12)
  return [record, headers, Buffer.from(datagram)]
}

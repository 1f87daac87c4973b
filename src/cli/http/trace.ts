import { closeSync, writeSync } from 'node:fs'
import { resolve } from 'node:path'
import { StartError } from '../../base/start-error.ts'
import { reasonOf } from '../../config/io/text-file.ts'
import { printable } from '../../process/log.ts'
import { openCapture } from '../../process/trace-file.ts'
import { PcapWriter } from '../../trace/pcap.ts'
import type { Host } from '../serve.ts'
import { ApiClient, type ApiFlags } from './api-client.ts'
import type { Shape } from './shape.ts'

export interface TraceFlags extends ApiFlags {
  readonly client?: string
  readonly topic?: string
  readonly payloads?: true
  readonly pcap?: string
}

interface PacketEvent {
  readonly time?: string
  readonly line?: string
  readonly pcap?: string
  readonly packets?: number
}

const PACKET_EVENT: Shape = { 'time?': 'string', 'line?': 'string', 'pcap?': 'string', 'packets?': 'number' }

/** Prints packets, or writes them to a capture file, until a signal. */
export async function trace(flags: TraceFlags, host: Host): Promise<void> {
  const { client, topic, payloads, pcap } = flags
  const api = await ApiClient.from(flags, host)
  const query = new URLSearchParams({
    ...(client !== undefined && { client }),
    ...(topic !== undefined && { topic }),
    ...(payloads === true && { payloads: 'true' }),
    ...(pcap !== undefined && { pcap: 'true' }),
  })
  const stop = new AbortController()
  const end = (): void => stop.abort()
  host.events.once('SIGINT', end).once('SIGTERM', end)
  try {
    const events = api.events(`/api/v1/trace?${query}`, PACKET_EVENT, stop.signal)
    await (pcap === undefined ? print(events, host) : write(events, resolve(host.cwd, pcap), host))
  } finally {
    host.events.off('SIGINT', end).off('SIGTERM', end)
  }
}

type Events = AsyncIterable<{ readonly name: string; readonly data: unknown }>

async function print(events: Events, { stdout, stderr }: Host): Promise<void> {
  for await (const { name, data } of events) {
    const { time = '', line = '', packets } = data as PacketEvent
    if (name === 'missed') stderr.write(`${packets} packets are missing here: this terminal is too slow\n`)
    else if (name === 'packet') stdout.write(`${printable(`${time} ${line}`)}\n`)
    if (stdout.destroyed === true) return
  }
}

async function write(events: Events, path: string, { stderr }: Host): Promise<void> {
  let file: number
  try {
    file = openCapture(path)
  } catch (error) {
    throw new StartError(`--pcap: cannot write ${path}: ${reasonOf(error)}`)
  }
  try {
    let count = 0
    writeSync(file, new PcapWriter(false).header())
    for await (const { name, data } of events) {
      const { pcap, packets } = data as PacketEvent
      if (name === 'missed') stderr.write(`${packets} packets are missing in ${path}: this disk is too slow\n`)
      if (pcap === undefined) continue
      writeSync(file, Buffer.from(pcap, 'base64'))
      if (name === 'packet') count++
    }
    stderr.write(`${count} packets in ${path}\n`)
  } finally {
    closeSync(file)
  }
}

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { EventStream } from '../../src/http/exchange.ts'
import { PcapWriter } from '../../src/trace/pcap.ts'
import { bytes } from '../broker/harness.ts'
import { connectClient, connectSensor, pass, TestApi } from './harness.ts'

let api: TestApi
let stream: EventStream | undefined
beforeEach(() => {
  api = new TestApi()
})
afterEach(() => stream?.close())

function watch(query = ''): EventStream {
  stream = api.stream(`/api/v1/trace${query}`)
  return stream
}

interface Event {
  readonly name: string
  readonly [key: string]: unknown
}

/** All events that there are. */
function eventsOf(from: EventStream): Event[] {
  let text = ''
  for (let more = from.next(); more !== ''; more = from.next()) text += more
  const blocks = text.split('\n\n').filter((block) => block !== '')
  return blocks.map((block) => {
    const [, name = '', data = ''] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? []
    return { name, ...(JSON.parse(data) as object) }
  })
}

const linesOf = (from: EventStream): unknown[] => eventsOf(from).map(({ line }) => line)

/** A sensor publishes, and a client that has subscribed gets it. */
function talk(topic: string, payload: string): void {
  const reader = connectClient(api, 'reader')
  reader.act((client, now) => client.subscribe(now, [{ filter: 'site/#', qos: 0 }]))
  pass(api, 100)
  const sensor = connectSensor(api, 'sensor-7')
  sensor.act((client, now) => client.publish(now, topic, bytes(payload), 0))
  pass(api, 1000)
}

describe('a trace', () => {
  test('has packets of both protocols in both directions', () => {
    const from = watch()
    talk('site/temperature', '21.5')
    const lines = linesOf(from)
    expect(lines).toContainEqual(expect.stringMatching(/^reader at \S+ -> CONNECT /))
    expect(lines).toContainEqual(expect.stringMatching(/^sensor-7 -> PUBLISH topic=\S+ \(site\/temperature\) qos=0 .*4 bytes$/))
    expect(lines).toContainEqual(expect.stringMatching(/^reader <- PUBLISH topic="site\/temperature" qos=0 4 bytes$/))
    expect(lines.join('\n')).not.toContain('21.5')
  })

  test('has times in milliseconds', () => {
    const from = watch()
    talk('site/temperature', '21.5')
    const times = eventsOf(from).map(({ time }) => String(time))
    for (const time of times) expect(new Date(time).toISOString()).toBe(time)
    expect(new Set(times.map((time) => time.slice(0, 19))).size).toBeLessThan(new Set(times).size)
  })

  test('of one client, or of one topic', () => {
    const ofClient = api.stream('/api/v1/trace?client=sensor-*')
    const ofTopic = api.stream('/api/v1/trace?topic=site/%2B')
    talk('site/temperature', '21.5')
    expect(new Set(eventsOf(ofClient).map(({ client }) => client))).toEqual(new Set(['sensor-7']))
    expect(new Set(eventsOf(ofTopic).map(({ topic }) => topic))).toEqual(new Set(['site/temperature']))
    ofClient.close()
    ofTopic.close()
  })

  test('shows payloads to those who may manage', () => {
    const from = watch('?payloads=true&client=reader')
    talk('site/temperature', '21.5')
    expect(linesOf(from).join('\n')).toContain('21.5')
    expect(api.ask('GET', '/api/v1/trace?payloads=true', { role: 'view' }).status).toBe(403)
  })

  test('has records of a capture file, in which payloads are zeros', () => {
    const from = watch('?pcap=true')
    talk('site/temperature', '21.5')
    const events = eventsOf(from)
    expect(events.length).toBeGreaterThan(4)
    for (const { pcap } of events) {
      const record = Buffer.from(pcap as string, 'base64')
      expect(record.length).toBeGreaterThan(16 + 28)
      expect(record.includes('21.5')).toBe(false)
    }
  })

  test('wakes its reader, and counts what a slow one misses', () => {
    const from = watch('?payloads=true')
    let wakes = 0
    from.wake = () => wakes++
    talk('site/temperature', 'x'.repeat(100))
    expect(wakes).toBeGreaterThan(0)
    const sensor = connectSensor(api, 'sensor-8')
    for (let i = 0; i < 2000; i++) {
      sensor.act((client, now) => client.publish(now, 'site/x', bytes('x'.repeat(200)), 0))
      pass(api, 10)
    }
    const events = eventsOf(from)
    const missed = events.filter(({ name }) => name === 'missed').reduce((sum, { packets }) => sum + (packets as number), 0)
    expect(missed).toBeGreaterThan(1000)
    expect(JSON.stringify(events).length).toBeLessThan(600_000)
    pass(api, 5000)
    eventsOf(from)
    sensor.act((client, now) => client.publish(now, 'site/x', bytes('again'), 0))
    pass(api, 5000)
    expect(linesOf(from).join('\n')).toContain('again')
  })

  test('copies nothing that it has no room for', () => {
    const from = watch('?pcap=true')
    const sensor = connectSensor(api, 'sensor-8')
    const flood = (): void => {
      for (let i = 0; i < 600; i++) {
        sensor.act((client, now) => client.publish(now, 'site/x', bytes('x'.repeat(200)), 0))
        pass(api, 10)
      }
    }
    flood()
    const copied = vi.spyOn(PcapWriter.prototype, 'records')
    flood()
    expect(copied).not.toHaveBeenCalled()
    copied.mockRestore()
    expect(from.bytes).toBeGreaterThan(256 * 1024)
  })

  test('costs nothing once nobody watches', () => {
    const from = watch()
    expect(api.server.tap).toBeDefined()
    from.close()
    expect(api.server.tap).toBeUndefined()
    stream = undefined
  })
})

import { describe, expect, test } from 'vitest'
import { SnClient, type SnClientOptions } from '../../src/mqttsn/client.ts'
import { decodeMessage, isMalformed } from '../../src/mqttsn/decode.ts'
import { encodedMessage } from '../../src/mqttsn/encode.ts'
import type { Message } from '../../src/mqttsn/messages.ts'
import { line, say } from '../gateway/harness.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)

/** A sensor, and what it says and tells as lines. */
class Bench {
  now = 0
  readonly client: SnClient

  constructor(options: Partial<SnClientOptions> = {}) {
    this.client = new SnClient({ clientId: 's', keepAliveSeconds: 60, ...options })
  }

  /** Messages that left, and events in brackets, since this was asked last. */
  out(): string[] {
    const lines: string[] = []
    for (let out = this.client.poll(); out !== undefined; out = this.client.poll()) {
      if (out.kind === 'event') lines.push(`(${out.event})`)
      else {
        const message = decodeMessage(out.bytes)
        lines.push(isMalformed(message) ? 'nonsense' : line(message))
      }
    }
    return lines
  }

  hear(...messages: Message[]): void {
    for (const message of messages) this.client.handleDatagram(this.now, encodedMessage(message))
  }

  advance(ms: number): void {
    const until = this.now + ms
    for (let at = this.client.nextTimeout(); at !== undefined && at <= until; at = this.client.nextTimeout()) {
      this.now = Math.max(at, this.now)
      this.client.handleTimeout(this.now)
    }
    this.now = until
  }

  static connected(options: Partial<SnClientOptions> = {}): Bench {
    const bench = new Bench(options)
    bench.client.connect(0)
    bench.hear({ type: 0x05, returnCode: 0 })
    expect(bench.out()).toEqual(['CONNECT', '(connected)'])
    return bench
  }
}

const CONNACK: Message = { type: 0x05, returnCode: 0 }

describe('SnClient', () => {
  test('of the QoS 2 messages that it has finished it remembers the newest', () => {
    const bench = Bench.connected()
    bench.client.subscribe(0, 'a', 2)
    bench.hear({ type: 0x13, qos: 2, topicId: 5, msgId: 1, returnCode: 0 })
    bench.out()
    const publish = (msgId: number): Message => say.publish(5, 'x', 2, msgId)
    for (let msgId = 1; msgId <= 300; msgId++) bench.hear(publish(msgId), say.pubrel(msgId))
    expect(bench.out().filter((line) => line === '(message)').length).toBe(300)
    // Copies of the last hundred come late.
    for (let msgId = 201; msgId <= 300; msgId++) bench.hear(publish(msgId))
    expect(bench.out()).not.toContain('(message)')
  })

  test('the id in the SUBACK of a shared subscription is that of the topic behind the group', () => {
    const bench = Bench.connected()
    bench.client.subscribe(0, '$share/group/room/a', 1)
    bench.hear({ type: 0x13, qos: 1, topicId: 5, msgId: 1, returnCode: 0 })
    expect(bench.client.topicId('room/a')).toBe(5)
  })

  test('answers will prompts as often as they come [1.2 section 6.2]', () => {
    const bench = new Bench({ will: { topic: 'w', message: bytes('x'), qos: 1, retain: false } })
    bench.client.connect(0)
    bench.hear({ type: 0x06 }, { type: 0x06 }, { type: 0x08 }, CONNACK)
    expect(bench.out()).toEqual(['CONNECT', 'WILLTOPIC q1', 'WILLTOPIC q1', 'WILLMSG', '(connected)'])
  })

  test('a refusal is told', () => {
    const bench = new Bench()
    bench.client.connect(0)
    bench.hear({ type: 0x05, returnCode: 1 })
    expect(bench.out()).toEqual(['CONNECT', '(refused)'])
    expect(bench.client.state).toBe('disconnected')
  })

  test('repeats a request by T_retry, N_retry times, and then gives the connection up [1.2 section 6.13]', () => {
    const bench = Bench.connected({ keepAliveSeconds: 0 })
    bench.client.publish(0, { topicIdType: 'predefined', topicId: 1 }, bytes('x'), 1)
    bench.advance(100_000)
    const publish = 'PUBLISH predefined:0001=x #1 q1'
    expect(bench.out()).toEqual([publish, `${publish} dup`, `${publish} dup`, `${publish} dup`, '(timedOut)'])
    expect([bench.client.state, bench.client.idle, bench.client.nextTimeout()]).toEqual(['disconnected', true, undefined])
  })

  test('registers a name before it publishes to it, one request at a time', () => {
    const bench = Bench.connected()
    bench.client.publish(0, 'a', bytes('1'), 2)
    bench.client.publish(0, 'a', bytes('2'), 0)
    expect(bench.out()).toEqual(['REGISTER 0000=a #2'])
    bench.hear(say.regack(0x401, 2))
    expect(bench.out()).toEqual(['(registered)', 'PUBLISH 0401=1 #1 q2'])
    bench.hear(say.pubrec(1), say.pubcomp(1))
    expect(bench.out()).toEqual(['PUBREL #1', '(published)', 'REGISTER 0000=a #3'])
    bench.hear(say.regack(0x401, 3))
    expect(bench.out()).toEqual(['(registered)', 'PUBLISH 0401=2 q0'])
  })

  test('takes each QoS 2 message once, whatever copies come', () => {
    const bench = Bench.connected()
    bench.hear(say.register('a', 9))
    const publish = say.publish(0, 'x', 2, 5)
    const known = { ...publish, topicId: 0 }
    bench.hear(known, known, say.pubrel(5), known, say.pubrel(5))
    expect(bench.out()).toEqual([
      'REGACK 0000 #9',
      'PUBREC #5',
      '(message)',
      'PUBREC #5',
      'PUBCOMP #5',
      'PUBREC #5',
      'PUBCOMP #5',
    ])
  })

  test('what belongs to the connection before CONNACK is not taken: its topic ids may be nothing in the next one', () => {
    const bench = Bench.connected()
    bench.client.connect(0)
    bench.hear({ type: 0x0a, topicId: 0x401, msgId: 1, topicName: 'a' }, say.publish(0x401, 'x', 1, 2))
    expect(bench.out()).toEqual(['CONNECT'])
    expect([bench.client.topicId('a'), bench.client.ignored]).toEqual([undefined, 2])
  })

  test('an unknown topic id is answered with 0x02 [1.2 section 6.10]', () => {
    const bench = Bench.connected()
    bench.hear(say.publish(0x999, 'x', 1, 5))
    expect(bench.out()).toEqual(['PUBACK 0999 #5 rc2'])
  })

  test('sleeps, wakes, takes what comes, and sleeps on with PINGRESP [1.2 section 6.14]', () => {
    const bench = Bench.connected()
    bench.client.sleep(0, 600)
    bench.hear({ type: 0x18, duration: undefined })
    expect([bench.out(), bench.client.state]).toEqual([['DISCONNECT', '(asleep)'], 'asleep'])
    bench.client.wake(0)
    bench.hear(say.register('a', 1), say.publish(0, 'x', 1, 5), { type: 0x17 })
    expect(bench.out()).toEqual(['PINGREQ', 'REGACK 0000 #1', 'PUBACK 0000 #5', '(message)', '(wakeEnded)'])
    expect(bench.client.state).toBe('asleep')
    bench.advance(1e6)
    expect(bench.out()).toEqual([])
  })

  test('a wake that nobody answers ends in sleep', () => {
    const bench = Bench.connected()
    bench.client.sleep(0, 600)
    bench.hear({ type: 0x18, duration: undefined })
    bench.client.wake(0)
    bench.advance(100_000)
    expect(bench.out()).toEqual(['DISCONNECT', '(asleep)', 'PINGREQ', 'PINGREQ', 'PINGREQ', 'PINGREQ', '(timedOut)'])
    expect(bench.client.state).toBe('asleep')
  })

  test('pings when it has said nothing for its keep alive, and answers a ping', () => {
    const bench = Bench.connected()
    bench.advance(59_999)
    expect(bench.out()).toEqual([])
    bench.advance(1)
    expect(bench.out()).toEqual(['PINGREQ'])
    bench.hear({ type: 0x17 }, say.ping())
    expect(bench.out()).toEqual(['(pong)', 'PINGRESP'])
  })

  test('DISCONNECT from the gateway ends the connection; what it does not expect is counted', () => {
    const bench = Bench.connected()
    bench.hear(say.regack(1, 77), CONNACK, { type: 0x06 })
    expect(bench.client.ignored).toBe(3)
    bench.hear(say.disconnect())
    expect(bench.out()).toEqual(['(disconnected)'])
  })
})

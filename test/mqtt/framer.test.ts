import { describe, expect, test } from 'vitest'
import { Framer } from '../../src/mqtt/framer.ts'

const unhex = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'))

function packets(framer: Framer): string[] {
  const found: string[] = []
  while (framer.next()) found.push(Buffer.from(framer.bytes.subarray(framer.start, framer.end)).toString('hex'))
  return found
}

describe('Framer', () => {
  test('gives the packets of a chunk in place', () => {
    const framer = new Framer(100)
    const chunk = unhex('c000 3003 000161 e000')
    framer.push(chunk)
    expect(framer.next()).toBe(true)
    expect([framer.bytes === chunk, framer.start, framer.bodyStart, framer.end]).toEqual([true, 0, 2, 2])
    expect(packets(framer)).toEqual(['3003000161', 'e000'])
    expect(framer.next()).toBe(false)
    expect(framer.error).toBeUndefined()
  })

  test('puts together what is split, at every byte', () => {
    const stream = unhex(`3003000161 30${'8101'}${'0001'}61${'78'.repeat(126)} c000`)
    const whole = new Framer(1000)
    whole.push(stream)
    const expected = packets(whole)
    expect(expected).toHaveLength(3)
    for (let cut = 0; cut <= stream.length; cut++) {
      const framer = new Framer(1000)
      framer.push(stream.slice(0, cut))
      const found = packets(framer)
      framer.push(stream.slice(cut))
      expect([...found, ...packets(framer)]).toEqual(expected)
    }
    const framer = new Framer(1000)
    const found: string[] = []
    for (const byte of stream) {
      framer.push(Uint8Array.of(byte))
      found.push(...packets(framer))
    }
    expect(found).toEqual(expected)
  })

  test('stops in the middle of a chunk, and goes on after more has come', () => {
    const framer = new Framer(100)
    framer.push(unhex('c000 d000 e0'))
    expect(framer.next()).toBe(true)
    framer.push(unhex('00 c000'))
    expect(packets(framer)).toEqual(['d000', 'e000', 'c000'])
  })

  test('many small chunks behind a large one that is not read yet are not joined to it', () => {
    const framer = new Framer(100)
    const pieces = 20_000
    framer.push(Buffer.alloc(4_000_000, unhex('c000')))
    expect(framer.next()).toBe(true)
    const began = process.cpuUsage().user
    for (let i = 0; i < pieces; i++) framer.push(Uint8Array.of(i % 2 === 0 ? 0xd0 : 0))
    // Joined each time it was more than a minute.
    expect(process.cpuUsage().user - began).toBeLessThan(2_000_000)
    expect(framer.held).toBeGreaterThan(4_000_000 + pieces * 100)
    let [pings, others] = [1, 0]
    while (framer.next()) framer.bytes[framer.start] === 0xc0 ? pings++ : others++
    expect([pings, others]).toEqual([2_000_000, pieces / 2])
    framer.release()
    expect(framer.held).toBe(0)
  })

  test('a small piece that waits does not hold the buffer of what came with it', () => {
    const framer = new Framer(100)
    const read = Buffer.alloc(8_000, unhex('c000'))
    framer.push(read.subarray(0, 7_000))
    for (let i = 0; i < 3_400; i++) expect(framer.next()).toBe(true)
    framer.release()
    framer.push(read.subarray(7_000))
    expect(framer.held).toBeLessThan(1_500)
    expect(packets(framer)).toHaveLength(600)
  })

  test('SUBSCRIBE and UNSUBSCRIBE may have less than larger packets, and are refused from their header', () => {
    const limit = 'max_subscribe_packet_size'
    for (const [header, error] of [
      ['8208', undefined],
      ['8209', limit],
      ['a208', undefined],
      ['a209', limit],
      ['3062', undefined],
      ['4062', undefined],
      ['8263', 'max_packet_size'],
    ] as const) {
      const framer = new Framer(100)
      framer.maxSubscribeSize = 10
      framer.push(unhex(`${header}00`))
      expect(framer.next()).toBe(false)
      expect([header, framer.error?.limit]).toEqual([header, error])
      if (error !== undefined) expect(framer.error).toMatchObject({ reasonCode: 0x95 })
    }
  })

  test('5.0 section 3.2.2.3.6: what is larger than allowed is refused from its header, before anything is kept', () => {
    const framer = new Framer(10)
    framer.push(unhex('30ffffff7f 00'))
    expect(framer.next()).toBe(false)
    expect(framer.error).toMatchObject({ reasonCode: 0x95 })
    expect(framer.buffered).toBe(0)
    framer.push(unhex('c000'))
    expect(framer.next()).toBe(false)
    const exact = new Framer(10)
    exact.push(unhex(`3008${'00'.repeat(8)}`))
    expect(exact.next()).toBe(true)
  })

  test('an announced length costs no memory until its bytes come', () => {
    const framer = new Framer(268_435_460)
    framer.push(unhex('30ffffff7f 0001'))
    expect(framer.next()).toBe(false)
    expect(framer.error).toBeUndefined()
    expect(framer.buffered).toBe(7)
  })

  test('5.0 section 1.5.5: a fifth length byte is malformed, wherever the chunks end', () => {
    for (const chunks of [['30ffffffff01'], ['30ff', 'ffff', 'ff01'], ['30', 'ff', 'ff', 'ff', 'ff']]) {
      const framer = new Framer(268_435_460)
      for (const chunk of chunks) {
        framer.push(unhex(chunk))
        framer.next()
      }
      expect(framer.error).toMatchObject({ reasonCode: 0x81 })
    }
  })

  test('MQTT-1.5.5-1: lengths are minimal in 5.0; 3.1.1 has no such rule', () => {
    const old = new Framer(100)
    old.push(unhex('c08000'))
    expect(packets(old)).toEqual(['c08000'])
    const five = new Framer(100)
    five.minimalLength = true
    five.push(unhex('c08000'))
    expect(five.next()).toBe(false)
    expect(five.error).toMatchObject({ reasonCode: 0x81, rule: 'MQTT-1.5.5-1' })
  })

  test('packet type 0 is reserved', () => {
    const framer = new Framer(100)
    framer.push(unhex('0000'))
    expect(framer.next()).toBe(false)
    expect(framer.error).toMatchObject({ reasonCode: 0x81 })
  })
})

import { describe, expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../../src/base/bytes.ts'
import { readRecord, writeRecord } from '../../src/store/records.ts'
import type { StoredMessage, StoreRecord } from '../../src/store/store.ts'

function written(...records: StoreRecord[]): Uint8Array {
  const writer = new ByteWriter(1)
  for (const record of records) writeRecord(writer, record)
  return writer.toBytes()
}

describe('records', () => {
  it.each([
    ['type', '00', 'unknown record type 0'],
    ['type', 'ff', 'unknown record type 255'],
    ['nothing at all', '', 'record type runs beyond the end'],
    ['text that is not UTF-8', '0401ff', 'ill-formed UTF-8 in session key'],
    ['text longer than the record', '04ffffffffffffff0f61', 'session key runs beyond the end'],
    ['number above 2^53 - 1', '0a0161ffffffffffffff7f', 'message id is too large'],
    ['number without end', '0a0161ffffffffffffffffff', 'message id is too large'],
    ['boolean', '0200 02', 'unknown will'],
    ['QoS 3', '050000 03', 'QoS 3'],
    ['retain handling 3', '050000 30', 'retain handling 3'],
    ['subscription condition', '050000 80', 'condition runs beyond the end'],
    ['message record flags', '0701 10', 'unknown record flags'],
    ['message flags', '0701 00 40', 'unknown message flags'],
    ['sensor state', '2000 04', 'unknown sensor state'],
    ['property kind', '0701 00 08000000 0a', 'unknown value kind 10'],
    ['lists inside each other', `0701 00 08000000 ${'0801'.repeat(9)}`, 'value deeper than 8 levels'],
    ['list that claims more than there is', '0701 00 08000000 08ffffffffffffff0f 00', 'value kind runs beyond the end'],
  ])('unknown %s (%s) is an error', (_what, hex, error) => {
    const reader = new ByteReader(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
    expect(readRecord(reader)).toBeUndefined()
    expect(reader.error).toBe(error)
  })

  it('keep their bytes from version to version', () => {
    const stored: StoredMessage = {
      topic: 'a/b',
      payload: Uint8Array.of(1, 2),
      qos: 1,
      retain: true,
      from: 'mqtt:p',
      properties: { userProperties: [['k', 'v']] },
      expiresAt: 1.5,
    }
    const deliveries = [{ key: 'mqtt:s', qos: 1, retain: false, subscriptionIdentifiers: [7] }] as const
    const hex = (record: StoreRecord): string => Buffer.from(written(record)).toString('hex')
    expect(
      hex({ type: 'message', id: 300, message: stored, deliveries, retains: true, receipt: { key: 'mqtt:p', packetId: 9 } }),
    ).toBe(
      '07ac02031d03612f62066d7174743a7002010209010e7573657250726f70657274696573080108020' +
        '6016b0601763ff8000000000000' +
        '0109066d7174743a730107066d7174743a700009',
    )
    expect(
      hex({
        type: 'session',
        key: 'k',
        expirySeconds: Number.POSITIVE_INFINITY,
        will: null,
        owner: { username: 'u', listener: 'l', verified: true },
      }),
    ).toBe('01016b7ff000000000000000' + '030175016c')
    expect(hex({ type: 'receipt', key: 'k', packetId: 9 })).toBe('0e016b0009')
    expect(hex({ type: 'receipt', key: 'k', packetId: 9, fingerprint: 0xdeadbeef })).toBe('0f016b0009deadbeef')
    expect(hex({ type: 'sn-topic', clientId: 'c', topicId: 0x1234, topicName: 't' })).toBe('210163b4240174')
    expect(hex({ type: 'sn-topic', clientId: 'c', topicId: 0x1234, topicName: 't', offered: 'again' })).toBe('250163b424017401')
    expect(hex({ type: 'sn-qos2', clientId: 'c', slot: 300, msgId: 5, fingerprint: 0xdeadbeef, until: 0 })).toBe(
      `260163ac0205deadbeef${'00'.repeat(8)}`,
    )
    const narrow = readRecord(new ByteReader(Buffer.from(`2301630305deadbeef${'00'.repeat(8)}`, 'hex')))
    expect(narrow).toEqual({ type: 'sn-qos2', clientId: 'c', slot: 3, msgId: 5, fingerprint: 0xdeadbeef, until: 0 })
    expect(hex({ type: 'sn-qos2-end', clientId: 'c', slot: 300 })).toBe('270163ac02')
    expect(hex({ type: 'sn-subscription', clientId: 'c', filter: 'a/#', qos: 1 })).toBe('28016303612f2301')
    expect(hex({ type: 'sn-subscription-end', clientId: 'c', filter: 'a/#' })).toBe('29016303612f23')
  })

  it('do not hold the bytes that they were read from', () => {
    const bytes = written({
      type: 'message',
      id: 1,
      message: {
        topic: 't',
        payload: Uint8Array.of(1),
        qos: 1,
        retain: false,
        from: 'f',
        properties: { correlationData: Uint8Array.of(2) },
      },
      deliveries: [],
    })
    const record = readRecord(new ByteReader(bytes)) as Extract<StoreRecord, { type: 'message' }>
    bytes.fill(0xee)
    expect(record.message.payload).toEqual(Uint8Array.of(1))
    expect(record.message.properties).toEqual({ correlationData: Uint8Array.of(2) })
  })

  it.each([
    ['a function', () => 0],
    ['nesting without end', Array.from({ length: 9 }).reduce<unknown>((inner) => [inner], 0)],
  ])('refuse %s as our own bug', (_what, properties) => {
    const message: StoredMessage = { topic: '', payload: new Uint8Array(0), qos: 0, retain: false, from: '', properties }
    expect(() => written({ type: 'message', id: 1, message, deliveries: [] })).toThrow('assertion failed')
  })
})

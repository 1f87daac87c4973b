import { describe, expect, test } from 'vitest'
import type { Notice } from '../../src/base/notice.ts'
import { NoticeRing } from '../../src/http/notice-ring.ts'

const ALL = { code: undefined, client: undefined }
const lost = (client: string, more: Partial<Notice> = {}): Notice => ({ code: 'client-lost', level: 'info', client, ...more })
const ring = (): NoticeRing => new NoticeRing(() => 1_800_000_000_000)

/** Events as [name, id without the process, data]. */
function eventsOf(text: string): [string, number, Record<string, unknown>][] {
  return text
    .split('\n\n')
    .filter((each) => each !== '')
    .map((each) => {
      const [, name, id, data] = /^event: (.*)\nid: (\d+)-.*\ndata: (.*)$/.exec(each)!
      return [name!, Number(id), JSON.parse(data!)]
    })
}

describe('the last notices', () => {
  test('the newest first, by code and client', () => {
    const notices = ring()
    notices.add(lost('mqtt:a'))
    notices.add({ code: 'client-asleep', level: 'debug', client: 'sn:b' })
    notices.add(lost('sn:b', { reason: 'keep alive' }))
    notices.add({ code: 'store-failed', level: 'error', reason: 'EIO' })
    const ids = (filter: Partial<typeof ALL> | { code: 'client-lost' } | { client: string }, most = 10): number[] =>
      notices.last({ ...ALL, ...filter }, most).map(({ id }) => id)
    expect(ids({})).toEqual([4, 3, 2, 1])
    expect(ids({}, 2)).toEqual([4, 3])
    expect(ids({ code: 'client-lost' })).toEqual([3, 1])
    expect(ids({ client: 'sn:b' })).toEqual([3, 2])
    expect(ids({ client: 'b' })).toEqual([3, 2])
    expect(ids({ client: 'n:b' })).toEqual([])
    expect(ids({ client: '' })).toEqual([])
  })

  test('a thousand are kept, and those at level debug displace none of the others', () => {
    const notices = ring()
    for (let i = 0; i < 1100; i++) notices.add(lost(`mqtt:${i}`))
    for (let i = 0; i < 5000; i++) notices.add({ code: 'client-asleep', level: 'debug', client: `sn:${i}` })
    expect(notices.last(ALL, 10_000)).toHaveLength(2000)
    expect(notices.last({ code: 'client-lost', client: undefined }, 10_000).map(({ id }) => id)).toEqual(
      Array.from({ length: 1000 }, (_, i) => 1100 - i),
    )
  })

  test('what peers choose is bounded in bytes', () => {
    const notices = ring()
    for (let i = 0; i < 2000; i++) notices.add(lost(`mqtt:${'x'.repeat(60_000)}${i}`, { reason: 'y'.repeat(60_000) }))
    expect(notices.bytes).toBeLessThan(1024 * 1024)
    const [last] = notices.last(ALL, 1)
    expect(last!.notice.client).toBe(`mqtt:${'x'.repeat(60_000)}1999`)
    expect(last!.notice.reason).toBe(`${'y'.repeat(512)}...`)
  })
})

describe('events', () => {
  test('from now on, as they come', () => {
    const notices = ring()
    notices.add(lost('mqtt:before'))
    const stream = notices.stream(ALL, undefined)
    let wakes = 0
    stream.wake = () => wakes++
    expect(stream.next()).toBe('')
    notices.add(lost('mqtt:a', { reason: 'line\nbreak' }))
    expect(wakes).toBe(1)
    expect(eventsOf(stream.next())).toEqual([
      [
        'notice',
        2,
        {
          id: expect.stringMatching(/^2-/),
          time: '2027-01-15T08:00:00Z',
          code: 'client-lost',
          level: 'info',
          client: 'mqtt:a',
          reason: 'line\nbreak',
        },
      ],
    ])
    expect(stream.next()).toBe('')
    stream.close()
    notices.add(lost('mqtt:a'))
    expect(wakes).toBe(1)
  })

  test('by code and client', () => {
    const notices = ring()
    const stream = notices.stream({ code: 'client-lost', client: 'a' }, undefined)
    notices.add(lost('mqtt:b'))
    notices.add({ code: 'client-connected', level: 'info', client: 'mqtt:a' })
    notices.add(lost('mqtt:a'))
    expect(eventsOf(stream.next()).map(([, id]) => id)).toEqual([3])
  })

  test('after the last one that has arrived, if it is of this process, otherwise all that are kept', () => {
    const notices = ring()
    for (let i = 0; i < 5; i++) notices.add(lost(`mqtt:${i}`))
    const ids = (lastEventId: string): number[] => eventsOf(notices.stream(ALL, lastEventId).next()).map(([, id]) => id)
    expect(ids(`3-${notices.run}`)).toEqual([4, 5])
    expect(ids(`5-${notices.run}`)).toEqual([])
    expect(ids(`999-${notices.run}`)).toEqual([])
    for (const other of ['3-another', '', 'x', '-1', `1e3-${notices.run}`]) expect(ids(other)).toEqual([1, 2, 3, 4, 5])
  })

  test('a slow reader learns how many it has missed', () => {
    const notices = ring()
    const stream = notices.stream(ALL, undefined)
    for (let i = 0; i < 1500; i++) notices.add(lost(`mqtt:${i}`))
    const events = []
    for (let text = stream.next(); text !== ''; text = stream.next()) {
      expect(text.length).toBeLessThan(65 * 1024)
      events.push(...eventsOf(text))
    }
    expect(events[0]).toEqual(['missed', 500, { notices: 500 }])
    expect(events.slice(1).map(([, id]) => id)).toEqual(Array.from({ length: 1000 }, (_, i) => 501 + i))
  })

  test('notices at level debug and others come in their order', () => {
    const notices = ring()
    const stream = notices.stream(ALL, undefined)
    for (let i = 0; i < 20; i++) notices.add(lost(`mqtt:${i}`, { level: i % 3 === 0 ? 'debug' : 'info' }))
    expect(eventsOf(stream.next()).map(([, id]) => id)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
  })
})

import { describe, expect, test } from 'vitest'
import { say, TestGateway } from '../../test/gateway/harness.ts'
import { Wire } from '../../test/mqtt/wire.ts'
import { connectHex, expectedAnswer, type MalformedCase, malformedCases, VERSIONS } from './mqtt.ts'
import { malformedDatagrams } from './mqttsn.ts'

const cases = malformedCases()
const datagrams = malformedDatagrams()

function twice(titles: readonly string[]): string[] {
  const seen = new Set<string>()
  return titles.filter((title) => seen.size === seen.add(title).size)
}

test('there are thousands of them, each once', () => {
  expect(twice(cases.map(({ title }) => title))).toEqual([])
  expect(twice(datagrams.map(({ title }) => title))).toEqual([])
  expect(cases.length).toBeGreaterThan(4000)
  expect(datagrams.length).toBeGreaterThan(1500)
})

/** What the core does: hex of what it writes, 'close', and what stays open afterwards. */
function answerOf({ version, after, hex }: MalformedCase): string {
  const wire = new Wire()
  const connection = wire.open()
  if (after === 'connect') {
    wire.sendHex(connection, connectHex(version))
    wire.out(connection)
  }
  wire.sendHex(connection, hex)
  return wire.out(connection).join(' ') + (wire.connections.size === 0 ? '' : ' and stays open')
}

describe.each(VERSIONS)('malformed packets of version %i', (version) => {
  test('are answered as the specification says, and end their connection', () => {
    const wrong = cases
      .filter((one) => one.version === version)
      .flatMap((one) => {
        const wanted = expectedAnswer(one)
        const got = answerOf(one)
        return wanted.test(got) ? [] : [`${one.title} (${one.hex}): wanted ${wanted.source}, got ${got}`]
      })
    expect(wrong).toEqual([])
  })
})

test('malformed datagrams are counted, answered by nothing, and change nothing for the sensor at that address', () => {
  const gateway = new TestGateway()
  gateway.send('node', say.connect('node'))
  gateway.sent('node')
  const wrong = datagrams.flatMap(({ title, hex }) => {
    const before = gateway.notices.length
    gateway.sendBytes('node', Buffer.from(hex, 'hex'))
    const told = gateway.notices.slice(before).map(({ code }) => code)
    const sent = gateway.sent('node')
    const { state } = gateway.gateway.client('node')!
    return told.join() === 'malformed-datagram' && sent.length === 0 && state === 'active'
      ? []
      : [`${title} (${hex}): notices ${told.join()}, sent ${sent.join()}, ${state}`]
  })
  expect(wrong).toEqual([])
  expect(gateway.gateway.clientCount).toBe(1)
})

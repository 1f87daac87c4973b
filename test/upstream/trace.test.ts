import { expect, test } from 'vitest'
import { describePacket } from '../../src/mqtt/describe.ts'
import type { TraceEvent } from '../../src/trace/event.ts'
import { Tracer } from '../../src/trace/tracer.ts'
import { Dialling, Owner } from './pair.ts'
import { ScriptedFar } from './scripted-far.ts'

test('a trace shows the packets of a link, in both directions and without its password', () => {
  const near = new Dialling()
  new ScriptedFar(near)
  const seen: string[] = []
  new Tracer(near.server).watch({
    seen: (event: TraceEvent) => {
      if (event.protocol === 'mqtt') seen.push(`${event.way} ${event.peer} ${describePacket(event.packet as never)}`)
    },
  })
  const link = near.open(new Owner(), {}, { version: 5 })
  near.connect(link, { username: 'u', password: Buffer.from('secret') })
  near.subscribe(link, 1, { filter: 'a' })
  expect(seen.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual([
    '<- mqtt://far:1883 CONNECT',
    '-> mqtt://far:1883 CONNACK',
    '<- mqtt://far:1883 SUBSCRIBE',
    '-> mqtt://far:1883 SUBACK',
  ])
  expect(seen.join()).not.toContain('secret')
})

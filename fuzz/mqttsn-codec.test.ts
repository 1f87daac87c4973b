import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SnClient } from '../src/mqttsn/client.ts'
import { decodeMessage, isMalformed } from '../src/mqttsn/decode.ts'
import { encodedMessage } from '../src/mqttsn/encode.ts'
import { unwrap, wrap } from '../src/mqttsn/forwarder.ts'
import type { Message } from '../src/mqttsn/messages.ts'
import { message } from './messages.ts'
import { runs } from './runs.ts'

test('what is encoded decodes to itself, and encodes to the same bytes again', () => {
  fc.assert(
    fc.property(message, (original) => {
      const bytes = encodedMessage(original)
      const decoded = decodeMessage(bytes)
      expect(decoded).toEqual(original)
      expect(encodedMessage(decoded as Message)).toEqual(bytes)
    }),
    runs(2000),
  )
})

test('any bytes are a message or malformed, never an exception; a message encodes to what decodes to it', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const decoded = decodeMessage(bytes)
      if (!isMalformed(decoded)) expect(decodeMessage(encodedMessage(decoded))).toEqual(decoded)
      unwrap(bytes)
    }),
    runs(5000),
  )
})

test('every truncation and every flipped bit gives a message or malformed', () => {
  fc.assert(
    fc.property(message, fc.nat(), fc.nat(), (original, cut, flip) => {
      const bytes = encodedMessage(original)
      expect(isMalformed(decodeMessage(bytes, 0, cut % bytes.length))).toBe(true)
      const flipped = bytes.slice()
      flipped[flip % bytes.length]! ^= 1 << (flip % 8)
      decodeMessage(flipped)
    }),
    runs(2000),
  )
})

test('5.2.1: the long form of Length means the same', () => {
  fc.assert(
    fc.property(message, (original) => {
      const bytes = encodedMessage(original)
      if (bytes[0] === 1) return
      const long = Uint8Array.of(1, (bytes.length + 2) >> 8, bytes.length + 2, ...bytes.subarray(1))
      expect(decodeMessage(long)).toEqual(original)
    }),
    runs(100),
  )
})

test('encapsulation is undone by unwrapping', () => {
  fc.assert(
    fc.property(message, fc.uint8Array({ minLength: 1, maxLength: 252 }), fc.nat(3), (original, nodeId, radius) => {
      const wrapped = wrap(nodeId, encodedMessage(original), radius)
      const inner = unwrap(wrapped)
      if (inner === undefined || 'kind' in inner) throw new Error('not unwrapped')
      expect({ nodeId: new Uint8Array(inner.nodeId), radius: inner.radius }).toEqual({ nodeId, radius })
      expect(decodeMessage(wrapped, inner.start, inner.end)).toEqual(original)
    }),
    runs(100),
  )
})

test('a sensor survives any messages in any order, and stays bounded', () => {
  const step = fc.oneof(
    message.map((told) => ({ told })),
    fc.uint8Array({ maxLength: 20 }).map((raw) => ({ raw })),
    fc
      .constantFrom('connect', 'publish', 'subscribe', 'sleep', 'wake', 'disconnect', 'reboot', 'tick')
      .map((command) => ({ command })),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, will) => {
      const mine = { topic: 'w', message: new Uint8Array(1), qos: 1, retain: false } as const
      const client = new SnClient({ clientId: 's', ...(will && { will: mine }) })
      let now = 0
      for (const step of steps) {
        now += 1000
        if ('told' in step) client.handleDatagram(now, encodedMessage(step.told))
        else if ('raw' in step) client.handleDatagram(now, step.raw)
        else command(client, step.command, now)
        let outputs = 0
        while (client.poll() !== undefined) outputs++
        expect(outputs).toBeLessThan(300)
        now = Math.max(now, client.nextTimeout() ?? now)
        client.handleTimeout(now)
      }
    }),
    runs(300),
  )
})

function command(client: SnClient, name: string, now: number): void {
  if (name === 'connect') client.connect(now)
  else if (name === 'publish') client.publish(now, 'a/b', new Uint8Array(3), 2)
  else if (name === 'subscribe') client.subscribe(now, 'a/#', 1)
  else if (name === 'sleep') client.sleep(now, 60)
  else if (name === 'wake') client.wake(now)
  else if (name === 'disconnect') client.disconnect(now)
  else if (name === 'reboot') client.reboot()
  else client.handleTimeout(now + 10_000)
}

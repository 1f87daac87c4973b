import { expect, test } from 'vitest'
import { Wire } from './wire.ts'

test.each([
  ['TLS', '1603010200010001fc0303'],
  ['HTTP', Buffer.from('POST /api HTTP/1.1\r\n').toString('hex')],
])('%s at a plain port is called by its name, and closed at once', (name, hex) => {
  const wire = new Wire()
  const stranger = wire.open()
  wire.sendHex(stranger, hex)
  expect(wire.notices).toMatchObject([
    { code: 'protocol-error', level: 'info', peer: 'test', reason: `this is ${name}, and plain MQTT is spoken here` },
  ])
  expect(wire.out(stranger)).toEqual(['close'])
})

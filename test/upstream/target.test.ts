import { expect, test } from 'vitest'
import { parseTarget } from '../../src/upstream/target.ts'

test.each([
  ['mqtt://broker.example', 'mqtt://broker.example:1883', 'broker.example', 1883, ''],
  ['tcp://127.0.0.1:2000/', 'mqtt://127.0.0.1:2000', '127.0.0.1', 2000, ''],
  ['MQTTS://a', 'mqtts://a:8883', 'a', 8883, ''],
  ['ssl://[::1]:8884', 'mqtts://[::1]:8884', '::1', 8884, ''],
  ['ws://a', 'ws://a:80', 'a', 80, '/'],
  ['wss://a/mqtt?token=1', 'wss://a:443/mqtt?token=1', 'a', 443, '/mqtt?token=1'],
])('%s', (text, url, host, port, path) => {
  expect(parseTarget(text)).toMatchObject({ url, host, port, path })
})

test('only secure transports have TLS options', () => {
  const tls = { cafile: 'ca.pem' }
  expect(parseTarget('mqtts://a', tls)).toMatchObject({ tls })
  expect(parseTarget('wss://a', tls)).toMatchObject({ tls })
  expect(parseTarget('mqtt://a', tls)).toMatchObject({ tls: undefined })
})

test.each([
  ['broker.example', "'broker.example' is no address: expected mqtt://HOST:PORT, mqtts://, ws://HOST/PATH or wss://"],
  ['http://a', "'http://a' is no address: expected mqtt://HOST:PORT, mqtts://, ws://HOST/PATH or wss://"],
  ['mqtt://', "'mqtt://' has no valid host and port"],
  ['mqtt://a:b', "'mqtt://a:b' has no valid host and port"],
  ['mqtt://a:0', "'mqtt://a:0': the port must be between 1 and 65535"],
  ['mqtt://a:65536', "'mqtt://a:65536': the port must be between 1 and 65535"],
  ['mqtt://a/topic', "'mqtt://a/topic': only ws:// and wss:// have a path"],
  ['mqtt://a?x=1', "'mqtt://a?x=1': '?x=1' has no meaning here"],
  ['ws://a/#b', "'ws://a/#b': '#b' has no meaning here"],
])('%s is refused', (text, reason) => expect(parseTarget(text)).toBe(reason))

test('credentials are refused, and not repeated', () => {
  for (const text of ['mqtts://user:secret@a:8883', 'mqtt://secret@a', 'http://user:secret@a'])
    expect(parseTarget(text)).toBe('credentials do not belong in a URL, which ends up in logs: use username and password_file')
})

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { run } from '../../../src/cli/cli.ts'
import { StartedProcess } from '../../interop/started-process.ts'
import { StubHost } from '../stub-host.ts'

const simulate = async (host: StubHost, ...argv: string[]) => {
  const code = await run(['simulate', ...argv], host)
  return { code, out: host.out, err: host.err }
}

test.each<[string[], string]>([
  [['--sensors', '0'], '--sensors: expected a whole number from 1 to 10000, got "0"'],
  [['--loss', '1'], '--loss: expected a number from 0 to 0.9, got "1"'],
  [['--sleep', 'x'], '--sleep: expected a time of at least 1 s, like 90s, 10m or 2h, got "x"'],
  [['--sleep', '0.5s'], '--sleep: expected a time of at least 1 s, like 90s, 10m or 2h, got "0.5s"'],
  [['--sleep', '13h'], '--sleep: expected at most 12h, got "13h"'],
  [['--duration', '10d'], '--duration: expected a time of at least 1 s, like 90s, 10m or 2h, got "10d"'],
  [['--topic-prefix', 'a/#'], '--topic-prefix: expected text without + and #, got "a/#"'],
  [['--id-prefix', 'a'.repeat(19)], `--id-prefix: expected text without + and #, got "${'a'.repeat(19)}"`],
  [['-p', '9', '--sensors', '1'], 'no gateway at 127.0.0.1:9: no process listens there'],
  [['-h', 'no.such.host.invalid'], '-h: no address for no.such.host.invalid'],
  [['more'], "simulate: expected no argument, got 'more'"],
])('%j: one line, and exit code 2', async (argv, line) => {
  const { code, out, err } = await simulate(new StubHost(), ...argv)
  expect({ code, out }).toEqual({ code: 2, out: '' })
  if (argv[0] === 'more') expect(err.split('\n')).toHaveLength(2)
  else expect(err).toBe(`${line}\n`)
})

test('a port where something listens that is no gateway', async () => {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const port = socket.address().port
  try {
    const flags = ['-p', `${port}`, '--sensors', '2', '--t-retry', '0.1', '--n-retry', '1', '--duration', '1s', '--sleep', '1s']
    const { code, err } = await simulate(new StubHost(), ...flags)
    expect({ code, err }).toEqual({ code: 2, err: `no answer from 127.0.0.1:${port} to any CONNECT\n` })
  } finally {
    socket.close()
  }
})

test('a fleet over real UDP, until it is interrupted', async () => {
  const roost = await StartedProcess.start('--memory', '--t-retry', '1')
  const port = [...roost.snPorts.values()][0]!
  const host = new StubHost()
  const flags = ['-p', `${port}`, '--sensors', '5', '--sleep', '1s', '--loss', '0.05', '--t-retry', '0.2']
  const running = simulate(host, ...flags)
  setTimeout(() => host.events.emit('SIGINT'), 4000)
  const { code, out, err } = await running
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(out).toMatch(/^readings: {8}\d\d published, /m)
  expect(out).toMatch(/^commands: {8}\d+ acknowledged, \d+ arrived, 0 lost, /m)
  expect(host.events.listenerCount('SIGINT')).toBe(0)
  expect(await roost.stop()).toBe(0)
})

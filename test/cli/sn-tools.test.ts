import { expect, test } from 'vitest'
import { run } from '../../src/cli/cli.ts'
import { StubHost } from './stub-host.ts'

const ran = async (...argv: string[]) => {
  const host = new StubHost()
  return { code: await run(['sn', ...argv], host), out: host.out, err: host.err }
}

test.each<[string[], string]>([
  [['pub', '-m', 'x'], 'expected one of -t and -T; see roost sn pub --help'],
  [['pub', '-t', 'a/b'], 'expected one of -m, -f, -n, -s and -l; see roost sn pub --help'],
  [['pub', '-t', 'a/b', '-m', 'x', '-q', '3'], '-q: expected a whole number from -1 to 2, got "3"'],
  [['pub', '-t', 'a/b', '-m', 'x', '-q', '-1'], '-q -1: needs -T, or a topic of two characters'],
  [['pub', '-T', '0', '-m', 'x'], '-T: expected a whole number from 1 to 65534, got "0"'],
  [['pub', '-t', 'a/b', '-f', 'gone'], '-f: cannot read gone: no such file or directory'],
  [['pub', '-t', 'a/b', '-m', 'x', '--wlnid', '1'], '--wlnid: needs --fe too'],
  [['pub', '-t', 'a/b', '-m'], '-m: expected a value, got nothing'],
  [['sub'], 'expected a topic with -t or -T; see --help'],
  [['sub', '-t', 'a', '-p', '70000'], '-p: expected a whole number from 1 to 65535, got "70000"'],
  [['ping', '-h', 'no.such.host.invalid'], '-h: no address for no.such.host.invalid'],
  [['ping', '-p', '9', '--t-retry', '0.1'], 'no gateway at 127.0.0.1:9: no process listens there'],
  [['decode', '0b0c'], 'malformed: Length 11 in a datagram of 2 bytes (1.2 section 5.2.1)'],
  [['decode', 'zz'], 'expected bytes of two hex digits each, got "zz"'],
  [['pubb'], 'pubb: unknown command (did you mean pub?); see roost sn --help'],
  [['pub', '--topc', 'x'], '--topc: unknown option (did you mean --topic?); see roost sn pub --help'],
])('%j: one line, and exit code 2', async (argv, line) => {
  expect(await ran(...argv)).toEqual({ code: 2, out: '', err: `${line}\n` })
})

test('decode', async () => {
  const out = 'PUBLISH topic=0x0401 qos=0 msgid=0 4 bytes "21.5"\n'
  for (const words of [['0b0c000401000032312e35'], ['0x0b', '0c:00', '04 01', '0000', '32312e35']])
    expect(await ran('decode', ...words)).toEqual({ code: 0, out, err: '' })
})

test.each(['pub', 'sub', 'sleep', 'ping'])('%s --help has the flags of mqtt-sn-tools', async (command) => {
  const { code, out } = await ran(command, '--help')
  expect(code).toBe(0)
  const all = ['-h', '-p', '-i', '-k', '-d', '--trace', '--fe', '--wlnid', '--cport']
  const own = { pub: ['-t', '-T', '-m', '-f', '-n', '-s', '-l', '-q', '-r', '-c', '-e'], ping: [] }[command]
  for (const flag of [...all, ...(own ?? ['-t', '-T', '-q', '-c', '-e', '-1', '-v', '-V'])])
    expect(out).toMatch(new RegExp(`\\n {2}${flag}[ ,]`))
})

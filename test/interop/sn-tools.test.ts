import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { describeWithMosquitto, MosquittoSub, mosquittoPub } from './mosquitto.ts'
import { StartedProcess } from './started-process.ts'

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

let roost: StartedProcess
let dir: string
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'roost-sn-'))
  writeFileSync(join(dir, 'topics.yaml'), 'clients:\n  "*":\n    7: site/seven\n')
  roost = await StartedProcess.start('--memory', '--predefined-topics', join(dir, 'topics.yaml'))
})
afterAll(async () => {
  await roost.stop()
  rmSync(dir, { recursive: true })
})

const running: ChildProcess[] = []
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
})

/** `roost sn` as a user runs it. */
class Tool {
  readonly child: ChildProcess
  out = ''
  err = ''
  #wake: (() => void) | undefined
  #exited = false

  constructor(...argv: string[]) {
    this.child = spawn(process.execPath, [MAIN, 'sn', ...argv], { cwd: dir, stdio: 'pipe' })
    running.push(this.child)
    this.child.stdout!.on('data', (chunk: Buffer) => {
      this.out += chunk.toString('latin1')
      this.#wake?.()
    })
    this.child.stderr!.on('data', (chunk: Buffer) => {
      this.err += chunk.toString()
      this.#wake?.()
    })
    this.child.once('close', () => {
      this.#exited = true
      this.#wake?.()
    })
  }

  /** Until it has said this so often; not for ever, because the tool ends. */
  async until(text: string, times = 1): Promise<void> {
    while (`${this.out}${this.err}`.split(text).length <= times) {
      if (this.#exited) throw new Error(`ended without "${text}": ${this.out}${this.err}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async end(input = ''): Promise<{ code: number | null; out: string; err: string }> {
    this.child.stdin!.end(input)
    if (!this.#exited) await once(this.child, 'close')
    return { code: this.child.exitCode, out: this.out, err: this.err }
  }
}

const tool = (command: string, ...argv: string[]): Tool => new Tool(command, '-p', String(roost.snPort), ...argv)

describeWithMosquitto('roost sn pub, with mosquitto_sub on the other side', () => {
  let sub: MosquittoSub
  beforeAll(async () => {
    sub = await MosquittoSub.start(roost.mqttPort, '-t', 'sn/#', '-t', 'sn', '-t', 'site/#')
  })
  afterAll(() => sub.stop())

  test.each<[string, string[], string, string[]]>([
    ['a message', ['-t', 'sn/pub', '-m', 'hello'], '', ['sn/pub hello']],
    ['QoS 1 and 2, long options', ['--topic', 'sn/pub', '--message', 'two', '--qos', '2'], '', ['sn/pub two']],
    ['a short topic without a connection (-q -1)', ['-t', 'sn', '-m', 'x', '-q', '-1'], '', ['sn x']],
    ['a predefined topic without a connection', ['-T', '7', '-m', 'y', '-q', '-1'], '', ['site/seven y']],
    ['a predefined topic', ['-T', '7', '-m', 'z', '-q', '1'], '', ['site/seven z']],
    ['a line each', ['-t', 'sn/l', '-l', '-q', '1'], 'one\ntwo\nthree\n', ['sn/l one', 'sn/l two', 'sn/l three']],
    ['all of standard input', ['-t', 'sn/s', '-s'], 'all of it', ['sn/s all of it']],
    ['a file', ['-t', 'sn/f', '-f', 'topics.yaml'], '', ['sn/f clients:', '  "*":', '    7: site/seven', '']],
    ['nothing', ['-t', 'sn/n', '-n', '-q', '1'], '', ['sn/n (null)']],
    ['through a forwarder', ['-t', 'sn/fe', '-m', 'x', '--fe', '--wlnid', '0x0a0b0c', '-q', '1'], '', ['sn/fe x']],
    ['more than 255 octets', ['-t', 'sn/long', '-m', 'x'.repeat(3000), '-q', '1'], '', [`sn/long ${'x'.repeat(3000)}`]],
  ])('%s', async (_, argv, input, lines) => {
    expect(await tool('pub', ...argv).end(input)).toEqual({ code: 0, out: '', err: '' })
    for (const line of lines) expect(await sub.next()).toBe(line)
  })

  test('retained, and read by a sensor that comes later', async () => {
    expect(await tool('pub', '-t', 'kept/a', '-m', 'old news', '-r', '-q', '1').end()).toMatchObject({ code: 0 })
    expect(await tool('sub', '-t', 'kept/#', '-1', '-v').end()).toEqual({ code: 0, out: 'kept/a old news\n', err: '' })
  })

  test('--trace and -d tell everything on standard error', async () => {
    const { err, out } = await tool('pub', '-t', 'sn/t', '-m', 'x', '-i', 'tracer', '-d', '--trace').end()
    expect(out).toBe('')
    expect(err.trim().split('\n')).toEqual([
      '-> 0c040401000a747261636572 CONNECT client="tracer" clean protocol=1 duration=10',
      '<- 030500 CONNACK accepted',
      'connected',
      '-> 0a0a00000001736e2f74 REGISTER topic=0x0000 name="sn/t" msgid=1',
      '<- 070b0401000100 REGACK topic=0x0401 msgid=1 accepted',
      '-> 080c000401000078 PUBLISH topic=0x0401 qos=0 msgid=0 1 byte "x"',
      'registered topicName=sn/t topicId=1025',
      '-> 0218 DISCONNECT',
      '<- 0218 DISCONNECT',
      'disconnected',
    ])
  })
})

describeWithMosquitto('roost sn sub and sleep, with mosquitto_pub on the other side', () => {
  test('sub: topics, filters, predefined and short ones, binary payloads', async () => {
    const sub = tool('sub', '-t', 'down/#', '-t', 'ab', '-T', '7', '-q', '2', '-v', '-C', '4', '-d')
    await sub.until('subscribed', 3)
    await mosquittoPub(roost.mqttPort, '-t', 'down/a', '-m', 'one', '-q', '2')
    await mosquittoPub(roost.mqttPort, '-t', 'ab', '-m', 'two', '-q', '1')
    await mosquittoPub(roost.mqttPort, '-t', 'site/seven', '-m', 'three')
    writeFileSync(join(dir, 'binary'), Buffer.from([0, 255, 10, 200]))
    await mosquittoPub(roost.mqttPort, '-t', 'down/b', '-f', join(dir, 'binary'), '-q', '1')
    const { code, out } = await sub.end()
    expect({ code, out }).toEqual({ code: 0, out: 'down/a one\nab two\n7 three\ndown/b \x00\xff\n\xc8\n' })
  })

  test('sub -W ends by itself, and Ctrl-C says goodbye', async () => {
    expect(await tool('sub', '-t', 'x/y', '-W', '0.3').end()).toEqual({ code: 0, out: '', err: '' })
    const sub = tool('sub', '-t', 'x/y', '--trace')
    await sub.until('SUBACK')
    sub.child.kill('SIGINT')
    expect(await sub.end()).toMatchObject({ code: 0, err: expect.stringMatching(/-> 0218 DISCONNECT\n<- 0218 DISCONNECT\n$/) })
  })

  test('sleep: what was published while it slept comes when it wakes', async () => {
    const sleeper = tool('sleep', '-t', 'night/#', '-e', '1', '-C', '2', '-v', '--trace', '-i', 'owl')
    await sleeper.until('<- 0218')
    await mosquittoPub(roost.mqttPort, '-t', 'night/1', '-m', 'first', '-q', '1')
    await mosquittoPub(roost.mqttPort, '-t', 'night/2', '-m', 'second', '-q', '1')
    const { code, out, err } = await sleeper.end()
    expect({ code, out }).toEqual({ code: 0, out: 'night/1 first\nnight/2 second\n' })
    const types = err
      .trim()
      .split('\n')
      .map((line) => line.replace(/^(..) [\da-f]+ (\w+).*$/, '$1 $2'))
    const awake = types.slice(types.lastIndexOf('-> PINGREQ'), types.lastIndexOf('<- PINGRESP') + 1)
    expect(awake).toEqual([
      '-> PINGREQ',
      ...['<- REGISTER', '-> REGACK', '<- PUBLISH', '-> PUBACK', '<- REGISTER', '-> REGACK', '<- PUBLISH', '-> PUBACK'],
      '<- PINGRESP',
    ])
  })
})

describe('roost sn ping', () => {
  test('ping', async () => {
    const { code, out } = await tool('ping', '-C', '2', '-I', '0').end()
    expect(code).toBe(0)
    const line = (i: number): string => `PINGRESP from 127\\.0\\.0\\.1:${roost.snPort}: ${i} time=[\\d.]+ ms\\n`
    expect(out).toMatch(new RegExp(`^${line(1)}${line(2)}$`))
  })
})

describe('errors are one line, and exit code 2', () => {
  test('what the gateway rejects', async () => {
    const gateway = `127.0.0.1:${roost.snPort}`
    expect(await tool('pub', '-t', 'a/#', '-m', 'x').end()).toEqual({
      code: 2,
      out: '',
      err: `${gateway} has rejected REGISTER a/#: not supported\n`,
    })
    for (const qos of ['0', '1']) {
      expect(await tool('pub', '-T', '99', '-m', 'x', '-q', qos).end()).toEqual({
        code: 2,
        out: '',
        err: `${gateway} has rejected PUBLISH: invalid topic id\n`,
      })
    }
  })

  test('a message that no datagram can bring', async () => {
    const pub = new Tool('pub', '-p', String(roost.snPort), '-t', 'a/b', '-q', '1', '-s')
    expect(await pub.end('x'.repeat(65_499))).toEqual({
      code: 2,
      out: '',
      err: '65499 bytes do not fit into one datagram, which takes 65498\n',
    })
    const largest = new Tool('pub', '-p', String(roost.snPort), '-t', 'a/b', '-q', '1', '-s')
    expect(await largest.end('x'.repeat(65_498))).toEqual({ code: 0, out: '', err: '' })
  })

  test('a gateway that does not answer', async () => {
    // It is there, but what it says is for somebody else's version of the protocol.
    const { createSocket } = await import('node:dgram')
    const deaf = createSocket('udp4').bind(0, '127.0.0.1')
    await once(deaf, 'listening')
    const { port } = deaf.address()
    const tool_ = new Tool('ping', '-p', String(port), '--t-retry', '0.1', '--n-retry', '1')
    expect(await tool_.end()).toEqual({ code: 2, out: '', err: `no answer from 127.0.0.1:${port} to CONNECT\n` })
    deaf.close()
  })
})

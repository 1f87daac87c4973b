import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { type Command, Option } from 'commander'
import { StartError } from '../../base/start-error.ts'
import { reasonOf } from '../../config/io/text-file.ts'
import type { TopicRef } from '../../mqttsn/client.ts'
import type { SnQoS } from '../../mqttsn/messages.ts'
import type { Host } from '../serve.ts'
import { predefinedTopic, type SensorFlags, sensorFlags, topicNamed, wholeFlag } from './sensor-flags.ts'
import { SensorRun } from './sensor-run.ts'

interface PubFlags extends SensorFlags {
  readonly topic?: string
  readonly topicId?: string
  readonly message?: string
  readonly file?: string
  readonly null?: true
  readonly stdin?: true
  readonly lines?: true
  readonly qos: string
  readonly retain?: true
  readonly keepSession?: true
  readonly sleep: string
}

/** Adds `roost sn pub`, with the flags of mqtt-sn-pub. */
export function addPub(sn: Command, host: Host): void {
  const pub = sn
    .command('pub')
    .description('publish as a sensor: one message, or one per line')
    .helpOption('--help', 'print this help')
    .addOption(new Option('-t, --topic <topic>', 'topic; one of two characters is a short topic name and needs no registration'))
    .addOption(new Option('-T, --topic-id <number>', 'predefined topic id'))
    .addOption(new Option('-m, --message <text>', 'the message'))
    .addOption(new Option('-f, --file <file>', 'publish the contents of a file'))
    .addOption(new Option('-n, --null', 'publish an empty message'))
    .addOption(new Option('-s, --stdin', 'publish standard input as one message'))
    .addOption(new Option('-l, --lines', 'publish each line of standard input'))
    .addOption(new Option('-q, --qos <number>', 'quality of service: -1 (without any connection), 0, 1 or 2').default('0'))
    .addOption(new Option('-r, --retain', 'retain the message'))
    .addOption(new Option('-c, --keep-session', 'do not start a clean session'))
    .addOption(
      new Option('-e, --sleep <seconds>', 'go to sleep at the end instead of disconnecting; 0 means disconnect').default('0'),
    )
    .action((flags: PubFlags) => publish(flags, host))
  for (const option of sensorFlags()) pub.addOption(option)
}

async function publish(flags: PubFlags, host: Host): Promise<void> {
  const qos = wholeFlag(flags.qos, '-q', -1, 2) as SnQoS
  const topic = topicOf(flags)
  if (qos === -1 && typeof topic === 'string') throw new StartError('-q -1: needs -T, or a topic of two characters')
  const sleepSeconds = wholeFlag(flags.sleep, '-e', 0, 65_535)
  const messages = messagesOf(flags, host)
  await SensorRun.with(flags, flags.keepSession !== true, host, async (run) => {
    const { sensor } = run
    if (qos !== -1 && !(await run.connect())) return
    for await (const message of messages) {
      if (message.length > sensor.payloadMax)
        throw new StartError(`${message.length} bytes do not fit into one datagram, which takes ${sensor.payloadMax}`)
      sensor.act((client, now) => client.publish(now, topic, message, qos, flags.retain === true))
      if (qos > 0 && !(await run.until('published'))) break
      // With QoS 0, only a registration is answered.
      if (!sensor.client.idle && !(await run.until('registered'))) break
    }
    if (qos !== -1) await run.leave(sleepSeconds)
  })
}

function topicOf({ topic, topicId }: PubFlags): TopicRef {
  if ((topic === undefined) === (topicId === undefined))
    throw new StartError('expected one of -t and -T; see roost sn pub --help')
  if (topic === '') throw new StartError('-t: expected a topic, got nothing')
  return topicId === undefined ? topicNamed(topic!) : predefinedTopic(topicId)
}

/** Returns the messages from the source named by the flags. @throws StartError unless exactly one source is named */
function messagesOf(flags: PubFlags, host: Host): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  const { message, file, stdin, lines } = flags
  const sources = [message, file, flags.null, stdin, lines].filter((source) => source !== undefined)
  if (sources.length !== 1) throw new StartError('expected one of -m, -f, -n, -s and -l; see roost sn pub --help')
  if (message !== undefined) return [Buffer.from(message)]
  if (file !== undefined) return [contentOf(file, host.cwd)]
  if (stdin === true) return wholeInput(host)
  return lines === true ? linesOf(host) : [new Uint8Array(0)]
}

function contentOf(file: string, cwd: string): Uint8Array {
  try {
    return readFileSync(resolve(cwd, file))
  } catch (error) {
    throw new StartError(`-f: cannot read ${file}: ${reasonOf(error)}`)
  }
}

async function* wholeInput({ stdin }: Host): AsyncIterable<Uint8Array> {
  const chunks: Buffer[] = []
  for await (const chunk of stdin) chunks.push(Buffer.from(chunk))
  yield Buffer.concat(chunks)
}

async function* linesOf({ stdin }: Host): AsyncIterable<Uint8Array> {
  for await (const line of createInterface({ input: stdin })) yield Buffer.from(line)
}

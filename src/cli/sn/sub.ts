import { performance } from 'node:perf_hooks'
import { type Command, Option } from 'commander'
import { StartError } from '../../base/start-error.ts'
import type { SnEvent, TopicRef } from '../../mqttsn/client.ts'
import { shortName } from '../../mqttsn/describe.ts'
import type { Host } from '../serve.ts'
import { predefinedTopic, realFlag, type SensorFlags, sensorFlags, several, topicNamed, wholeFlag } from './sensor-flags.ts'
import { SensorRun } from './sensor-run.ts'

interface SubFlags extends SensorFlags {
  readonly topic?: readonly string[]
  readonly topicId?: readonly string[]
  readonly qos: string
  readonly keepSession?: true
  readonly sleep: string
  readonly one?: true
  readonly count?: string
  readonly wait?: string
  readonly verbose?: true
  readonly time?: true
}

/** Adds `roost sn sub`, with the flags of mqtt-sn-sub. */
export function addSub(sn: Command, host: Host): void {
  const sub = sn
    .command('sub')
    .description('subscribe as a sensor, and print the messages')
    .addOption(
      new Option('-e, --sleep <seconds>', 'go to sleep at the end instead of disconnecting; 0 means disconnect').default('0'),
    )
    .action((flags: SubFlags) => subscribe(flags, host))
  addFlags(sub, '0')
}

/** Adds `roost sn sleep`: a sensor that is mostly asleep, and fetches its messages when it wakes. */
export function addSleep(sn: Command, host: Host): void {
  const sleep = sn
    .command('sleep')
    .description('subscribe, then sleep and wake repeatedly to fetch messages')
    .addOption(new Option('-e, --sleep <seconds>', 'duration of each sleep').default('60'))
    .action((flags: SubFlags) => sleepAndWake(flags, host))
  addFlags(sleep, '1')
}

function addFlags(command: Command, qos: string): void {
  command
    .helpOption('--help', 'print this help')
    .addOption(new Option('-t, --topic <topic>', 'topic or filter; can be repeated').argParser(several))
    .addOption(new Option('-T, --topic-id <number>', 'predefined topic id; can be repeated').argParser(several))
    .addOption(new Option('-q, --qos <number>', 'highest quality of service: 0, 1 or 2').default(qos))
    .addOption(new Option('-c, --keep-session', 'do not start a clean session'))
    .addOption(new Option('-1, --one', 'exit after one message'))
    .addOption(new Option('-C, --count <number>', 'exit after this number of messages'))
    .addOption(new Option('-W, --wait <seconds>', 'exit after this time'))
    .addOption(new Option('-v, --verbose', 'print the topic in front of each message'))
    .addOption(new Option('-V, --time', 'print time and topic in front of each message'))
  for (const option of sensorFlags()) command.addOption(option)
}

/** The subscriptions, the number of messages still to be printed, and the deadline of one command. */
class SubscribeTask {
  readonly topics: readonly TopicRef[]
  readonly #flags: SubFlags
  readonly #host: Host
  readonly #qos: 0 | 1 | 2
  readonly #until: number
  #left: number

  constructor(flags: SubFlags, host: Host) {
    this.#flags = flags
    this.#host = host
    this.topics = [...(flags.topic ?? []).map(topicNamed), ...(flags.topicId ?? []).map(predefinedTopic)]
    if (this.topics.length === 0 || this.topics.includes('')) throw new StartError('expected a topic with -t or -T; see --help')
    this.#qos = wholeFlag(flags.qos, '-q', 0, 2) as 0 | 1 | 2
    const count = flags.count === undefined ? Number.POSITIVE_INFINITY : wholeFlag(flags.count, '-C', 1, 1_000_000_000)
    this.#left = flags.one === true ? 1 : count
    this.#until =
      flags.wait === undefined ? Number.POSITIVE_INFINITY : performance.now() + realFlag(flags.wait, '-W', 0, 1e9) * 1000
  }

  get isOver(): boolean {
    return this.#left === 0 || performance.now() >= this.#until
  }

  /** Remaining time in milliseconds; undefined without a deadline. */
  get waitMs(): number | undefined {
    return Number.isFinite(this.#until) ? Math.max(0, this.#until - performance.now()) : undefined
  }

  async begin(run: SensorRun): Promise<boolean> {
    for (const topic of this.topics) {
      run.sensor.act((client, now) => client.subscribe(now, topic, this.#qos))
      // Retained messages may arrive before the next SUBACK.
      if (!(await run.until('subscribed', (event) => this.print(event)))) return false
    }
    return true
  }

  print(event: SnEvent): void {
    if (event.event !== 'message' || this.#left === 0) return
    this.#left--
    const { topicIdType, topicId, data } = event.message
    const topic = event.topic ?? (topicIdType === 'short' ? shortName(topicId) : String(topicId))
    const { verbose, time } = this.#flags
    const prefix = time === true ? `${new Date().toISOString()} ${topic} ` : verbose === true ? `${topic} ` : ''
    this.#host.stdout.write(Buffer.concat([Buffer.from(prefix), data, Buffer.from('\n')]))
  }
}

async function subscribe(flags: SubFlags, host: Host): Promise<void> {
  const subscription = new SubscribeTask(flags, host)
  const sleepSeconds = wholeFlag(flags.sleep, '-e', 0, 65_535)
  await SensorRun.with(flags, flags.keepSession !== true, host, async (run) => {
    let there = (await run.connect()) && (await subscription.begin(run))
    while (there && !subscription.isOver) {
      const event = await run.next(subscription.waitMs)
      if (event === undefined) break
      subscription.print(event)
      // The gateway has dropped the session, or was restarted.
      if (event.event === 'disconnected') there = (await run.connect()) && (await subscription.begin(run))
      if (event.event === 'timedOut') throw run.noAnswer(event.awaiting)
    }
    await run.leave(sleepSeconds)
  })
}

async function sleepAndWake(flags: SubFlags, host: Host): Promise<void> {
  const subscription = new SubscribeTask(flags, host)
  const seconds = wholeFlag(flags.sleep, '-e', 1, 65_535)
  await SensorRun.with(flags, flags.keepSession !== true, host, async (run) => {
    const { sensor } = run
    const print = (event: SnEvent): void => subscription.print(event)
    while (!subscription.isOver) {
      if (sensor.client.state === 'disconnected') {
        if (!((await run.connect()) && (await subscription.begin(run)))) break
        sensor.act((client, now) => client.sleep(now, seconds))
        if (!(await run.until('asleep', print))) break
      }
      const rest = Math.min(seconds * 1000, subscription.waitMs ?? Number.POSITIVE_INFINITY)
      if (await interrupted(run, rest)) break
      if (subscription.isOver) break
      if (!(await wake(run, print))) break
    }
    await run.leave(0)
  })
}

/** Waits for `ms` milliseconds without sending anything. Returns whether the user interrupted. */
async function interrupted(run: SensorRun, ms: number): Promise<boolean> {
  const until = performance.now() + ms
  for (let left = ms; left > 0; left = until - performance.now()) {
    if ((await run.next(left)) === undefined && performance.now() < until) return true
  }
  return false
}

/**
 * Fetches waiting messages until PINGRESP. If the gateway does not answer, the next attempt follows the next sleep.
 * Returns false if the user interrupted.
 */
async function wake(run: SensorRun, print: (event: SnEvent) => void): Promise<boolean> {
  run.sensor.act((client, now) => client.wake(now))
  for (let event = await run.next(); event !== undefined; event = await run.next()) {
    print(event)
    if (event.event === 'wakeEnded' || event.event === 'timedOut' || event.event === 'disconnected') return true
  }
  return false
}

import { Sensor } from '../../src/cli/sn/sensor.ts'
import type { SnClient, SnClientOptions, SnEvent } from '../../src/mqttsn/client.ts'

/** How long an answer may take, ms. */
const PATIENCE_MS = 15_000

/** A sensor over UDP that does one thing after the other. */
export class ScriptedSensor {
  readonly sensor: Sensor
  /** What it has received, as `topic text`. */
  readonly messages: string[] = []
  /** All other events, by name. */
  readonly events: string[] = []

  readonly #patienceMs: number

  private constructor(sensor: Sensor, patienceMs: number) {
    this.sensor = sensor
    this.#patienceMs = patienceMs
  }

  static async open(snPort: number, options: SnClientOptions, patienceMs = PATIENCE_MS): Promise<ScriptedSensor> {
    const defaults = { cleanSession: false, keepAliveSeconds: 600, tRetryMs: 300, nRetry: 40 }
    const sensor = await Sensor.open({ host: '127.0.0.1', port: snPort, sourcePort: 0, ...defaults, ...options })
    return new ScriptedSensor(sensor, patienceMs)
  }

  /** Does something, and gives the first event of this name, or of these. */
  async until<E extends SnEvent['event']>(
    event: E | readonly E[],
    act: (client: SnClient, now: number) => void = () => {},
  ): Promise<Extract<SnEvent, { event: E }>> {
    this.sensor.act(act)
    for (const end = performance.now() + this.#patienceMs; ; ) {
      const found = await this.sensor.next(end - performance.now())
      if (found === undefined) throw new Error(`no ${event}, but ${this.events.join(' ')}`)
      if (found.event === 'message') this.messages.push(`${found.topic} ${Buffer.from(found.message.data).toString()}`)
      else this.events.push(found.event)
      if (found.event === event || event.includes(found.event as E)) return found as Extract<SnEvent, { event: E }>
    }
  }

  connect(): Promise<unknown> {
    return this.until('connected', (client, now) => client.connect(now))
  }

  /** However often it is refused; true at last. */
  async connectAtLast(): Promise<boolean> {
    for (;;) {
      const { event } = await this.until(['connected', 'refused'], (client, now) => client.connect(now))
      if (event === 'connected') return true
    }
  }

  subscribe(filter: string, qos: 0 | 1 | 2): Promise<{ readonly returnCode: number }> {
    return this.until('subscribed', (client, now) => client.subscribe(now, filter, qos))
  }

  /** The return code. */
  async publish(topic: string, text: string, qos: 1 | 2): Promise<number> {
    return (await this.until('published', (client, now) => client.publish(now, topic, Buffer.from(text), qos))).returnCode
  }

  sleep(seconds = 600): Promise<unknown> {
    return this.until('asleep', (client, now) => client.sleep(now, seconds))
  }

  /** Wakes, and gives what came until PINGRESP. */
  async wake(): Promise<readonly string[]> {
    const before = this.messages.length
    await this.until('wakeEnded', (client, now) => client.wake(now))
    return this.messages.slice(before)
  }

  close(): void {
    this.sensor.close()
  }
}

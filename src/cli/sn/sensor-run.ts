import { StartError } from '../../base/start-error.ts'
import type { SnEvent } from '../../mqttsn/client.ts'
import { returnCodeName, typeName } from '../../mqttsn/describe.ts'
import type { Host } from '../serve.ts'
import { Sensor } from './sensor.ts'
import { type SensorFlags, sensorOptions } from './sensor-flags.ts'

/**
 * One run of a sensor command: connects the sensor to the terminal, to signals and to the errors that the user sees.
 */
export class SensorRun {
  readonly sensor: Sensor
  readonly #host: Host
  readonly #isDebug: boolean
  readonly #interrupt = (): void => this.sensor.stop()

  private constructor(sensor: Sensor, host: Host, isDebug: boolean) {
    this.sensor = sensor
    this.#host = host
    this.#isDebug = isDebug
    for (const signal of ['SIGINT', 'SIGTERM']) host.events.on(signal, this.#interrupt)
  }

  /** Runs `what`, and closes the socket afterwards in any case. @throws StartError */
  static async with(flags: SensorFlags, clean: boolean, host: Host, what: (run: SensorRun) => Promise<void>): Promise<void> {
    const trace = (line: string): unknown => host.stderr.write(`${line}\n`)
    const sensor = await Sensor.open(sensorOptions(flags, clean, trace))
    const run = new SensorRun(sensor, host, flags.debug === true)
    try {
      await what(run)
    } finally {
      for (const signal of ['SIGINT', 'SIGTERM']) host.events.off(signal, run.#interrupt)
      sensor.close()
    }
  }

  /**
   * Returns the next event; undefined after `waitMs` milliseconds, or after an interruption by the user.
   * @throws StartError for a rejection by the gateway
   */
  async next(waitMs?: number): Promise<SnEvent | undefined> {
    const event = await this.sensor.next(waitMs)
    if (event === undefined) return undefined
    this.#debug(event)
    if (event.event === 'refused') throw this.#rejected('CONNECT', event.returnCode)
    if (event.event === 'registerRefused') throw this.#rejected(`REGISTER ${event.topicName}`, event.returnCode)
    if (event.event === 'subscribed' && event.returnCode > 0) throw this.#rejected('SUBSCRIBE', event.returnCode)
    const isRefused = event.event === 'rejected' || (event.event === 'published' && event.returnCode > 0)
    if (isRefused) throw this.#rejected('PUBLISH', event.returnCode)
    return event
  }

  /**
   * Waits for an event of this kind and passes all other events to `other`. Returns false if the user interrupted
   * first.
   */
  async until(wanted: SnEvent['event'], other: (event: SnEvent) => void = () => {}): Promise<boolean> {
    for (let event = await this.next(); event !== undefined; event = await this.next()) {
      if (event.event === wanted) return true
      if (event.event === 'timedOut') throw this.noAnswer(event.awaiting)
      if (event.event === 'disconnected') throw new StartError(`${this.sensor.gateway} has ended the connection`)
      other(event)
    }
    return false
  }

  async connect(): Promise<boolean> {
    this.sensor.act((client, now) => client.connect(now))
    return this.until('connected')
  }

  /**
   * Disconnects, or goes to sleep for this number of seconds if it is not 0, and waits for the answer. A second
   * interruption ends the wait.
   */
  async leave(sleepSeconds: number): Promise<void> {
    this.sensor.act((client, now) => (sleepSeconds > 0 ? client.sleep(now, sleepSeconds) : client.disconnect(now)))
    this.sensor.resume()
    const wanted = sleepSeconds > 0 ? 'asleep' : 'disconnected'
    for (let event = await this.next(); event !== undefined; event = await this.next())
      if (event.event === wanted || event.event === 'timedOut') return
  }

  noAnswer(messageType: string): StartError {
    return new StartError(`no answer from ${this.sensor.gateway} to ${typeName(Number(messageType))}`)
  }

  #rejected(what: string, returnCode: number): StartError {
    return new StartError(`${this.sensor.gateway} has rejected ${what}: ${returnCodeName(returnCode)}`)
  }

  #debug(event: SnEvent): void {
    if (!this.#isDebug) return
    const { event: name, kind: _, ...fields } = event as SnEvent & { kind?: string }
    const details = Object.entries(fields).filter(([key]) => key !== 'message')
    this.#host.stderr.write(`${[name, ...details.map(([key, value]) => `${key}=${String(value)}`)].join(' ')}\n`)
  }
}

import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { decodeMessage, isMalformed } from '../../../src/mqttsn/decode.ts'
import { encodedMessage } from '../../../src/mqttsn/encode.ts'
import type { Message } from '../../../src/mqttsn/messages.ts'
import type { ServerOptions } from '../../../src/server.ts'
import type { Store } from '../../../src/store/store.ts'
import type { SensorUpstreamOptions } from '../../../src/upstream/sensors/options.ts'
import { line, OPTIONS, say } from '../../gateway/harness.ts'
import { Dialling } from '../pair.ts'
import { ScriptedFar } from '../scripted-far.ts'
import { SENSORS } from './options.ts'

/** Where the sensor of most tests is. */
export const R = '10.0.0.1:1'

/** A gateway in front of a far side, in virtual time; its sensors are routes. */
export class SensorWorld extends Dialling {
  readonly store: Store
  readonly options: Partial<SensorUpstreamOptions>
  commits = true
  readonly #sent = new Map<string, Message[]>()

  constructor(
    options: Partial<SensorUpstreamOptions> = {},
    store: Store = new DelayedStore(),
    more: Partial<ServerOptions> = {},
  ) {
    super({ sensors: { ...SENSORS, ...options }, gateway: OPTIONS, store, ...more })
    this.store = store
    this.options = options
    this.seen = (out) => {
      if (out.kind !== 'datagram') return
      const message = decodeMessage(out.bytes, 0, out.bytes.length)
      if (isMalformed(message)) throw new Error('the gateway sends what is malformed')
      this.#sent.set(out.route, [...(this.#sent.get(out.route) ?? []), message])
    }
    // As the loop does before any timer: sensors that were awake before a restart are known then.
    this.server.poll(this.now)
  }

  /** What the store was asked to keep becomes durable. */
  commit(): void {
    if (!(this.store instanceof DelayedStore)) return
    this.store.commit()
    this.server.handle(this.now, { kind: 'durable' })
    this.run()
  }

  /** A new process, on what was durable. Streams of the old one break. */
  crashed(options = this.options, more: Partial<ServerOptions> = {}): SensorWorld {
    const streams = [...this.streams]
    this.streams.clear()
    for (const stream of streams) this.far?.closed(stream)
    return new SensorWorld(options, (this.store as DelayedStore).crash(), more)
  }

  send(route: string, ...messages: Message[]): void {
    for (const message of messages) {
      this.server.handle(this.now, { kind: 'datagram', route, bytes: encodedMessage(message) })
      this.run()
    }
  }

  /** What the gateway has sent there since this was asked last, a line each. */
  sent(route = R): string[] {
    const messages = this.#sent.get(route) ?? []
    this.#sent.delete(route)
    return messages.map(line)
  }

  /** What the store was asked to keep is durable by then, unless a test holds it back. */
  override run(): void {
    super.run()
    const { store } = this
    if (this.commits && store instanceof DelayedStore && store.durable < store.appended) this.commit()
  }
}

/** A gateway, a far side that does what a test tells it, and a sensor that is connected. */
export function connected(
  options: Partial<SensorUpstreamOptions> = {},
  { clean = false, will = false } = {},
  more: Partial<ServerOptions> = {},
) {
  const world = new SensorWorld(options, undefined, more)
  const far = new ScriptedFar(world)
  world.send(R, say.connect('valve', { clean, will }))
  if (will) world.send(R, say.willTopic('wills/valve', 1), say.willMsg('gone'))
  world.advance(0)
  world.sent()
  return { world, far }
}

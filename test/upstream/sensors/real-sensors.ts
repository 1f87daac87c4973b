import type { Notice } from '../../../src/base/notice.ts'
import { decodeMessage, isMalformed } from '../../../src/mqttsn/decode.ts'
import { encodedMessage } from '../../../src/mqttsn/encode.ts'
import type { Message } from '../../../src/mqttsn/messages.ts'
import { instant, Loop, wallClock } from '../../../src/process/loop.ts'
import { Server } from '../../../src/server.ts'
import { MemoryStore, type Store } from '../../../src/store/store.ts'
import type { SensorUpstreamOptions } from '../../../src/upstream/sensors/options.ts'
import { parseTarget } from '../../../src/upstream/target.ts'
import { line, OPTIONS } from '../../gateway/harness.ts'
import { SENSORS } from './options.ts'

/** A gateway in front of real brokers; its sensors are routes. */
export class RealSensors {
  readonly notices: Notice[] = []
  readonly server: Server
  readonly loop: Loop
  readonly #sent = new Map<string, Message[]>()

  constructor(urls: readonly string[], options: Partial<SensorUpstreamOptions> = {}, store: Store = new MemoryStore()) {
    const addresses = urls.map((url) => {
      const target = parseTarget(url)
      if (typeof target === 'string') throw new Error(target)
      return target
    })
    const { targets = SENSORS.targets, ...others } = options
    this.server = new Server({
      store,
      clock: wallClock(),
      notice: (notice) => this.notices.push(notice),
      random: () => 0,
      gateway: OPTIONS,
      sensors: { ...SENSORS, ...others, targets: { ...targets, addresses } },
    })
    this.server.recover(instant())
    this.loop = new Loop(this.server)
    this.loop.sendDatagramsBy((route, bytes) => {
      const message = decodeMessage(bytes, 0, bytes.length)
      if (isMalformed(message)) throw new Error('the gateway sends what is malformed')
      this.#sent.set(route, [...(this.#sent.get(route) ?? []), message])
    })
  }

  send(route: string, ...messages: Message[]): void {
    for (const message of messages) this.loop.handle({ kind: 'datagram', route, bytes: encodedMessage(message) })
  }

  /** What the gateway has sent there since this was asked last, a line each. */
  sent(route: string): string[] {
    const messages = this.#sent.get(route) ?? []
    this.#sent.delete(route)
    return messages.map(line)
  }

  stop(): void {
    this.loop.run((now) => this.server.upstream!.stop(now))
    this.loop.flush()
    this.loop.stop()
  }
}

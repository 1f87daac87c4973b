import { connect, type IClientOptions, type MqttClient } from 'mqtt'

export interface Received {
  readonly topic: string
  readonly text: string
  readonly qos: number
  readonly retain: boolean
  readonly properties: unknown
}

/** MQTT.js, and what it received from its first moment on. */
export class MqttJs {
  readonly client: MqttClient
  readonly #messages: Received[] = []
  #wake: (() => void) | undefined = undefined

  private constructor(client: MqttClient) {
    this.client = client
    client.on('error', () => {})
    client.on('message', (topic, payload, { qos, retain, properties }) => {
      this.#messages.push({ topic, text: payload.toString(), qos, retain, properties })
      this.#wake?.()
    })
  }

  static async connect(port: number, options: IClientOptions): Promise<MqttJs> {
    const { protocol = 'mqtt' } = options
    const js = new MqttJs(connect(`${protocol}://localhost:${port}`, { reconnectPeriod: 0, ...options }))
    await js.event('connect')
    return js
  }

  /** The arguments of the next event of this name. */
  event(name: 'connect' | 'close' | 'disconnect'): Promise<unknown[]> {
    return new Promise((resolve) => this.client.once(name as 'connect', (...args: unknown[]) => resolve(args)))
  }

  /** The next message that came or comes. */
  async next(): Promise<Received> {
    while (this.#messages.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#messages.shift()!
  }

  /** What came and was not asked for. */
  get unread(): readonly Received[] {
    return this.#messages
  }
}

import { once } from 'node:events'
import { type ClientOptions, WebSocket } from 'ws'

/** MQTT in the messages of a WebSocket; what comes back is one stream of bytes. */
export class WsClient {
  static readonly #opened: WsClient[] = []
  readonly ws: WebSocket
  hex = ''
  /** The code of its end. */
  readonly closed: Promise<number>

  constructor(port: number, protocols: string[] = ['mqtt'], options: ClientOptions = {}, path = '') {
    this.ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, options)
    this.closed = new Promise((resolve) => this.ws.once('close', resolve))
    this.ws.on('error', () => {})
    this.ws.on('message', (data: Buffer) => {
      this.hex += data.toString('hex')
    })
    WsClient.#opened.push(this)
  }

  /** After each test. */
  static terminateAll(): void {
    for (const { ws } of WsClient.#opened.splice(0)) ws.terminate()
  }

  async open(): Promise<this> {
    await once(this.ws, 'open')
    return this
  }

  async answer(hex: string): Promise<void> {
    const early = this.closed.then((code) => Promise.reject(new Error(`closed with ${code}`)))
    early.catch(() => {})
    while (this.hex.length < hex.length) await Promise.race([once(this.ws, 'message'), early])
    const { hex: answered } = this
    this.hex = ''
    if (answered !== hex) throw new Error(`expected ${hex}, got "${answered}"`)
  }
}

/** The status with which an upgrade is refused. */
export const refusal = ({ ws }: WsClient): Promise<number | undefined> =>
  new Promise((resolve) => {
    ws.once('unexpected-response', (_, response) => {
      response.resume()
      resolve(response.statusCode)
    })
    ws.once('open', () => resolve(101))
  })

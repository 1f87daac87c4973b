import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { decodeMessage } from '../../src/mqttsn/decode.ts'
import { encodedMessage } from '../../src/mqttsn/encode.ts'
import type { Message } from '../../src/mqttsn/messages.ts'

const DATAGRAMS = JSON.parse(readFileSync(new URL('../vectors/mqttsn-udp.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>

/** A sensor that is nothing but a UDP socket: it sends datagrams from the table, and gives back what comes as hex. */
export class RawSensor {
  readonly #socket: Socket
  readonly #port: number
  readonly #received: string[] = []
  #wake: (() => void) | undefined = undefined

  private constructor(socket: Socket, port: number) {
    this.#socket = socket
    this.#port = port
    socket.on('message', (bytes) => {
      this.#received.push(bytes.toString('hex'))
      this.#wake?.()
    })
  }

  static async open(port: number): Promise<RawSensor> {
    const socket = createSocket('udp4')
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return new RawSensor(socket, port)
  }

  /** By its name in test/vectors/mqttsn-udp.json. */
  say(name: string): void {
    const hex = DATAGRAMS[name]
    if (hex === undefined) throw new Error(`no datagram "${name}"`)
    this.sendHex(hex)
  }

  sendHex(hex: string): void {
    this.#socket.send(Buffer.from(hex.replaceAll(' ', ''), 'hex'), this.#port, '127.0.0.1')
  }

  send(message: Message): void {
    this.sendHex(Buffer.from(encodedMessage(message)).toString('hex'))
  }

  /** The next message that came or comes. */
  async hear(): Promise<ReturnType<typeof decodeMessage>> {
    return decodeMessage(Buffer.from(await this.next(), 'hex'))
  }

  /** The next datagram that came or comes. */
  async next(): Promise<string> {
    while (this.#received.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#received.shift()!
  }

  /** Says it, and gives the answer. */
  ask(name: string): Promise<string> {
    this.say(name)
    return this.next()
  }

  /** What came and was not asked for. */
  get unread(): readonly string[] {
    return this.#received
  }

  close(): void {
    this.#socket.close()
  }
}

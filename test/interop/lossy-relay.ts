import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Random } from '../../fuzz/sim/random.ts'
import { decodeMessage } from '../../src/mqttsn/decode.ts'
import type { Message } from '../../src/mqttsn/messages.ts'

/** Datagrams that reached the gateway, or left it, by MsgType. */
export class Passed {
  readonly byType = new Map<number, number>()
  bytes = 0

  count(message: Message, bytes: number): void {
    this.byType.set(message.type, (this.byType.get(message.type) ?? 0) + 1)
    this.bytes += bytes
  }

  of(type: number): number {
    return this.byType.get(type) ?? 0
  }
}

/** Stands between one sensor and the gateway, loses datagrams in both directions, and keeps count of the others. */
export class LossyRelay {
  readonly port: number
  readonly received = new Passed()
  readonly sent = new Passed()
  /** Share of the datagrams that are lost. */
  loss: number
  readonly #outer: Socket
  readonly #inner: Socket

  private constructor(outer: Socket, inner: Socket, gatewayPort: number, random: Random, loss: number) {
    this.#outer = outer
    this.#inner = inner
    this.port = outer.address().port
    this.loss = loss
    let sensorPort = 0
    outer.on('message', (bytes, { port }) => {
      sensorPort = port
      if (random.next() < this.loss) return
      this.received.count(decodeMessage(bytes) as Message, bytes.length)
      inner.send(bytes, gatewayPort, '127.0.0.1')
    })
    inner.on('message', (bytes) => {
      // Sent by the gateway, whether it arrives or not.
      this.sent.count(decodeMessage(bytes) as Message, bytes.length)
      if (random.next() >= this.loss) outer.send(bytes, sensorPort, '127.0.0.1')
    })
  }

  static async open(gatewayPort: number, random: Random, loss: number): Promise<LossyRelay> {
    const sockets = ['udp4', 'udp4'].map((type) => createSocket(type as 'udp4'))
    for (const socket of sockets) {
      socket.bind(0, '127.0.0.1')
      await once(socket, 'listening')
    }
    return new LossyRelay(sockets[0]!, sockets[1]!, gatewayPort, random, loss)
  }

  close(): void {
    this.#outer.close()
    this.#inner.close()
  }
}

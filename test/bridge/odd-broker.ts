import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { generate, type IConnackPacket, type IConnectPacket, type IPublishPacket, type Packet, parser } from 'mqtt-packet'

/** What an odd broker does. */
export interface Manners {
  /** What its CONNACK says beyond success; 'close': it ends the stream instead; 'silence': it says nothing. */
  connack: (connect: IConnectPacket) => Partial<IConnackPacket> | 'close' | 'silence'
  /** Reason code of PUBACK and PUBREC, or the end of the stream, before or after the acknowledgement. */
  publish: (message: IPublishPacket) => number | 'close' | 'acknowledge and close' | 'silence'
  /** The highest QoS that it grants. It answers a PUBLISH with a higher one with PUBACK, as RabbitMQ does. */
  maximumQos: 1 | 2
}

export const KIND: Manners = { connack: () => ({}), publish: () => 0, maximumQos: 2 }

/** A broker with bad manners, as they are met in the field, with a codec of somebody else. It forgets its clients, and keeps what it was sent. */
export class OddBroker {
  readonly port: number
  manners: Manners
  /** Streams, whether anything was said over them or not. */
  dials = 0
  readonly connects: IConnectPacket[] = []
  /** Messages that it has acknowledged with success, or that need no acknowledgement. */
  readonly taken: string[] = []
  /** All PUBLISH packets. */
  publishes = 0
  /** Most messages with QoS 1 and 2 that were not acknowledged, of one stream. */
  widest = 0
  readonly subscribed = new Set<string>()
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Answers wait so long, ms: the more of them, the wider a window is used. */
  answersAfterMs = 0

  private constructor(server: Server, manners: Manners, isTls: boolean) {
    this.#server = server
    this.manners = manners
    this.port = (server.address() as AddressInfo).port
    server.on('connection', (socket) => {
      this.dials++
      if (isTls) socket.on('error', () => {})
    })
    server.on(isTls ? 'secureConnection' : 'connection', (socket: Socket) => this.#called(socket))
  }

  static async start(manners: Partial<Manners> = {}, tls?: TlsOptions): Promise<OddBroker> {
    const server = tls === undefined ? createServer() : createTlsServer(tls)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new OddBroker(server, { ...KIND, ...manners }, tls !== undefined)
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.cut()
    await once(this.#server, 'close')
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #called(socket: Socket): void {
    this.#sockets.add(socket)
    const reader = parser()
    let version = 4
    let open = 0
    const send = (packet: Packet): void => {
      if (!socket.destroyed) socket.write(generate(packet, { protocolVersion: version }))
    }
    const acknowledged = (message: IPublishPacket, reasonCode: number): void => {
      open--
      if (reasonCode < 0x80) this.taken.push(String(message.payload))
      send({
        cmd: message.qos === 2 && this.manners.maximumQos === 2 ? 'pubrec' : 'puback',
        messageId: message.messageId!,
        reasonCode,
      } as Packet)
    }
    const published = (message: IPublishPacket): void => {
      this.publishes++
      const answer = this.manners.publish(message)
      if (answer === 'close') {
        socket.destroy()
        return
      }
      if (message.qos === 0) {
        this.taken.push(String(message.payload))
        return
      }
      open++
      this.widest = Math.max(this.widest, open)
      if (answer === 'silence') return
      setTimeout(() => {
        acknowledged(message, answer === 'acknowledge and close' ? 0 : answer)
        if (answer === 'acknowledge and close') socket.end()
      }, this.answersAfterMs)
    }
    reader.on('packet', (packet) => {
      if (packet.cmd === 'connect') {
        version = packet.protocolVersion ?? 4
        this.connects.push(packet)
        const answer = this.manners.connack(packet)
        if (answer === 'close') socket.destroy()
        if (typeof answer === 'string') return
        send({ cmd: 'connack', sessionPresent: false, reasonCode: 0, returnCode: 0, ...answer } as Packet)
        if ((answer.reasonCode ?? answer.returnCode ?? 0) !== 0) socket.end()
      } else if (packet.cmd === 'publish') published(packet)
      else if (packet.cmd === 'pubrel') send({ cmd: 'pubcomp', messageId: packet.messageId! })
      else if (packet.cmd === 'subscribe') {
        for (const { topic } of packet.subscriptions) this.subscribed.add(topic)
        send({
          cmd: 'suback',
          messageId: packet.messageId!,
          granted: packet.subscriptions.map(({ qos }) => Math.min(qos, this.manners.maximumQos)),
        })
      } else if (packet.cmd === 'unsubscribe')
        send({ cmd: 'unsuback', messageId: packet.messageId!, granted: packet.unsubscriptions.map(() => 0) } as unknown as Packet)
      else if (packet.cmd === 'pingreq') send({ cmd: 'pingresp' })
    })
    reader.on('error', () => socket.destroy())
    socket.on('data', (bytes) => reader.parse(bytes))
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
  }
}

import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'

const ESCAPE = 0x02
/** Commands and messages of the ZiGate's serial protocol, firmware 3.21. */
const Command = { NETWORK_STATE: 0x0009, VERSION: 0x0010, RESET: 0x0011, START_NETWORK: 0x0024 } as const
const Answer = {
  STATUS: 0x8000,
  DATA: 0x8002,
  RESTARTED: 0x8006,
  NETWORK_STATE: 0x8009,
  VERSION: 0x8010,
  JOINED: 0x8024,
} as const

/** What the emulated stick is and where: its own address, PAN id, extended PAN id and channel. */
export const NETWORK = { address: '00158d0000000001', panId: 0x1a62, extendedPanId: 'dd'.repeat(8), channel: 11 } as const
const NETWORK_STATE = `0000${NETWORK.address}${NETWORK.panId.toString(16)}${NETWORK.extendedPanId}0${NETWORK.channel.toString(16)}`

function escaped(bytes: Uint8Array): number[] {
  return [...bytes].flatMap((byte) => (byte <= 0x10 ? [ESCAPE, byte ^ 0x10] : [byte]))
}

function unescaped(bytes: Uint8Array): Buffer {
  return Buffer.from([...bytes].flatMap((byte, i) => (byte === ESCAPE ? [] : [bytes[i - 1] === ESCAPE ? byte ^ 0x10 : byte])))
}

/** 0x01, then code, length, checksum, payload and link quality, then 0x03. */
function frameOf(code: number, payload: Uint8Array, linkQuality: number): Buffer {
  const body = Buffer.from([...payload, linkQuality])
  const head = Buffer.alloc(4)
  head.writeUInt16BE(code, 0)
  head.writeUInt16BE(body.length, 2)
  const checksum = [...head, ...body].reduce((sum, byte) => sum ^ byte, 0)
  return Buffer.from([0x01, ...escaped(Buffer.from([...head, checksum, ...body])), 0x03])
}

/**
 * A Zigbee coordinator on a TCP port instead of a serial one: a ZiGate that accepts every command, has no radio, and "hears" what
 * a test makes devices report. Zigbee2MQTT's driver asks for little more than that.
 */
export class ZiGate {
  readonly #server: Server
  #driver: Socket | undefined

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', (socket) => {
      this.#driver = socket
      let buffered = Buffer.alloc(0)
      socket.on('error', () => {})
      socket.on('data', (chunk) => {
        buffered = Buffer.concat([buffered, chunk])
        for (let end = buffered.indexOf(0x03); end >= 0; end = buffered.indexOf(0x03)) {
          this.#obey(unescaped(buffered.subarray(1, end)).readUInt16BE(0))
          buffered = buffered.subarray(end + 1)
        }
      })
    })
  }

  static async open(): Promise<ZiGate> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new ZiGate(server)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** A device reports a temperature in hundredths of a degree: Report Attributes of the cluster Temperature Measurement. */
  reportTemperature(networkAddress: number, hundredths: number): void {
    const source = networkAddress.toString(16).padStart(4, '0')
    const value = Buffer.alloc(2)
    value.writeInt16LE(hundredths)
    // Profile 0x0104, cluster 0x0402, from and to endpoint 1; attribute 0x0000 (MeasuredValue) of type 0x29 (int16).
    this.#say(Answer.DATA, `0001040402010102${source}02000018010a000029${value.toString('hex')}`)
  }

  close(): void {
    this.#driver?.destroy()
    this.#server.close()
  }

  #obey(code: number): void {
    if (code !== Command.RESET) this.#say(Answer.STATUS, `0000${code.toString(16).padStart(4, '0')}`)
    if (code === Command.RESET) this.#say(Answer.RESTARTED, '01')
    else if (code === Command.NETWORK_STATE) this.#say(Answer.NETWORK_STATE, NETWORK_STATE)
    else if (code === Command.VERSION) this.#say(Answer.VERSION, '00030321')
    else if (code === Command.START_NETWORK) this.#say(Answer.JOINED, '010000')
  }

  #say(code: number, hex: string): void {
    this.#driver?.write(frameOf(code, Buffer.from(hex, 'hex'), 200))
  }
}

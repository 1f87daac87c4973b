import type { NoticeSink } from '../base/notice.ts'
import { StartError } from '../base/start-error.ts'
import type { Config, SnListenerConfig } from '../config/config.ts'
import { FIXED } from '../config/fixed.ts'
import { DatagramPace } from '../gateway/io/datagram-pace.ts'
import type { DatagramPort, Receive } from '../gateway/io/datagram-port.ts'
import { SerialDevice } from '../gateway/io/serial.ts'
import { mtuAt, UdpPort } from '../gateway/io/udp.ts'
import { LengthFraming, SlipFraming } from '../gateway/ports/framing.ts'
import type { PortSettings } from '../gateway/ports/port-settings.ts'
import type { RouteKey } from '../gateway/ports/route.ts'
import { portNameOf } from '../gateway/ports/route.ts'
import { MESSAGE_BYTES_MAX } from '../mqttsn/encode.ts'
import { cannotListen } from './listeners.ts'
import type { Loop } from './loop.ts'

/** The open ports for sensors. Sends each datagram through the port of its route. */
export class SnPorts {
  readonly all: readonly DatagramPort[]
  readonly #byName: ReadonlyMap<string, DatagramPort>
  readonly #pace: DatagramPace

  private constructor(ports: readonly DatagramPort[], pace: DatagramPace) {
    this.all = ports
    this.#pace = pace
    this.#byName = new Map(ports.map((port) => [port.name, port]))
  }

  /**
   * Opens all ports, or none.
   * @throws StartError that names the option, or the place in the file
   */
  static async open(config: Config, loop: Loop, notice: NoticeSink): Promise<SnPorts> {
    const open: DatagramPort[] = []
    const receive = (route: RouteKey, bytes: Uint8Array): void => loop.handle({ kind: 'datagram', route, bytes })
    const pace = new DatagramPace(receive, notice, FIXED.sn_receive_queue_bytes.value, () => loop.turns)
    try {
      for (const one of config.snListeners) open.push(await openPort(one, pace.receive, notice))
    } catch (error) {
      pace.stop()
      await Promise.all(open.map((port) => port.close()))
      throw error
    }
    const ports = new SnPorts(open, pace)
    loop.sendDatagramsBy((route, bytes) => ports.#send(route, bytes))
    return ports
  }

  /** Memory in bytes of the datagrams that wait for the next turn. */
  get waitingBytes(): number {
    return this.#pace.waitingBytes
  }

  async close(): Promise<void> {
    this.#pace.stop()
    await Promise.all(this.all.map((port) => port.close()))
  }

  /**
   * Drops datagrams for a port that is no longer configured: its sensors cannot be reached until they are heard at
   * another port.
   */
  #send(route: RouteKey, bytes: Uint8Array): void {
    this.#byName.get(portNameOf(route))?.send(route, bytes)
  }
}

async function openPort(one: SnListenerConfig, receive: Receive, notice: NoticeSink): Promise<DatagramPort> {
  const { name, device, host, port, multicastGroup, multicastPort, multicastInterface, origin } = one
  if (device !== undefined) return openSerial(one, device, receive, notice)
  const multicast = { group: multicastGroup, port: multicastPort, interface: multicastInterface, ttl: FIXED.multicast_ttl.value }
  return UdpPort.bind({ name, host, port, multicast }, receive, notice).catch((error: unknown) => {
    if (!(error instanceof Error && 'code' in error)) throw new StartError(`${origin}: ${(error as Error).message}`)
    throw cannotListen(error, host, port, origin)
  })
}

async function openSerial(one: SnListenerConfig, device: string, receive: Receive, notice: NoticeSink): Promise<DatagramPort> {
  const { name, baudRate, origin } = one
  const framing = one.framing === 'slip' ? new SlipFraming(MESSAGE_BYTES_MAX) : new LengthFraming(MESSAGE_BYTES_MAX)
  return SerialDevice.open({ name, device, baudRate, framing }, receive, notice).catch((error: unknown) => {
    throw new StartError(`${origin}: ${(error as Error).message}`)
  })
}

/** Bits on the line per octet, with start bit and stop bit. */
const BITS_PER_OCTET = 10

/** Returns the settings of a port for the core. */
export function corePort(one: SnListenerConfig): PortSettings {
  const { name, device, dutyCycle } = one
  // A rate above that of the line would only make frames wait in the serial driver.
  const bytesPerSecond =
    device === undefined || Number.isFinite(one.bytesPerSecond) ? one.bytesPerSecond : one.baudRate / BITS_PER_OCTET
  const broadcast = device === undefined ? 'multicast' : 'medium'
  return {
    name,
    maxFrame: device === undefined ? Math.min(one.maxFrame, mtuAt(one.host)) : one.maxFrame,
    defaultClientId: one.defaultClientId,
    retry: {
      tRetryMs: one.tRetry * 1000,
      nRetry: one.nRetry,
      backoff: FIXED.retry_backoff.value,
      jitter: FIXED.retry_jitter.value,
    },
    airtime: Number.isFinite(bytesPerSecond) ? { bytesPerSecond, dutyCycle: dutyCycle / 100 } : undefined,
    maxQueued: FIXED.sn_max_queued_frames.value,
    discovery:
      one.multicastGroup === 'none'
        ? undefined
        : {
            broadcast,
            tAdvSeconds: Number.isFinite(one.tAdv) ? one.tAdv : 0,
            nAdv: FIXED.n_adv.value,
            tGwinfoMs: FIXED.t_gwinfo.value * 1000,
            standby: one.standby,
            radius: FIXED.adv_radius.value,
          },
  }
}

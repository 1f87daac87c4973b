import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv6 } from 'node:net'
import { performance } from 'node:perf_hooks'
import { StartError } from '../../base/start-error.ts'
import type { Fleet } from './fleet.ts'

/** Maximum delay of setTimeout in milliseconds. */
const TIMEOUT_MAX = 2 ** 31 - 1

/** Runs a fleet in real time: each sensor has a UDP socket of its own. */
export class Radio {
  readonly #fleet: Fleet
  readonly #sockets: Socket[] = []
  #timer: NodeJS.Timeout | undefined
  #wake: (() => void) | undefined
  #failed: StartError | undefined

  private constructor(fleet: Fleet) {
    this.#fleet = fleet
  }

  /** @throws StartError if there are not enough sockets, or no route to the gateway */
  static async open(fleet: Fleet, sensors: number, address: string, port: number): Promise<Radio> {
    const radio = new Radio(fleet)
    try {
      for (let i = 0; i < sensors; i++) radio.#sockets.push(await radio.#socket(i, address, port))
    } catch (error) {
      radio.close()
      const { code, message } = error as NodeJS.ErrnoException
      const where = `${isIPv6(address) ? `[${address}]` : address}:${port}`
      throw new StartError(
        code === 'EMFILE'
          ? `--sensors: ${radio.#sockets.length} sockets can be opened, and each sensor needs one (ulimit -n)`
          : `no gateway at ${where}: ${message}`,
      )
    }
    radio.run()
    return radio
  }

  /** Lets the fleet act now, and sends what it has to send. */
  run(): void {
    const fleet = this.#fleet
    const now = performance.now()
    fleet.handleTimeout(now)
    for (let out = fleet.poll(now); out !== undefined; out = fleet.poll(now)) this.#sockets[out.sensor]!.send(out.bytes)
    clearTimeout(this.#timer)
    const at = fleet.nextTimeout()
    if (at !== undefined) this.#timer = setTimeout(() => this.run(), Math.min(Math.max(0, Math.ceil(at - now)), TIMEOUT_MAX))
    if (fleet.isGone) this.#wake?.()
  }

  /** Waits for so many milliseconds, or until all sensors have gone or `interrupt` is called. @throws StartError without a gateway */
  async wait(ms: number): Promise<void> {
    if (this.#fleet.isGone) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(Math.ceil(ms), TIMEOUT_MAX))
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    if (this.#failed !== undefined) throw this.#failed
  }

  interrupt(): void {
    this.#wake?.()
  }

  close(): void {
    clearTimeout(this.#timer)
    for (const socket of this.#sockets) socket.close()
  }

  async #socket(sensor: number, address: string, port: number): Promise<Socket> {
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
    try {
      socket.connect(port, address)
      await once(socket, 'connect')
    } catch (error) {
      socket.close()
      throw error
    }
    socket.on('message', (bytes) => {
      this.#fleet.handleDatagram(performance.now(), { sensor, bytes })
      this.run()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => this.#refused(error, `${address}:${port}`))
    return socket
  }

  /** A gateway that has answered before may be restarting. */
  #refused({ code, message }: NodeJS.ErrnoException, where: string): void {
    if (this.#fleet.isAnswered) return
    this.#failed = new StartError(`no gateway at ${where}: ${code === 'ECONNREFUSED' ? 'no process listens there' : message}`)
    this.#wake?.()
  }
}

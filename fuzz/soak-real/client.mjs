import { performance } from 'node:perf_hooks'
import { MqttClient } from '../../dist/mqtt/client.js'
import { Connection } from './connection.mjs'

/** From DISCONNECT, with all acknowledgements before it, to the end of the connection. */
const GOODBYE_MS = 30_000
/** Who waits for CONNACK waits under this packet id. */
const CONNECT = 0

/** An MQTT client in real time: its session, which is `MqttClient`, and one connection after the other. */
export class Client {
  #client
  #port
  #ledger
  #options
  #onEvent
  #connection
  #leaving = false
  #timer
  /** Who waits for an answer, by the packet id of the request. */
  #waiting = new Map()

  constructor(port, ledger, options, onEvent = () => {}) {
    this.#client = new MqttClient(options)
    this.#port = port
    this.#ledger = ledger
    this.#options = options
    this.#onEvent = onEvent
  }

  get isOpen() {
    return this.#client.state === 'connected' && !this.#leaving
  }

  /**
   * Over a new socket. One that is still open is left to the broker, which has to close it: what comes over it is counted, and
   * the client takes none of it. Rejects if the broker does not let the client in.
   */
  async connect() {
    const connection = await Connection.open(this.#port, this.#ledger, this.#options)
    const ifCurrent = (what) => {
      if (this.#connection === connection) this.#act(what)
    }
    connection.listen(
      (bytes) => ifCurrent((client, now) => client.handleChunk(now, bytes)),
      () => ifCurrent((client) => client.handleClosed()),
    )
    this.#connection = connection
    this.#leaving = false
    this.#act((client, now) => client.connect(now))
    await this.#answer(CONNECT)
  }

  async subscribe(filters) {
    await this.#answer(this.#act((client, now) => client.subscribe(now, filters)))
  }

  async unsubscribe(filter) {
    await this.#answer(this.#act((client, now) => client.unsubscribe(now, [filter])))
  }

  /** Gives the packet id. QoS 1 and 2 are sent as soon as there is a connection, and room in the window of the broker. */
  publish(topic, payload, qos, retain = false) {
    const message = { topic, payload: Buffer.from(payload), qos, retain }
    const packetId = this.#act((client, now) => client.publish(now, message))
    if (packetId === undefined) throw new Error(`${this.#client.clientId}: the broker leaves too many messages waiting`)
    return packetId
  }

  /** With QoS 1 or 2, until it is acknowledged. */
  async deliver(topic, payload, qos, retain = false) {
    await this.#answer(this.publish(topic, payload, qos, retain))
  }

  /**
   * By DISCONNECT, when everything is acknowledged. The broker closes; a client that waits in vain for that goes by itself.
   */
  async leave() {
    if (!this.isOpen) return
    const connection = this.#connection
    const patience = setTimeout(() => {
      this.#ledger.problem?.(`${this.#client.clientId} was not let go after DISCONNECT`)
      connection.breakOff()
    }, GOODBYE_MS)
    this.#leaving = true
    this.#act(() => {})
    await connection.closed
    clearTimeout(patience)
  }

  /** Without a word. */
  async breakOff() {
    this.#connection.breakOff()
    await this.#connection.closed
  }

  /** Does something with the client, and then what the client wants. Gives what it returned. */
  #act(what) {
    const client = this.#client
    const result = what(client, performance.now())
    for (let out = client.poll(); out !== undefined; out = client.poll()) {
      if (out.kind === 'bytes') this.#connection.send(out.bytes)
      else if (out.kind === 'close') this.#connection.end()
      else this.#event(out)
    }
    if (this.#leaving && client.state === 'connected' && client.idle) {
      this.#connection.leaves()
      this.#act((client, now) => client.disconnect(now))
    }
    clearTimeout(this.#timer)
    const at = client.nextTimeout()
    if (at !== undefined) {
      const wake = () => this.#act((client, now) => client.handleTimeout(now))
      this.#timer = setTimeout(wake, Math.max(0, at - performance.now()))
    }
    return result
  }

  #answer(packetId) {
    return new Promise((resolve, reject) => this.#waiting.set(packetId, { resolve, reject }))
  }

  #event(event) {
    const { packetId = CONNECT, reasonCode = 0, reasonCodes = [reasonCode] } = event
    if (event.event === 'disconnected') {
      for (const { reject } of this.#waiting.values()) reject(new Error(`closed: ${event.reason}`))
      this.#waiting.clear()
    } else if (event.event !== 'message') {
      const wait = this.#waiting.get(packetId)
      this.#waiting.delete(packetId)
      if (reasonCodes.every((code) => code < 0x80)) wait?.resolve()
      else wait?.reject(new Error(`refused with ${reasonCodes}`))
    }
    this.#onEvent(event)
  }
}

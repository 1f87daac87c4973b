import { MsgType } from '../../../src/mqttsn/messages.ts'
import { COMMIT_MS, type Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

const T_RETRY_MS = 10_000
const N_RETRY = 3

/** What is due to a sensor for its last CONNECT, as far as the wire tells. */
interface Setup {
  /** What the will dialogue asks for. */
  prompt: typeof MsgType.WILLTOPICREQ | typeof MsgType.WILLMSGREQ | undefined
  /** How often it was asked, and when last. */
  times: number
  askedAt: number
  /** CONNACKs that have still to come. */
  connacks: number
  /** CONNECTs without a CONNACK so far: each may have been refused, by a CONNACK that waits for airtime. */
  refusable: number
  /** CONNACK has come since the last CONNECT, or may have come in the process before. */
  answered: boolean
  /** It has sent DISCONNECT, whose answer ends all that. */
  leaves: boolean
}

const NOTHING: Setup = { prompt: undefined, times: 0, askedAt: 0, connacks: 0, refusable: 0, answered: false, leaves: false }

/**
 * CONNACK, WILLTOPICREQ and WILLMSGREQ come only in answer to CONNECT or to a part of its will dialogue [1.2 sections 6.2, 6.3]: one CONNACK for each, and
 * each prompt at most N_retry times again, not before T_retry. Nothing of it follows the answer to a DISCONNECT, or a crash.
 */
export class SetupAnswers extends SiteChecker {
  readonly name = 'connection setup is in answer'
  readonly #setups = new Map<string, Setup>()

  datagramIn(sensor: Sensor, datagram: Uint8Array, route: string): void {
    const message = messageOf(datagram)
    if (message === undefined) return
    const setup = this.#of(sensor)
    if (route !== sensor.route) {
      // What comes from where it was before is answered there, unless its next CONNECT comes before the broker's answer.
      const isWhole = message.type === MsgType.WILLMSG || (message.type === MsgType.CONNECT && !message.will)
      if (isWhole) setup.connacks = Math.max(1, setup.connacks)
      return
    }
    switch (message.type) {
      case MsgType.CONNECT: {
        // An answer that the broker has still to give stands, if the next CONNECT has a dialogue before it reaches the broker.
        // The operator has ended its session, which it has not been told: what it had asked for is answered before that.
        const isEnded = this.site.operator.ended.has(`sn:${sensor.client.clientId}`)
        const connacks = (isEnded || message.will ? Math.min(1, setup.connacks) : 0) + (message.will ? 0 : 1)
        const refusable = setup.refusable + 1
        Object.assign(setup, NOTHING, { connacks, refusable, prompt: message.will ? MsgType.WILLTOPICREQ : undefined })
        return
      }
      case MsgType.WILLTOPIC:
        if (setup.prompt !== undefined) Object.assign(setup, { prompt: MsgType.WILLMSGREQ, times: 0 })
        return
      case MsgType.WILLMSG:
        if (this.#isActive(sensor)) {
          // Its CONNACK was lost, or waits for airtime. Of a dialogue that has come to nothing there was none.
          if (setup.answered || setup.connacks > 0) setup.connacks++
        } else if (setup.prompt === MsgType.WILLMSGREQ) Object.assign(setup, { prompt: undefined, connacks: 1 })
        return
      case MsgType.DISCONNECT:
        Object.assign(setup, { prompt: undefined, leaves: true })
        return
      default:
    }
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const setup = this.#of(sensor)
    switch (message?.type) {
      case MsgType.WILLTOPICREQ:
      case MsgType.WILLMSGREQ:
        this.#prompted(sensor, setup, message.type)
        return
      case MsgType.CONNACK: {
        const isRefused = message.returnCode !== 0
        const mayWait = this.site.setup.airtime !== null && setup.refusable > 0
        const isDue = setup.connacks > 0 || (isRefused && (setup.prompt !== undefined || mayWait))
        if (!isDue) this.#say(sensor, 'CONNACK')
        const connacks = isRefused ? 0 : Math.max(0, setup.connacks - 1)
        const refusable = Math.max(0, setup.refusable - 1)
        Object.assign(setup, { prompt: undefined, connacks, refusable, answered: setup.answered || !isRefused })
        return
      }
      case MsgType.DISCONNECT:
        if (setup.leaves) Object.assign(setup, NOTHING)
        return
      default:
    }
  }

  #prompted(sensor: Sensor, setup: Setup, type: Setup['prompt']): void {
    const { world, setup: site } = this.site
    const { now } = world.schedule
    // Copies that wait for airtime, or for a slow disk, may be overtaken by the answer to the first.
    const mayWait = site.airtime !== null || world.store.delayMs !== COMMIT_MS || world.store.stalled
    const isOpen = setup.prompt === type || (mayWait && (setup.prompt !== undefined || setup.connacks > 0))
    if (!isOpen) this.#say(sensor, type === MsgType.WILLTOPICREQ ? 'WILLTOPICREQ' : 'WILLMSGREQ')
    if (setup.prompt !== type) return
    if (setup.times > N_RETRY) this.tell(`${sensor.client.clientId} was asked for its will ${setup.times + 1} times`)
    const waited = now - setup.askedAt
    // The first one may have waited for a commit.
    if (setup.times > 0 && !mayWait && waited + 2 * COMMIT_MS < T_RETRY_MS)
      this.tell(`${sensor.client.clientId} was asked for its will again after ${waited} ms`)
    Object.assign(setup, { times: setup.times + 1, askedAt: now })
  }

  #say(sensor: Sensor, what: string): void {
    this.tell(`${sensor.client.clientId} was sent ${what}, and nothing that it has said asks for that`)
  }

  #isActive({ client, route }: Sensor): boolean {
    const known = this.site.world.server.gateway.client(client.clientId)
    return known?.state === 'active' && known.route === route
  }

  /** The next process knows nothing of a CONNECT that was not answered. */
  crashed(): void {
    for (const setup of this.#setups.values()) Object.assign(setup, NOTHING, { answered: true })
  }

  #of({ client: { clientId } }: Sensor): Setup {
    const setup = this.#setups.get(clientId) ?? { ...NOTHING }
    this.#setups.set(clientId, setup)
    return setup
  }
}

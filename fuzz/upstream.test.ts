import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Outgoing, OutgoingType } from '../src/mqtt/link.ts'
import { type Packet, PacketType } from '../src/mqtt/packets.ts'
import { NO_PROPERTIES } from '../src/mqtt/properties.ts'
import { Publish, type QoS } from '../src/mqtt/publish.ts'
import type { UpstreamLinkOwner } from '../src/upstream/link-owner.ts'
import type { UpstreamLink } from '../src/upstream/upstream-link.ts'
import { connectPacket, Dialling, response } from '../test/upstream/pair.ts'
import { type Answer, ScriptedFar } from '../test/upstream/scripted-far.ts'
import { runs } from './runs.ts'

const { CONNECT, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP } = PacketType

type Step =
  /** A message from here, or from there. */
  | { readonly do: 'send' | 'receive'; readonly qos: QoS; readonly topic: number }
  /** So many answers that are owed: by the far side, by the owner; and packets of the far side that arrive. */
  | { readonly do: 'answer' | 'acknowledge' | 'arrive'; readonly count: number }
  /** 'reconnect': the stream breaks, and CONNACK of the next one has arrived. */
  | { readonly do: 'reconnect' | 'close' | 'lose-session' | 'away' | 'listen' | 'unknown' }
  /** The next PUBLISH is refused with this code, or the stream is closed after it. */
  | { readonly do: 'refuse'; readonly code: number }
  | { readonly do: 'wait'; readonly ms: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constantFrom('send' as const, 'receive' as const),
      qos: fc.constantFrom<QoS>(0, 1, 1, 2, 2),
      topic: fc.nat(3),
    }),
  },
  {
    weight: 15,
    arbitrary: fc.record({
      do: fc.constantFrom('answer' as const, 'acknowledge' as const, 'arrive' as const),
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 4, arbitrary: fc.constant({ do: 'reconnect' as const }) },
  { weight: 2, arbitrary: fc.constant({ do: 'lose-session' as const }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('close' as const, 'listen' as const, 'unknown' as const, 'away' as const) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('refuse' as const), code: fc.constantFrom(0x80, 0x87, 0x97, -1) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 1, 900, 5_000, 70_000) }) },
)

interface Sent {
  readonly n: number
  readonly qos: QoS
  /** As the owner sees it. */
  done: 'open' | 'done' | 'given up'
  /** PUBREC said that it is given up, and may have arrived. */
  isLost: boolean
}

/** The lowest packet id that is free: each is used again as soon as it may be. */
function lowest(used: { has(id: number): boolean }): number {
  let id = 1
  while (used.has(id)) id++
  return id
}

/** What a bridge does with a link: messages with packet ids of its own, receipts of QoS 2, answers that take a while. */
class Owner implements UpstreamLinkOwner {
  readonly wrong: string[] = []
  readonly sent: Sent[] = []
  readonly inFlight = new Map<number, Sent>()
  /** Messages of the far side that were taken, by their number. */
  readonly got = new Map<number, number>()
  readonly receipts = new Set<number>()
  readonly owed: Packet[] = []

  upstreamReady(now: number, link: UpstreamLink): void {
    for (let out = link.poll(now); out !== undefined; out = link.poll(now)) this.#take(out)
  }

  #take(out: Outgoing): void {
    if (out.type === OutgoingType.DELIVERY) {
      const { packetId, qos, message } = out
      if (qos === 2 && this.receipts.has(packetId)) {
        this.owed.push(response(PUBREC, packetId))
        return
      }
      const n = Number(Buffer.from(message.payload).toString())
      this.got.set(n, (this.got.get(n) ?? 0) + 1)
      if (qos === 2) this.receipts.add(packetId)
      if (qos > 0) this.owed.push(response(qos === 1 ? PUBACK : PUBREC, packetId))
    } else if (out.type === PUBREL) {
      this.receipts.delete(out.packetId)
      this.owed.push(response(PUBCOMP, out.packetId))
    } else if (out.type === PUBACK || out.type === PUBREC || out.type === PUBCOMP) {
      const message = this.inFlight.get(out.packetId)
      if (message?.done !== 'open') this.wrong.push(`packet type ${out.type} for ${out.packetId}, which is not in flight`)
      else if (out.type === PUBREC && out.reasonCode < 0x80) {
        if (out.reasonCode === 0x10) message.isLost = true
        this.owed.push(response(PUBREL, out.packetId))
      } else {
        message.done = out.reasonCode < 0x80 && !message.isLost ? 'done' : 'given up'
        this.inFlight.delete(out.packetId)
      }
    }
  }
}

interface Away {
  readonly n: number
  readonly qos: QoS
  phase: 'sent' | 'released'
}

/** A far side that keeps its part of the protocol, as long as it keeps its session, and closes, refuses and forgets at will. */
class Broker {
  readonly far: ScriptedFar
  /** Times that each message was taken. */
  readonly taken = new Map<number, number>()
  readonly firstTaken: number[] = []
  readonly acknowledged: Away[] = []
  losses = 0
  hasSession = false
  readonly #near: Dialling
  readonly #owner: Owner
  readonly #receipts = new Set<number>()
  readonly #away = new Map<number, Away>()
  #owed: (() => void)[] = []
  #fate = 0
  isHealthy = false

  constructor(near: Dialling, owner: Owner) {
    this.#near = near
    this.#owner = owner
    this.far = new ScriptedFar(near)
    this.far.onItsWay = []
    this.far.script = (packet) => this.#script(packet)
  }

  #script(packet: Packet): Answer | 'usual' {
    if (packet.type === CONNECT) {
      this.#owed = []
      this.far.sessionPresent = this.hasSession
      if (!this.hasSession) this.#forget()
      this.hasSession = true
      const again = [...this.#away].map(([id, { n, qos, phase }]) =>
        phase === 'released' ? response(PUBREL, id) : message(n, qos, id, true),
      )
      return [this.far.accept(0), ...again]
    }
    if (packet.type === PUBLISH) return this.#publish(packet)
    if (packet.type === PUBREL) {
      this.#receipts.delete(packet.packetId)
      return this.#answer(response(PUBCOMP, packet.packetId))
    }
    const away = this.#away.get('packetId' in packet ? packet.packetId : 0)
    if (packet.type === PUBREC && away?.qos === 2) {
      if (away.phase === 'sent') this.#acknowledged(away)
      away.phase = 'released'
      return response(PUBREL, packet.packetId)
    }
    if (packet.type === PUBACK && away?.qos === 1) {
      this.#acknowledged(away)
      this.#away.delete(packet.packetId)
    }
    if (packet.type === PUBCOMP && away?.phase === 'released') this.#away.delete(packet.packetId)
    return packet.type === PUBREC || packet.type === PUBACK || packet.type === PUBCOMP ? undefined : 'usual'
  }

  /** It may forget the message: the owner must have it. */
  #acknowledged(away: Away): void {
    this.acknowledged.push(away)
    if (!this.#owner.got.has(away.n)) this.#owner.wrong.push(`message ${away.n} is acknowledged, and has not come`)
  }

  arrive(count: number): void {
    for (const each of this.far.onItsWay!.splice(0, count)) each()
  }

  #publish({ packetId, qos, payload }: Publish): Answer {
    const fate = this.#fate
    this.#fate = 0
    if (fate < 0) return 'close'
    // Not a copy of what it has taken: after a PUBREC that refuses, the next message under the packet id is a new one [5.0 MQTT-4.3.3-9].
    const isTaken = qos === 2 && this.#receipts.has(packetId)
    if (fate > 0 && qos > 0 && !isTaken) return response(qos === 1 ? PUBACK : PUBREC, packetId, fate)
    const n = Number(Buffer.from(payload).toString())
    if (!isTaken) {
      if (!this.taken.has(n)) this.firstTaken.push(n)
      this.taken.set(n, (this.taken.get(n) ?? 0) + 1)
    }
    if (qos === 0) return undefined
    if (qos === 2) this.#receipts.add(packetId)
    return this.#answer(response(qos === 1 ? PUBACK : PUBREC, packetId))
  }

  #answer(answer: Packet): Answer {
    if (this.isHealthy) return answer
    const { stream } = this.far
    this.#owed.push(() => this.far.send(answer, stream))
    return undefined
  }

  answer(count: number): void {
    for (const answer of this.#owed.splice(0, count)) answer()
  }

  send(n: number, qos: QoS): void {
    if (this.#near.streams.size === 0 || !this.hasSession) return
    const id = qos === 0 ? 0 : lowest(this.#away)
    if (id > 20) return
    if (id > 0) this.#away.set(id, { n, qos, phase: 'sent' })
    this.far.send(message(n, qos, id, false))
  }

  refuse(code: number): void {
    this.#fate = code
  }

  loseSession(): void {
    this.losses++
    this.hasSession = false
  }

  #forget(): void {
    this.#receipts.clear()
    this.#away.clear()
  }

  get isQuiet(): boolean {
    return this.#away.size === 0
  }
}

function message(n: number, qos: QoS, packetId: number, dup: boolean): Publish {
  const made = Publish.of(`topic/${n % 3}`, Buffer.from(`${n}`), qos, false, packetId)
  made.dup = dup
  return made
}

function live(steps: readonly Step[], version: 4 | 5, receiveMaximum: number): void {
  const near = new Dialling()
  const owner = new Owner()
  const broker = new Broker(near, owner)
  const { far } = broker
  far.connack = { receiveMaximum, topicAliasMaximum: 2 }
  const link = near.open(owner as never, { window: 8 }, { version })
  link.send(near.now, connectPacket())
  near.advance(0)
  let n = 0
  let isListening = true
  const settle = (): void => {
    near.run()
    near.wipe()
  }
  for (const step of steps) {
    if (step.do === 'send') {
      const packetId = step.qos === 0 ? 0 : lowest(owner.inFlight)
      if (packetId <= 8 && (step.qos > 0 || link.state === 'open')) {
        const sent: Sent = { n: ++n, qos: step.qos, done: 'open', isLost: false }
        owner.sent.push(sent)
        if (packetId > 0) owner.inFlight.set(packetId, sent)
        link.send(near.now, message(n, step.qos, packetId, false))
      }
    } else if (step.do === 'receive') broker.send(++n, step.qos)
    else if (step.do === 'answer') broker.answer(step.count)
    else if (step.do === 'arrive') broker.arrive(step.count)
    else if (step.do === 'acknowledge') for (const each of owner.owed.splice(0, step.count)) link.send(near.now, each)
    else if (step.do === 'close') near.breakAll('closed by the far side')
    else if (step.do === 'reconnect' || step.do === 'lose-session') {
      if (step.do === 'lose-session') broker.loseSession()
      near.breakAll('closed by the far side')
      // What was on its way is lost with the stream.
      broker.arrive(Number.POSITIVE_INFINITY)
      for (let i = 0; i < 80 && near.streams.size === 0 && far.away.size === 0; i++) near.advance(1_000)
      broker.arrive(1)
    } else if (step.do === 'away') {
      far.away.add('mqtt://far:1883')
      near.breakAll('closed by the far side')
      near.advance(20_000)
      far.away.clear()
    } else if (step.do === 'listen') {
      isListening = !isListening
      link.listen(near.now, isListening)
    } else if (step.do === 'unknown' && near.streams.size > 0) {
      for (const type of [PUBACK, PUBREC, PUBCOMP] as const) far.send(response(type, 30_000))
    } else if (step.do === 'refuse') broker.refuse(version === 5 || step.code < 0 ? step.code : 0)
    else if (step.do === 'wait') near.advance(step.ms)
    settle()
  }
  far.away.clear()
  broker.refuse(0)
  broker.isHealthy = true
  broker.arrive(Number.POSITIVE_INFINITY)
  far.onItsWay = undefined
  link.listen(near.now, true)
  near.breakAll('the last time')
  for (let i = 0; i < 200 && (link.inFlight > 0 || owner.owed.length > 0 || !broker.isQuiet); i++) {
    near.advance(10_000)
    for (const each of owner.owed.splice(0)) link.send(near.now, each)
    settle()
  }
  check(
    owner,
    broker,
    link,
    near,
    steps.some((each) => each.do === 'refuse'),
  )
}

/** `isRefusing`: later messages may have overtaken one that was refused. */
function check(owner: Owner, broker: Broker, link: UpstreamLink, near: Dialling, isRefusing: boolean): void {
  expect(owner.wrong).toEqual([])
  // Everything is answered, once, and what counts as delivered was.
  expect(link.inFlight).toBe(0)
  expect(owner.inFlight.size).toBe(0)
  expect(broker.isQuiet).toBe(true)
  for (const { n, qos, done } of owner.sent) {
    const taken = broker.taken.get(n) ?? 0
    if (qos > 0) expect(done, `message ${n}`).not.toBe('open')
    if (done === 'done') expect(taken, `message ${n} of QoS ${qos}`).toBeGreaterThanOrEqual(1)
    if (qos === 0 || (qos === 2 && broker.losses === 0)) expect(taken, `message ${n} of QoS ${qos}`).toBeLessThanOrEqual(1)
  }
  expect(link.status.givenUp).toBeGreaterThanOrEqual(owner.sent.filter(({ done }) => done === 'given up').length)
  for (const { n, qos } of broker.acknowledged) {
    const got = owner.got.get(n) ?? 0
    expect(got, `message ${n} from the far side`).toBeGreaterThanOrEqual(1)
    if (qos === 2 && broker.losses === 0) expect(got, `message ${n} from the far side`).toBe(1)
  }
  if (!isRefusing) {
    const guaranteed = new Set(owner.sent.flatMap(({ n, qos }) => (qos > 0 ? n : [])))
    const order = broker.firstTaken.filter((n) => guaranteed.has(n))
    expect(order).toEqual(order.toSorted((a, b) => a - b))
  }
  expect(near.upstream.held.sum).toBe(0)
  expect(link.inbound.unanswered).toBe(0)
}

test('whatever a far side does, nothing crashes, and every message is accounted for', { timeout: 120_000 }, () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 80, size: 'max' }),
      fc.constantFrom<4 | 5>(4, 5),
      fc.constantFrom(1, 2, 8, 65_535),
      (steps, version, receiveMaximum) => live(steps, version, receiveMaximum),
    ),
    { ...runs(300) },
  )
})

test('garbage from the first byte on crashes nothing', { timeout: 120_000 }, () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 5 }),
      fc.boolean(),
      (chunks, afterConnack) => {
        const near = new Dialling()
        const far = new ScriptedFar(near)
        far.script = (packet) => (packet.type === CONNECT && !afterConnack ? undefined : 'usual')
        const link = near.open(new Owner() as never)
        link.send(near.now, connectPacket({ properties: NO_PROPERTIES }))
        near.advance(0)
        for (const chunk of chunks) {
          if (near.streams.size > 0) far.raw(chunk)
          near.run()
          near.advance(2_000)
        }
        link.lost(near.now, 'the end')
        near.run()
        expect(near.streams.size).toBe(0)
      },
    ),
    { ...runs(300) },
  )
})

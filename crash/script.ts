import { type SensorPeer, Stage, type StageOptions, type TcpPeer } from './stage.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text)
const textOf = (payload: Uint8Array): string => Buffer.from(payload).toString()

/** The clients of the script, which note what they were told. */
class Cast {
  readonly stage: Stage
  /** Texts that each client got, in order. */
  readonly got = new Map<string, string[]>()
  /** QoS 1 and 2 messages on their way, by client and packet or message id. */
  readonly #open = new Map<string, () => void>()
  /** What was asked for and granted: `s subscribed 1`. */
  readonly granted = new Set<string>()
  /** Sensors that were told to connect again, which nobody should be. */
  readonly lost: string[] = []
  #fresh: string[] = []
  readonly #settled = new Set<string>()
  #killed = false

  constructor(stage: Stage) {
    this.stage = stage
  }

  tcp(clientId: string, options: Partial<Parameters<Stage['tcp']>[0]> = {}): TcpPeer {
    const peer = this.stage.tcp({ clientId, properties: { sessionExpiryInterval: 86_400 }, ...options })
    peer.onEvent = (event) => {
      if (event.event === 'message') {
        const text = textOf(event.message.payload)
        if (text === 'new will' && event.message.topic !== 'gone/new')
          this.stage.violated('a will was published on its old topic')
        this.#receive(clientId, text)
      } else if (event.event === 'published') this.#published(`${clientId} ${event.packetId}`, event.reasonCode)
      else if (event.event === 'subscribed' || event.event === 'unsubscribed') this.granted.add(`${clientId} ${event.packetId}`)
      else if (event.event === 'refused') this.stage.violated(`${clientId} was refused with ${event.reasonCode}`)
      else if (event.event === 'connected') {
        // CONNACK was the promise that the session is kept.
        const kept = options.cleanStart !== true && this.granted.has(`${clientId} session`)
        if (!event.sessionPresent && kept) this.stage.violated(`${clientId} lost its session`)
        this.granted.add(`${clientId} session`)
      }
    }
    return peer
  }

  sensor(clientId: string, options: Partial<Parameters<Stage['sensor']>[0]> = {}): SensorPeer {
    const peer = this.stage.sensor({ clientId, cleanSession: false, ...options })
    peer.onEvent = (event) => {
      if (event.event === 'message') {
        const text = textOf(event.message.data)
        const topic = this.stage.ledger.sent.get(text)?.topic
        if (event.topic !== topic) this.stage.violated(`${clientId} took "${text}" on ${topic} for one on ${event.topic}`)
        this.#receive(clientId, text)
      } else if (event.event === 'published') this.#published(`${clientId} ${event.msgId}`, event.returnCode)
      else if (event.event === 'timedOut') this.stage.violated(`${clientId} never got ${event.awaiting}`)
      else if (event.event === 'disconnected') this.lost.push(clientId)
      else if (event.event === 'refused') this.stage.violated(`${clientId} was refused with ${event.returnCode}`)
      else if (event.event === 'registered') this.#registered(clientId, event.topicName, event.topicId)
      this.granted.add(`${clientId} ${event.event}`)
    }
    return peer
  }

  /** A name keeps its id for the life of a session. */
  readonly topicIds = new Map<string, number>()
  #registered(clientId: string, topicName: string, topicId: number): void {
    const name = `${clientId} ${topicName}`
    const known = this.topicIds.get(name)
    if (known !== undefined && known !== topicId) this.stage.violated(`${name} had the topic id ${known}, and now ${topicId}`)
    this.topicIds.set(name, topicId)
  }

  #receive(clientId: string, text: string): void {
    if (this.#settled.has(`${clientId} got ${text}`))
      this.stage.violated(`${clientId} got "${text}" again, long after it had acknowledged it`)
    this.stage.ledger.receive(clientId, text)
    if (this.stage.ledger.sent.get(text)?.publisher !== 'will') this.#fresh.push(`${clientId} got ${text}`)
    const texts = this.got.get(clientId)
    if (texts === undefined) this.got.set(clientId, [text])
    else texts.push(text)
  }

  #published(id: string, code: number): void {
    if (code >= 0x80 || (id.startsWith('n') && code > 0)) this.stage.violated(`publish ${id} was refused with ${code}`)
    this.#open.get(id)?.()
    this.#open.delete(id)
  }

  /** Publishes from a TCP client, and waits until that is acknowledged. */
  publish(peer: TcpPeer, topic: string, qos: 1 | 2, owed: string[], retain = false): string {
    const { clientId } = peer.client
    const sent = this.stage.ledger.publish(clientId, topic, qos, owed)
    this.stage.step(
      `${clientId} publishes ${sent.text}`,
      () => {
        const id = peer.client.publish(this.stage.now, { topic, payload: bytes(sent.text), qos, retain })
        this.#open.set(`${clientId} ${id}`, () => {
          sent.acknowledged = true
        })
        peer.pump()
      },
      () => sent.acknowledged,
    )
    return sent.text
  }

  publishSensor(peer: SensorPeer, topic: string, qos: 1 | 2, owed: string[]): void {
    const { clientId } = peer.client
    const sent = this.stage.ledger.publish(clientId, topic, qos, owed)
    this.stage.step(
      `${clientId} publishes ${sent.text}`,
      () => {
        const id = peer.client.publish(this.stage.now, topic, bytes(sent.text), qos)
        this.#open.set(`${clientId} ${id}`, () => {
          sent.acknowledged = true
        })
        peer.pump()
      },
      () => sent.acknowledged,
    )
  }

  connect(peer: TcpPeer): void {
    const { connects } = peer
    const connect = (): void => peer.connect()
    this.stage.step(`${peer.client.clientId} connects`, connect, () => peer.connects > connects, connect)
  }

  subscribe(peer: TcpPeer, filter: string, qos: 0 | 1 | 2): void {
    let id = 0
    const ask = (): void => {
      id = peer.client.subscribe(this.stage.now, [{ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }])
      peer.pump()
    }
    this.stage.step(`subscribes to ${filter}`, ask, () => this.granted.has(`${peer.client.clientId} ${id}`), ask)
    this.granted.delete(`${peer.client.clientId} ${id}`)
  }

  unsubscribe(peer: TcpPeer, filter: string): void {
    let id = 0
    const ask = (): void => {
      id = peer.client.unsubscribe(this.stage.now, [filter])
      peer.pump()
    }
    this.stage.step(`unsubscribes from ${filter}`, ask, () => this.granted.has(`${peer.client.clientId} ${id}`), ask)
    this.granted.delete(`${peer.client.clientId} ${id}`)
  }

  /** A sensor asks for something, and waits until it is told. */
  ask(peer: SensorPeer, event: string, what: (now: number) => void): void {
    const name = `${peer.client.clientId} ${event}`
    this.granted.delete(name)
    this.stage.step(
      name,
      () => {
        what(this.stage.now)
        peer.pump()
      },
      () => this.granted.has(name),
    )
  }

  /** Lets everything end, and notes that what came since the last time has been acknowledged for good, if there was no crash meanwhile. */
  rest(ms = 0): void {
    this.stage.rest(ms)
    if (this.stage.killed === this.#killed) for (const receipt of this.#fresh) this.#settled.add(receipt)
    this.#killed = this.stage.killed
    this.#fresh = []
  }

  /** A message that nobody publishes by `publish`. */
  expectWill(text: string): void {
    this.stage.ledger.sent.set(text, { publisher: 'will', topic: text, qos: 1, text, acknowledged: false, owed: [] })
  }

  has(clientId: string, text: string): boolean {
    return this.got.get(clientId)?.includes(text) === true
  }
}

/**
 * A scripted exchange of every kind, for TCP and MQTT-SN, with a crash at one point at most. Gives what was wrong in the end, a line each, and
 * how many points there were.
 */
export function play(options: StageOptions): { violations: string[]; points: number } {
  const stage = new Stage(options)
  try {
    perform(new Cast(stage))
  } catch (error) {
    stage.violated((error as Error).message)
  }
  const { ledger } = stage
  stage.violations.push(...ledger.missing(), ...ledger.repeated(1), ...ledger.disordered())
  return { violations: stage.violations, points: stage.points }
}

function perform(cast: Cast): void {
  for (const text of ['old will', 'new will', 'w is gone']) cast.expectWill(text)
  const s = cast.tcp('s')
  const p = cast.tcp('p')
  cast.connect(s)
  for (const [filter, qos] of [
    ['a', 2],
    ['b', 1],
    ['u', 1],
    ['up', 2],
    ['gone/#', 1],
  ] as const)
    cast.subscribe(s, filter, qos)
  // QoS 0, of what is published with QoS 2: it must not come twice either.
  const q = cast.tcp('q')
  cast.connect(q)
  cast.subscribe(q, 'a', 0)
  cast.connect(p)
  const n = sensors(cast)
  exchanges(cast, s, p, n)
  cleanSensor(cast, p)
  const p2 = restartedDevice(cast, p)
  endings(cast, p2)
  cast.rest(60_000)
}

/** A sensor with topic ids, a subscription and a will that it changes; and one that is never heard of again. */
function sensors(cast: Cast): SensorPeer {
  const n = cast.sensor('n')
  cast.ask(n, 'connected', (now) => n.client.connect(now))
  cast.ask(n, 'registered', (now) => n.client.register(now, 'up'))
  cast.ask(n, 'subscribed', (now) => n.client.subscribe(now, 'down', 2))
  const will = { topic: 'gone/old', message: bytes('old will'), qos: 1 as const, retain: false }
  const x = cast.sensor('x', { will, keepAliveSeconds: 60 })
  cast.ask(x, 'connected', (now) => x.client.connect(now))
  cast.ask(x, 'willUpdated', (now) => x.client.updateWillTopic(now, 'gone/new', 1))
  cast.ask(x, 'willUpdated', (now) => x.client.updateWillMessage(now, bytes('new will')))
  x.dead = true
  return n
}

function exchanges(cast: Cast, s: TcpPeer, p: TcpPeer, n: SensorPeer): void {
  const { stage } = cast
  cast.publish(p, 'b', 1, ['s'])
  cast.publish(p, 'a', 2, ['s'])
  cast.publish(p, 'a', 2, ['s'])
  cast.publish(p, 'down', 2, ['n'])
  cast.publishSensor(n, 'up', 1, ['s'])
  cast.publishSensor(n, 'up', 2, ['s'])
  cast.publish(p, 'r', 1, [], true)
  // Asleep with a backlog.
  cast.ask(n, 'asleep', (now) => n.client.sleep(now, 300))
  const backlog = [cast.publish(p, 'down', 2, ['n']), cast.publish(p, 'down', 1, ['n'])]
  cast.rest(100_000)
  if (backlog.some((text) => cast.has('n', text))) stage.violated('n was sent something in its sleep')
  cast.ask(n, 'wakeEnded', (now) => n.client.wake(now))
  // Once more, for what a crash has held up.
  cast.rest(100_000)
  cast.ask(n, 'wakeEnded', (now) => n.client.wake(now))
  for (const text of backlog) if (!cast.has('n', text)) stage.violated(`n woke and did not get ${text}`)
  cast.unsubscribe(s, 'u')
  cast.rest()
  const unwanted = cast.publish(p, 'u', 1, [])
  cast.rest()
  if (cast.has('s', unwanted)) stage.violated('s got what it had unsubscribed from')
}

/** A sensor that begins a clean session has none of the topic ids from before. */
function cleanSensor(cast: Cast, p: TcpPeer): void {
  const m = cast.sensor('m', { cleanSession: true })
  cast.ask(m, 'connected', (now) => m.client.connect(now))
  cast.ask(m, 'registered', (now) => m.client.register(now, 'm/one'))
  cast.ask(m, 'registered', (now) => m.client.register(now, 'm/two'))
  cast.topicIds.clear()
  cast.ask(m, 'connected', (now) => m.client.connect(now))
  // The other way round, so that each name has the id that was the other's.
  cast.ask(m, 'registered', (now) => m.client.register(now, 'm/two'))
  cast.ask(m, 'registered', (now) => m.client.register(now, 'm/two'))
  cast.ask(m, 'subscribed', (now) => m.client.subscribe(now, 'm/#', 1))
  cast.rest()
  cast.publish(p, 'm/one', 1, ['m'])
  cast.publish(p, 'm/two', 1, ['m'])
  cast.rest()
}

/** A publisher that lost its memory begins its packet ids anew: none of them may count as taken in already. */
function restartedDevice(cast: Cast, p: TcpPeer): TcpPeer {
  cast.rest()
  p.vanish()
  const p2 = cast.tcp('p')
  cast.connect(p2)
  for (let i = 0; i < 4; i++) cast.publish(p2, 'a', 2, ['s'])
  // What was acknowledged a while ago does not come again.
  cast.rest()
  return p2
}

function endings(cast: Cast, p: TcpPeer): void {
  const { stage } = cast
  // A session that begins anew has none of the old subscriptions.
  const c = cast.tcp('c')
  cast.connect(c)
  cast.subscribe(c, 'old', 1)
  c.vanish()
  cast.granted.delete('c session')
  const c2 = cast.tcp('c', { cleanStart: true })
  cast.connect(c2)
  c2.vanish()
  const c3 = cast.tcp('c')
  cast.connect(c3)
  cast.subscribe(c3, 'new', 1)
  const old = cast.publish(p, 'old', 1, [])
  cast.publish(p, 'new', 1, ['c'])
  cast.rest()
  if (cast.has('c', old)) stage.violated('c got what a session before its own had subscribed to')
  // A will, and a client that is never heard of again.
  const w = cast.tcp('w', {
    properties: {},
    cleanStart: true,
    will: { topic: 'gone/w', payload: bytes('w is gone'), qos: 1, retain: false, properties: {} },
  })
  w.returns = false
  cast.connect(w)
  // An expiry clock that runs from the end of the conversation, crash or not.
  const e = cast.tcp('e', { properties: { sessionExpiryInterval: 1000 } })
  cast.connect(e)
  cast.rest()
  e.vanish()
  cast.rest(600_000)
  if (w.connection !== undefined) w.vanish()
  cast.publish(p, 'b', 1, ['s'])
  cast.rest(600_000)
  for (const text of ['w is gone', 'new will']) {
    if (!cast.has('s', text)) stage.violated(`the will "${text}" was not published`)
  }
  if (cast.has('s', 'old will')) stage.violated('a will that was replaced was published')
  if (stage.server.broker.sessions.get('mqtt', 'e') !== undefined) stage.violated('the session of e outlived its expiry')
  // What is retained is there for who comes now.
  const late = cast.tcp('late')
  cast.connect(late)
  cast.subscribe(late, 'r', 1)
  cast.rest()
  if (!cast.got.has('late')) stage.violated('late did not get the retained message')
  if (cast.lost.length > 0) stage.violated(`${cast.lost} had to connect again`)
}

// The MQTT clients of the fuzzer of memory, over TCP, TLS and WebSocket. Their sessions last longer than they do, and most of them come back to one.
import { Client, CONNECT } from './started.mjs'

const CLIENTS_MAX = 150
/** Sessions that somebody may come back to; whoever is no longer among them stays away for good. */
const NAMES_MAX = 3000
const RETAINED_MAX = 1000
/** What a socket of ours holds is our memory. */
const UNSENT_MAX = 4_000_000
const ACK = { 3: [undefined, 4, 5], 5: 6, 6: 7 }

export class Clients {
  #list = []
  #opening = 0
  #names = []
  #retained = []

  constructor(roost, dice, users) {
    this.roost = roost
    this.dice = dice
    this.users = users
    this.transports = ['tcp', 'tls', 'ws'].filter((transport) => transport === 'tcp' || roost.ports[transport] !== undefined)
  }

  step() {
    const { dice } = this
    this.#list = this.#list.filter(({ socket }) => !socket.closed)
    const open = this.#list.length + this.#opening
    if (open === 0 || (open < CLIENTS_MAX && dice.oneIn(15))) return void this.#connect(this.#name())
    if (this.#list.length === 0) return
    if (dice.oneIn(50)) return this.#leave()
    const client = dice.pick(this.#list)
    if (client.socket.writableLength < UNSENT_MAX) this.#act(client)
  }

  /** Ends sessions, and clears topics, so that what is full fills up once more. */
  async ebb() {
    for (const name of this.#names.splice(0)) await this.#connect(name, { cleanStart: true }, true)
    const client = this.#list.find(({ socket }) => !socket.closed)
    for (const topic of client ? this.#retained.splice(0) : [])
      if (topic !== undefined) client.publish(topic, '', { retain: true })
  }

  end() {
    for (const client of this.#list) client.end()
  }

  #name() {
    const { dice } = this
    if (this.#names.length > 0 && dice.oneIn(2)) return dice.pick(this.#names)
    // Their passwords are hashed, which takes more of a processor than all the rest.
    const isKnown = this.users.length > 0 && dice.oneIn(20)
    const username = dice.pick(isKnown ? this.users : [undefined, 'a', 'b', 'c', 'd'])
    const name = {
      // One user for each, or the session would belong to somebody else.
      clientId: `${username} ${dice.below(1e6)} ${dice.text(200)}`,
      username: isKnown ? username : username && username + dice.text(1000),
      password: isKnown ? Buffer.from('right') : undefined,
    }
    if (this.#names.length < NAMES_MAX) this.#names.push(name)
    else this.#names[dice.below(NAMES_MAX)] = name
    return name
  }

  async #connect(name, options = this.#options(), isBrief = false) {
    const { dice } = this
    const transport = dice.pick(this.transports)
    const port = transport === 'tcp' ? this.roost.port : this.roost.ports[transport]
    const version = dice.pick([4, 5, 5])
    const answers = dice.pick(['nothing', 'halves', 'all', 'all'])
    const each = (packet) => this.#answer(client, packet, answers)
    const count = answers === 'nothing'
    let client
    this.#opening++
    try {
      client = await Client.open(port, { localAddress: dice.address(), transport, version, count, each })
    } finally {
      this.#opening--
    }
    client.filters = []
    client.send({ ...CONNECT, ...name, ...options, protocolVersion: version })
    if (isBrief) client.socket.end()
    this.#list.push(client)
  }

  #options() {
    const { dice } = this
    const lasts = dice.below(4) > 0
    const userProperties = Array.from({ length: dice.size(100) }, () => [dice.text(50), dice.text(200)])
    const will = {
      topic: dice.topic(),
      payload: dice.bytes(30_000),
      qos: dice.below(3),
      retain: dice.oneIn(2),
      properties: { ...dice.messageProperties(), ...(dice.oneIn(2) && { willDelayInterval: dice.below(60) }) },
    }
    return {
      cleanStart: !lasts,
      properties: { userProperties, ...(lasts && { sessionExpiryInterval: dice.pick([10, 3600, 3600]) }) },
      ...(dice.oneIn(3) && { will }),
    }
  }

  /** Halves are a PUBREC without PUBCOMP, and a PUBLISH of ours without PUBREL. */
  #answer(client, { type, qos, packetId }, answers) {
    const ack = type === 3 ? ACK[3][qos] : ACK[type]
    if (ack === undefined || (answers === 'halves' && type !== 3)) return
    client.send({ type: ack, packetId, reasonCode: 0, properties: {} })
  }

  #leave() {
    const { dice } = this
    const [client] = this.#list.splice(dice.below(this.#list.length), 1)
    if (dice.oneIn(2) && !client.socket.closed) client.send({ type: 14, reasonCode: dice.pick([0, 4]), properties: {} })
    client.end()
  }

  #act(client) {
    this.dice.weighted([
      [6, this.#subscribe],
      [2, this.#unsubscribe],
      [3, this.#retain],
      [6, this.#publish],
      [2, this.#halves],
      [1, this.#halfPacket],
      [2, this.#alias],
      [3, this.#pause],
    ])(client)
  }

  #packetId() {
    return 1 + this.dice.below(60_000)
  }

  #subscribe = (client) => {
    const { dice } = this
    const subscriptions = Array.from({ length: 1 + dice.size(50) }, () => ({
      filter: dice.filter(),
      qos: dice.below(3),
      noLocal: false,
      retainAsPublished: dice.oneIn(2),
      retainHandling: dice.below(3),
    }))
    const properties = dice.oneIn(2) ? {} : { subscriptionIdentifiers: [1 + dice.below(1000)], userProperties: [['a', 'b']] }
    client.send({ type: 8, packetId: this.#packetId(), subscriptions, properties })
    client.filters = [...subscriptions.map(({ filter }) => filter), ...client.filters].slice(0, 100)
  }

  #unsubscribe = (client) => {
    const filters = client.filters.splice(0, 1 + this.dice.size(client.filters.length))
    if (filters.length > 0) client.send({ type: 10, packetId: this.#packetId(), filters, properties: {} })
  }

  #retain = (client) => {
    const { dice } = this
    const topic = dice.topic()
    const properties = dice.messageProperties()
    client.publish(topic, dice.bytes(300_000), { qos: 1, packetId: this.#packetId(), retain: true, properties })
    this.#retained[dice.below(RETAINED_MAX)] = topic
  }

  #publish = (client) => {
    const { dice } = this
    const properties = dice.messageProperties()
    client.publish(dice.busyTopic(), dice.bytes(dice.oneIn(100) ? 4_000_000 : 200_000), {
      qos: dice.below(3),
      packetId: this.#packetId(),
      properties,
    })
  }

  /** Packet ids that are taken in, and hardly ever released. */
  #halves = (client) => {
    const { dice } = this
    const first = this.#packetId()
    for (let i = dice.size(1000); i >= 0; i--) client.publish(dice.busyTopic(), '', { qos: 2, packetId: first + i })
  }

  /** The beginning of a packet, and nothing more of it: what follows is read as part of it. */
  #halfPacket = (client) => {
    client.socket.write(Buffer.from([0x30, 0xff, 0xff, this.dice.below(0x70)]))
    client.socket.write(this.dice.bytes(2_000_000))
  }

  #alias = (client) => {
    const { dice } = this
    client.publish(`${dice.below(1000)}/${dice.text(5000)}`, '', { properties: { topicAlias: 1 + dice.below(10) } })
  }

  /** Readers that stop reading, and return to it. */
  #pause = (client) => {
    if (client.socket.isPaused()) client.socket.resume()
    else client.socket.pause()
  }
}

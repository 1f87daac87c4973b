// The sensors of the fuzzer of memory, each with a socket of its own or behind a forwarder: long names, wills, subscriptions, sleep, halves of QoS 2.
import { createSocket } from 'node:dgram'
import { decodeMessage } from '../../../dist/mqttsn/decode.js'
import { encodedMessage, messageLength } from '../../../dist/mqttsn/encode.js'
import { unwrap, wrap } from '../../../dist/mqttsn/forwarder.js'
import { MsgType } from '../../../dist/mqttsn/messages.js'

const SENSORS_MAX = 200
const FORWARDERS_MAX = 8
/** Octets of the largest datagram, less an envelope. */
const MESSAGE_MAX = 65_400
const TOPIC_IDS_MAX = 50

/** A socket at one address with the sensors that send by it. */
class Radio {
  /** By node id; without an envelope under ''. */
  sensors = new Map()

  constructor(port, address, heard) {
    this.port = port
    this.socket = createSocket('udp4')
    this.socket.on('error', () => {})
    this.socket.bind(0, address)
    this.socket.on('message', (bytes) => {
      const { nodeId, start = 0 } = unwrap(bytes) ?? {}
      const sensor = this.sensors.get(nodeId === undefined ? '' : Buffer.from(nodeId).toString())
      if (sensor !== undefined) heard(sensor, decodeMessage(bytes, start))
    })
  }

  send(node, message) {
    if (messageLength(message) > MESSAGE_MAX) return
    const bytes = encodedMessage(message)
    this.socket.send(node === '' ? bytes : wrap(Buffer.from(node), bytes), this.port, '127.0.0.1', () => {})
  }
}

export class Sensors {
  #list = []
  #forwarders = []
  #alone = []

  constructor(roost, dice) {
    this.roost = roost
    this.dice = dice
  }

  step() {
    const { dice } = this
    if (this.#list.length === 0 || (this.#list.length < SENSORS_MAX && dice.oneIn(10))) this.#appear()
    else this.#act(dice.pick(this.#list))
  }

  /** They connect without what they had, and say goodbye. */
  ebb() {
    for (const { say, clientId } of this.#list) {
      say({ type: MsgType.CONNECT, will: false, cleanSession: true, protocolId: 1, duration: 60, clientId })
      say({ type: MsgType.DISCONNECT })
    }
  }

  end() {
    for (const { socket } of [...this.#forwarders, ...this.#alone]) socket.close()
  }

  #appear() {
    const { dice } = this
    const number = this.#list.length
    const isAlone = dice.oneIn(3)
    const radio = isAlone ? this.#radio(this.#alone) : this.#forwarder()
    const node = isAlone ? '' : `node ${number}`
    const sensor = {
      clientId: `sensor ${number}`,
      say: (message) => radio.send(node, message),
      // Others are deaf: what is sent to them is sent again, and then they are lost.
      answers: dice.pick(['all', 'all', 'halves', 'nothing']),
      topicIds: [],
      filters: [],
    }
    radio.sensors.set(node, sensor)
    this.#list.push(sensor)
    this.#connect(sensor)
  }

  #radio(list) {
    const radio = new Radio(this.roost.snPort, this.dice.address(), this.#heard)
    list.push(radio)
    return radio
  }

  #forwarder() {
    return this.#forwarders.length < FORWARDERS_MAX ? this.#radio(this.#forwarders) : this.dice.pick(this.#forwarders)
  }

  #heard = (sensor, message) => {
    const { say, answers } = sensor
    const { type, msgId, topicId } = message
    const learn = () => {
      sensor.topicIds = [topicId, ...sensor.topicIds].slice(0, TOPIC_IDS_MAX)
    }
    if (type === MsgType.WILLTOPICREQ) this.#willTopic(sensor, MsgType.WILLTOPIC)
    // Some never send it.
    else if (type === MsgType.WILLMSGREQ && !this.dice.oneIn(10)) this.#willMessage(sensor, MsgType.WILLMSG)
    else if (type === MsgType.REGACK || type === MsgType.SUBACK) learn()
    if (answers === 'nothing') return
    if (type === MsgType.REGISTER) {
      learn()
      say({ type: MsgType.REGACK, topicId, msgId, returnCode: this.dice.oneIn(10) ? 2 : 0 })
    } else if (type === MsgType.PUBLISH && message.qos === 1) say({ type: MsgType.PUBACK, topicId, msgId, returnCode: 0 })
    else if (type === MsgType.PUBLISH && message.qos === 2) say({ type: MsgType.PUBREC, msgId })
    else if (type === MsgType.PUBREC && answers === 'all') say({ type: MsgType.PUBREL, msgId })
    else if (type === MsgType.PUBREL && answers === 'all') say({ type: MsgType.PUBCOMP, msgId })
  }

  #act(sensor) {
    this.dice.weighted([
      [2, this.#connect],
      [6, this.#register],
      [6, this.#subscribe],
      [1, this.#unsubscribe],
      [6, this.#publish],
      [1, ({ say }) => say({ type: MsgType.PUBREL, msgId: this.#msgId() })],
      [2, (each) => this.#willTopic(each, MsgType.WILLTOPICUPD)],
      [2, (each) => this.#willMessage(each, MsgType.WILLMSGUPD)],
      [3, ({ say }) => say({ type: MsgType.DISCONNECT, duration: 1 + this.dice.below(120) })],
      [3, ({ say, clientId }) => say({ type: MsgType.PINGREQ, clientId })],
      [0.5, ({ say }) => say({ type: MsgType.DISCONNECT })],
    ])(sensor)
  }

  #msgId() {
    return 1 + this.dice.below(60_000)
  }

  #connect = ({ say, clientId }) => {
    const { dice } = this
    const duration = dice.pick([10, 60, 600])
    say({ type: MsgType.CONNECT, will: dice.oneIn(2), cleanSession: dice.oneIn(10), protocolId: 1, duration, clientId })
  }

  #register = ({ say }) => {
    const topicName = `${this.dice.below(100_000)}/${this.dice.text(60_000)}`
    say({ type: MsgType.REGISTER, topicId: 0, msgId: this.#msgId(), topicName })
  }

  #subscribe = (sensor) => {
    const { dice } = this
    const request = { dup: false, topicIdType: 'normal', topicName: dice.filter(), topicId: 0 }
    sensor.say({ type: MsgType.SUBSCRIBE, ...request, qos: dice.below(3), msgId: this.#msgId() })
    sensor.filters = [request, ...sensor.filters].slice(0, 20)
  }

  #unsubscribe = ({ say, filters }) => {
    const request = filters.pop()
    if (request !== undefined) say({ type: MsgType.UNSUBSCRIBE, ...request, qos: 0, msgId: this.#msgId() })
  }

  #publish = ({ say, topicIds }) => {
    const { dice } = this
    const qos = dice.below(3)
    const topic = { topicIdType: 'normal', topicId: dice.pick(topicIds) ?? 1 }
    const data = dice.bytes(60_000)
    say({ type: MsgType.PUBLISH, dup: false, qos, retain: dice.oneIn(4), ...topic, msgId: qos && this.#msgId(), data })
  }

  #willTopic({ say }, type) {
    const { dice } = this
    say({ type, topic: dice.oneIn(10) ? undefined : dice.topic(), qos: dice.below(3), retain: dice.oneIn(2) })
  }

  #willMessage({ say }, type) {
    say({ type, message: this.dice.bytes(60_000) })
  }
}

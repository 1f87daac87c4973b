/**
 * Memory taken by data structures: bytes of V8's heap and of the buffers outside it, on 64-bit systems.
 * `bench/memory.mjs` creates each structure by the ten thousand, measures what is reachable before and after a full
 * collection, and compares that with the accounting; a test holds each within 25 %. Measured on Node.js 20 and 22. Each
 * figure includes the structure's entries in the tables of maps and rings that contain it.
 */
export const COST = {
  /** A string: its header and average padding (`stringBytes`). */
  string: 16,
  /** A small `Map`: the object and its first table, for four entries. */
  map: 192,
  /** A `SmallMap` that never held more than one entry, which is stored in it. */
  smallMap: 48,
  /** An entry of a table that grows by doubling: 28 bytes in a full table, which is three quarters full on average. */
  entry: 40,
  /** A topic level in a tree, without its name and the map that contains it. */
  level: 56,
  /** The same for a retained topic. */
  retainedLevel: 72,
  /** A `Subscription` and its entry in the session's map. */
  subscription: 100,
  /** A filter of a SUBSCRIBE in progress, without its text. */
  filter: 80,
  /** A `ShareGroup` with the map of its members, and its entry among the groups. */
  shareGroup: 240,
  /** A `Route` and its entry in the cache, without receivers. */
  route: 110,
  /** A `Condition` and its entry in the table, without its text and its plan. */
  condition: 400,
  /** A `Target` of a route. */
  target: 84,
  /** A `Session` and its entry among the sessions, without its client id and author. */
  session: 600,
  /** An `Author` with its owner, without their names. */
  author: 130,
  /** The share of retained messages of a client, and of its user, and their entries. */
  retainedShare: 250,
  /** The link of a connected session: a `ClientLink` and its lanes. */
  link: 480,
  /** A pending login: its CONNECT, the authentication request, and its entry in the queue for a hash or a service. */
  login: 4500,
  /** A will, without its topic and payload. */
  will: 400,
  /** A `Publish`, without topic, packet and properties. */
  message: 253,
  /** A `SessionQueue` with its ring, without entries. */
  queue: 232,
  /** A queue entry that is the message itself (QoS 0). */
  place: 16,
  /** A queue entry with its `Queued`. */
  queued: 80,
  /** An in-flight entry: `Queued`, `Inflight` and its entry by packet id. */
  inflight: 200,
  /** The packet id of a QoS 2 message that was received and not released. */
  receipt: 50,
  /** A topic id of an MQTT-SN client: `Assigned`, and its entries by name and by id, or two `SmallMap`s for the first. */
  topicId: 150,
  /** The QoS 2 message ids of an MQTT-SN client, without the slots. */
  qos2Ids: 1000,
  /** A topic name that an MQTT-SN client has refused or not answered. */
  refusedName: 60,
  /** An MQTT-SN client in the gateway: `GatewayClient`, its parts and its route. */
  sensor: 1400,
  /** An MQTT-SN client's session at a cluster: `SensorSession`, its parts, `UpstreamLink` and its parts, without stream and filters. */
  sensorSession: 2200,
  /** A byte stream: Node's socket, what libuv keeps for it, `Connection`, `Framer` and decoder. */
  connection: 6000,
  /**
   * A byte stream to a far side: Node's socket, what libuv keeps for it, and `UpstreamStream`. Measured with `npm run bench:upstream`,
   * less the other costs.
   */
  dialled: 3000,
  /** Additional memory of a TLS connection: OpenSSL's state and buffers. */
  tls: 45_000,
  /** Additional memory of a WebSocket connection. */
  webSocket: 1700,
  /** A topic alias of a connection, without its topic. */
  alias: 100,
  /** A topic that a connection has cached by its bytes, without those bytes. */
  topicName: 250,
  /** A buffer, without its bytes. */
  buffer: 190,
} as const

/** What a queued message counts in the shares, without its topic, payload and properties: between one that is packed and others. */
export const WAITING_BYTES = 470

const TWO_BYTES = /[\u0100-\uffff]/

/** V8 stores a string in one byte per character, or in two if any character is above U+00FF. */
export const stringBytes = (text: string): number =>
  COST.string + (text.length > SHORT && TWO_BYTES.test(text) ? 2 * text.length : text.length)

/** Shorter strings are not scanned: the constants cover twice their length. */
const SHORT = 64

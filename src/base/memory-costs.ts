/**
 * What things take in memory: bytes of V8's heap and of the buffers beside it, on 64 bits. `bench/memory.mjs` fills each structure by the ten
 * thousand, measures what was reachable before and after a full collection, and compares it with what the account says; a test holds each within 25 %.
 * The figures are of Node.js 20 and 22, and contain each structure's part in the tables of the maps and rings that it stands in.
 */
export const COST = {
  /** A string: its header, and what it is rounded up by (`stringBytes`). */
  string: 16,
  /** A `Map` that holds few: the object and its first table, for four. */
  map: 192,
  /** A `SmallMap` that has never held more than one, which is in it. */
  smallMap: 48,
  /** A place in a table that grows by doubling: 28 bytes where it is full, on average three quarters of it are. */
  entry: 40,
  /** A level of a name in a tree, beside its name and the map that it stands in. */
  level: 56,
  /** A `Subscription`, and its place in the session's map. */
  subscription: 100,
  /** A filter of a SUBSCRIBE that is under way, beside its text. */
  filter: 80,
  /** A `ShareGroup` with the map of its members, and its place among the groups. */
  shareGroup: 240,
  /** A `Route` with its place in the cache, without receivers. */
  route: 110,
  /** A `Target` of a route. */
  target: 84,
  /** A `Session` with its place among the others, beside its client id and its author. */
  session: 680,
  /** An `Author` with its owner, beside their names. */
  author: 130,
  /** What a client has retained, and its place among the others. */
  retainedShare: 120,
  /** What the conversation of a session that somebody is connected to takes: a `ClientLink` and its lanes. */
  link: 900,
  /** A login that waits: its CONNECT, the question about it and its place among those that wait for a hash or a service. */
  login: 4500,
  /** A will, beside its topic and payload. */
  will: 400,
  /** A `Publish` with its buffer object, beside topic, packet and properties. */
  message: 390,
  /** A place in a queue that holds the message itself (QoS 0). */
  place: 16,
  /** A place in a queue with its `Queued`. */
  queued: 80,
  /** A place in flight: `Queued`, `Inflight` and its place by packet id. */
  inflight: 200,
  /** A QoS 2 packet id that is taken in and not released. */
  receipt: 50,
  /** A topic id of a sensor: `Assigned`, and its places by name, by number and among the known. */
  topicId: 150,
  /** A QoS 2 message id of a sensor, and its places among those of its slots and among the open. */
  qos2Id: 120,
  /** A name that a sensor has refused, or not answered. */
  refusedName: 60,
  /** A sensor, as the gateway knows it: `SnClient`, its parts and its route, and half of what its tables take once it has topic ids. */
  sensor: 1400,
  /** A byte stream: Node's socket, what libuv holds for it, `Connection`, `Framer` and decoder. */
  connection: 6000,
  /** What TLS adds to it: OpenSSL's state and buffers. */
  tls: 45_000,
  /** What WebSocket adds to it. */
  webSocket: 1700,
  /** A topic alias of a connection, beside its topic. */
  alias: 100,
  /** A topic that a connection remembers by its bytes, beside its octets. */
  topicName: 250,
  /** A buffer, beside its bytes. */
  buffer: 190,
} as const

/** What a message that waits counts for in the shares, beside its topic, payload and properties. */
export const WAITING_BYTES = COST.message + COST.queued

const TWO_BYTES = /[\u0100-\uffff]/

/** V8 keeps a string in one byte a character, or all of it in two if one of them is above U+00FF. */
export const stringBytes = (text: string): number =>
  COST.string + (text.length > SHORT && TWO_BYTES.test(text) ? 2 * text.length : text.length)

/** Shorter ones are not looked through: twice so little is in the constants. */
const SHORT = 64

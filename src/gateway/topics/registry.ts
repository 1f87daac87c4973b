import type { ByteReader, ByteWriter } from '../../base/bytes.ts'
import type { Instant } from '../../base/machine.ts'
import { COST, stringBytes } from '../../base/memory-costs.ts'
import { NameMap } from '../../base/name-map.ts'
import { SmallMap } from '../../base/small-map.ts'
import { readInteger, readNumber, readText, writeInteger, writeNumber, writeText } from '../../store/record-fields.ts'

/** The ids that a gateway assigns; from 1 to 0xFFFE, because 0x0000 and 0xFFFF are reserved [1.2 section 5.3.11]. */
export interface TopicIdRange {
  readonly from: number
  readonly to: number
}

/** Some implementations use lower numbers as predefined ids, so normal ids start at 0x0401 (ruling A11). */
export const ALL_TOPIC_IDS: TopicIdRange = { from: 0x0401, to: 0xfffe }

/** Maximum number of names, and of ids, refused by one client in one connection that are remembered. */
const REFUSED_MAX = 1000
/** Maximum memory taken by the refused names of one client, in bytes. */
const REFUSED_BYTES_MAX = 128 * 1024

/**
 * How the client got an id: undefined if it requested it (REGACK, SUBACK); otherwise the gateway offered it (REGISTER)
 * for the first time, or again after another topic had it. See `sn-topic`.
 */
export type Offered = 'first' | 'again' | undefined

interface Assigned {
  readonly id: number
  readonly name: string
  offered: Offered
  /** The client received the id in REGACK or SUBACK, or acknowledged a REGISTER of it, in any connection. */
  acknowledged: boolean
  /** Sequence number of the last use; the lowest is the least recently used. */
  used: number
  /** The connection (by number) in which the client is known to have the id. In others it is registered before it is used. */
  knownIn: number
  /** The connection in which the record of a previous process counts: the client received the id, but may have lost it since. */
  trustedIn: number
}

/** Totals of all clients. */
export interface TopicIdTotals {
  bytes: number
  count: number
}

/** No connection. */
const NEVER = -1

/**
 * The normal topic ids of one client (ruling A10). An id that the client requested keeps its topic for the life of the
 * session. An id that the gateway offered for a message may be removed if there are too many. Once all numbers have been
 * used, they are offered again, starting with the one offered longest ago; until the client has acknowledged such an id
 * with its new name, it is neither used nor accepted in a PUBLISH.
 */
export class TopicRegistry {
  #byName: SmallMap<string, Assigned> | undefined = undefined
  #byId: SmallMap<number, Assigned> | undefined = undefined
  /** The number of the connection. */
  #connection = 0
  /** Names whose REGISTER the client refused in this connection: it does not want messages on them [1.2 section 6.10]. */
  #refused: Set<string> | undefined = undefined
  /**
   * Names whose REGISTER the client has not answered in this connection, although it was heard, with topic id and message
   * id of that REGISTER.
   */
  #unanswered: Map<string, { readonly topicId: number; readonly msgId: number }> | undefined = undefined
  /** Predefined ids that the client turned out not to know. */
  #notPredefined: Set<number> | undefined = undefined
  readonly #range: TopicIdRange
  /** Ids from here on have never been assigned. */
  #nextId: number
  /** Where the search for an id to reuse continues. */
  #cursor: number
  /** When the client last acknowledged an id with another topic than before. */
  #renamedAt: Instant | undefined = undefined
  #asked = 0
  #uses = 0
  #bytes = 0
  #refusedBytes = 0
  readonly #all: TopicIdTotals

  /** `all`: totals of all registries. */
  constructor(range: TopicIdRange = ALL_TOPIC_IDS, all: TopicIdTotals = { bytes: 0, count: 0 }) {
    this.#range = range
    this.#nextId = range.from
    this.#cursor = range.from
    this.#all = all
  }

  /** Bytes of memory taken by the ids and the refused names. */
  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#byId?.size ?? 0
  }

  nameOf(id: number): string | undefined {
    const assigned = this.#byId?.get(id)
    if (assigned !== undefined) assigned.used = ++this.#uses
    return assigned?.name
  }

  /** As `nameOf`, but for traces: it does not count as a use. */
  peek(id: number): string | undefined {
    return this.#byId?.get(id)?.name
  }

  idOf(name: string): number | undefined {
    const assigned = this.#byName?.get(name)
    if (assigned !== undefined) assigned.used = ++this.#uses
    return assigned?.id
  }

  /** The ids, for people to look at: at most so many, oldest first. */
  list(most: number): Pick<Assigned, 'id' | 'name' | 'offered'>[] {
    return [...(this.#byId?.values() ?? [])].slice(0, most)
  }

  /** Returns the topic that the client means by an id, or `undefined` if that is unknown or in doubt. */
  topicOf(id: number): string | undefined {
    const assigned = this.#byId?.get(id)
    return assigned?.offered === 'again' && !assigned.acknowledged ? undefined : this.nameOf(id)
  }

  /**
   * Returns since when the id has certainly had its topic. Before that, the client may have used it for another one. (For
   * simplicity this is the same time for all ids that were offered again: the latest.)
   */
  meantSince(id: number): Instant {
    const renamedAt = this.#byId?.get(id)?.offered === 'again' ? this.#renamedAt : undefined
    return renamedAt ?? Number.NEGATIVE_INFINITY
  }

  /** Returns how the client got this id. */
  offeredAs(id: number): Offered {
    return this.#byId?.get(id)?.offered
  }

  /** True if the client requested this id. */
  isAsked(id: number): boolean {
    const assigned = this.#byId?.get(id)
    return assigned !== undefined && assigned.offered === undefined
  }

  /** True if the id had another topic before and the client may not know the new one. */
  isDoubtful(id: number): boolean {
    const assigned = this.#byId?.get(id)
    return assigned?.offered === 'again' && !assigned.acknowledged
  }

  /**
   * A REGACK that matches no open REGISTER: a delayed copy of an old REGISTER may have reached the client, with the topic
   * that this id had before.
   */
  answeredStale(id: number): void {
    if (this.#byId?.get(id)?.offered === 'again') this.markUnknown(id)
  }

  /**
   * Returns a free id, and whether it was used before, or `undefined` if there is none. Some never used ids are reserved
   * for requests of the client itself: as many as `most` allows, but at most half of all ids.
   */
  freeNumber(asked: boolean, most: number): { readonly id: number; readonly offered: Offered } | undefined {
    const { from, to } = this.#range
    const left = to - this.#nextId + 1
    if (asked) return left > 0 ? { id: this.#nextId, offered: undefined } : undefined
    const half = Math.floor((to - from + 1) / 2)
    if (left > Math.max(0, Math.min(most, half) - this.#asked)) return { id: this.#nextId, offered: 'first' }
    for (let tried = from; tried < this.#nextId; tried++) {
      const id = this.#cursor < this.#nextId ? this.#cursor : from
      this.#cursor = id + 1
      if (this.#byId?.has(id) !== true) return { id, offered: 'again' }
    }
    return undefined
  }

  /** Assigns an id to a topic name. */
  add(id: number, name: string, offered: Offered): void {
    this.remove(id)
    const before = this.#byName?.get(name)
    if (before !== undefined) this.remove(before.id)
    const used = ++this.#uses
    const assigned: Assigned = { id, name, offered, acknowledged: false, used, knownIn: NEVER, trustedIn: NEVER }
    this.#byName ??= new SmallMap()
    this.#byId ??= new SmallMap()
    this.#byName.set(name, assigned)
    this.#byId.set(id, assigned)
    this.#count(topicIdBytes(name), 1)
    if (offered === undefined) this.#asked++
    this.#nextId = Math.max(this.#nextId, id + 1)
  }

  /** The client requests an id that it was offered before. */
  markAsked(id: number): void {
    const assigned = this.#byId?.get(id)
    if (assigned === undefined || assigned.offered === undefined) return
    assigned.offered = undefined
    this.#asked++
  }

  /**
   * Withdraws an id that the client never received, as if it had not been assigned. Returns false if the client has
   * received it.
   */
  undo(id: number): boolean {
    if (this.#byId?.get(id)?.acknowledged !== false) return false
    this.remove(id)
    if (id === this.highest) this.#nextId = id
    return true
  }

  remove(id: number): void {
    const assigned = this.#byId?.get(id)
    if (assigned === undefined) return
    this.#byId!.delete(id)
    this.#byName!.delete(assigned.name)
    this.#count(-topicIdBytes(assigned.name), -1)
    if (assigned.offered === undefined) this.#asked--
  }

  /** The highest id that was ever assigned. */
  get highest(): number {
    return this.#nextId - 1
  }

  /** Returns the least recently used id that the client did not request and that is not in `except`. */
  leastRecentlyUsed(except: ReadonlySet<number>): number | undefined {
    let oldest: Assigned | undefined
    for (const assigned of this.#byId?.values() ?? []) {
      const mayGo = assigned.offered !== undefined && !except.has(assigned.id)
      if (mayGo && (oldest === undefined || assigned.used < oldest.used)) oldest = assigned
    }
    return oldest?.id
  }

  /**
   * Used by the replay of the store. The client has received the id, or will be sent it again after rejecting it. An id that was
   * assigned before the range was changed is unknown from now on: it may be another gateway's.
   */
  restore(id: number, name: string, offered: Offered): void {
    if (id < this.#range.from || id > this.#range.to) return
    this.add(id, name, offered)
    if (offered !== 'again') this.#byId!.get(id)!.trustedIn = this.#connection
  }

  knows(id: number): boolean {
    const assigned = this.#byId?.get(id)
    return assigned?.knownIn === this.#connection || assigned?.trustedIn === this.#connection
  }

  /** True if the id is known from the store only: sufficient for a message whose rejection would be noticed. */
  isTrusted(id: number): boolean {
    return this.#byId?.get(id)?.trustedIn === this.#connection
  }

  /** The client has the id with this topic. `now`: when it acknowledged a REGISTER; not needed for an id that it requested. */
  markKnown(id: number, now?: Instant): void {
    const assigned = this.#byId?.get(id)
    if (assigned === undefined) return
    if (assigned.offered === 'again' && !assigned.acknowledged && now !== undefined) this.#renamedAt = now
    assigned.acknowledged = true
    assigned.knownIn = this.#connection
    assigned.trustedIn = NEVER
  }

  markUnknown(id: number): void {
    const assigned = this.#byId?.get(id)
    if (assigned === undefined) return
    assigned.knownIn = NEVER
    assigned.trustedIn = NEVER
  }

  /** Returns an id that the client does not know in this connection, has not refused, and can be sent. */
  nextUnknown(canRegister: (name: string) => boolean): number | undefined {
    for (const { id, name } of this.#byId?.values() ?? [])
      if (!this.knows(id) && !this.refuses(name) && !this.ignores(name) && canRegister(name)) return id
    return undefined
  }

  /** The client does not want messages on this topic. */
  markRefused(name: string): void {
    this.#refused ??= new Set()
    this.#makeRoom(this.#refused, name)
    this.#refused.add(name)
  }

  /** The client subscribes to the topic or registers it: REGISTER may be sent again. */
  markWanted(name: string): void {
    this.#drop(this.#refused, name)
    this.#drop(this.#unanswered, name)
  }

  /** The client does not answer REGISTER of this name. */
  markUnanswered(name: string, topicId: number, msgId: number): void {
    this.#unanswered ??= new NameMap()
    this.#makeRoom(this.#unanswered, name)
    this.#unanswered.set(name, { topicId, msgId })
  }

  ignores(name: string): boolean {
    return this.#unanswered?.has(name) === true
  }

  /** A delayed REGACK; some clients omit the topic id. Removes the mark and returns the topic of that REGISTER. */
  answeredLate(topicId: number, msgId: number): { readonly topicName: string; readonly topicId: number } | undefined {
    for (const [topicName, register] of this.#unanswered ?? []) {
      if (register.msgId !== msgId || (topicId !== 0 && register.topicId !== topicId)) continue
      this.#drop(this.#unanswered, topicName)
      return this.idOf(topicName) === register.topicId ? { topicName, topicId: register.topicId } : undefined
    }
    return undefined
  }

  refuses(name: string): boolean {
    return this.#refused?.has(name) === true
  }

  /** The client does not know a predefined id. */
  markNotPredefined(id: number): void {
    this.#notPredefined ??= new Set()
    makeRoom(this.#notPredefined)
    this.#notPredefined.add(id)
  }

  knowsPredefined(id: number): boolean {
    return this.#notPredefined?.has(id) !== true
  }

  /**
   * The client has a new connection, and may have lost its memory. `remembers`: the configuration guarantees that it
   * never does.
   */
  reconnected(remembers: boolean): void {
    if (!remembers) this.#connection++
    this.#forgetRefused()
    this.#notPredefined = undefined
  }

  clear(): void {
    this.#forgetRefused()
    this.#count(-this.#bytes, -this.size)
    this.#byName = undefined
    this.#byId = undefined
    this.#notPredefined = undefined
    this.#nextId = this.#range.from
    this.#cursor = this.#range.from
    this.#asked = 0
    this.#uses = 0
  }

  /** Bytes that `pack` writes, roughly. */
  get packedBytes(): number {
    return this.#bytes - this.size * (COST.topicId + COST.string - PACKED_ID)
  }

  /** True if the client has received this id, in whatever connection. */
  isReceived(id: number): boolean {
    return this.#byId?.get(id)?.acknowledged === true
  }

  /**
   * Writes everything there is, for a client at rest: unlike the records of the store, it includes which ids the client knows,
   * and in which order they were used.
   */
  pack(w: ByteWriter): void {
    writeInteger(w, this.size)
    for (const { id, name, offered, acknowledged, used, knownIn, trustedIn } of this.#byId?.values() ?? []) {
      w.u16(id)
      const known = (knownIn === this.#connection ? KNOWN : 0) | (trustedIn === this.#connection ? TRUSTED : 0)
      w.u8(OFFERED.indexOf(offered) | (acknowledged ? ACKNOWLEDGED : 0) | known)
      writeInteger(w, used)
      writeText(w, name)
    }
    w.u16(this.#nextId)
    w.u16(this.#cursor)
    writeInteger(w, this.#uses)
    const isRare = this.#refused !== undefined || this.#unanswered !== undefined || this.#notPredefined !== undefined
    w.u8(isRare || this.#renamedAt !== undefined ? 1 : 0)
    if (w.bytes[w.length - 1] === 1) this.#packRare(w)
  }

  #packRare(w: ByteWriter): void {
    writeNumber(w, this.#renamedAt ?? Number.NEGATIVE_INFINITY)
    writeInteger(w, this.#refused?.size ?? 0)
    for (const name of this.#refused ?? []) writeText(w, name)
    writeInteger(w, this.#unanswered?.size ?? 0)
    for (const [name, { topicId, msgId }] of this.#unanswered ?? []) {
      writeText(w, name)
      w.u16(topicId)
      w.u16(msgId)
    }
    writeInteger(w, this.#notPredefined?.size ?? 0)
    for (const id of this.#notPredefined ?? []) w.u16(id)
  }

  /** Restores what `pack` has written, in a registry that is empty. Its ids have been counted all the time. */
  unpack(r: ByteReader): void {
    for (let left = readInteger(r, 'topic ids'); left > 0; left--) {
      const id = r.u16('topic id')
      const bits = r.u8('topic id')
      const used = readInteger(r, 'topic id')
      this.add(id, readText(r, 'topic name'), OFFERED[bits & OFFERED_BITS])
      const assigned = this.#byId!.get(id)!
      assigned.used = used
      assigned.acknowledged = (bits & ACKNOWLEDGED) !== 0
      if ((bits & KNOWN) !== 0) assigned.knownIn = this.#connection
      if ((bits & TRUSTED) !== 0) assigned.trustedIn = this.#connection
    }
    this.#all.count -= this.size
    this.#nextId = r.u16('next topic id')
    this.#cursor = r.u16('next topic id')
    this.#uses = readInteger(r, 'topic ids')
    if (r.u8('topic ids') === 1) this.#unpackRare(r)
  }

  #unpackRare(r: ByteReader): void {
    const renamedAt = readNumber(r, 'topic ids')
    if (renamedAt !== Number.NEGATIVE_INFINITY) this.#renamedAt = renamedAt
    for (let left = readInteger(r, 'refused'); left > 0; left--) this.markRefused(readText(r, 'refused'))
    for (let left = readInteger(r, 'unanswered'); left > 0; left--)
      this.markUnanswered(readText(r, 'unanswered'), r.u16('unanswered'), r.u16('unanswered'))
    for (let left = readInteger(r, 'predefined'); left > 0; left--) this.markNotPredefined(r.u16('predefined'))
  }

  /** The client is at rest: the bytes of its row are counted instead. Its ids still count. */
  uncount(): void {
    this.#count(-this.#bytes)
  }

  /** Without -0, which V8 stores in a number of its own in each client, 16 bytes. */
  #count(bytes: number, ids = 0): void {
    if (bytes === 0) return
    this.#bytes += bytes
    this.#all.bytes += bytes
    this.#all.count += ids
  }

  /** Removes the oldest names at the limit: what the client refuses now matters more than what it refused long ago. */
  #makeRoom(names: Names, name: string): void {
    this.#drop(names, name)
    const bytes = refusedBytes(name)
    while (names.size > 0 && (names.size >= REFUSED_MAX || this.#refusedBytes + bytes > REFUSED_BYTES_MAX))
      this.#drop(names, names.keys().next().value!)
    this.#countRefused(bytes)
  }

  #drop(names: Names | undefined, name: string): void {
    if (names?.delete(name) === true) this.#countRefused(-refusedBytes(name))
  }

  #countRefused(bytes: number): void {
    if (bytes === 0) return
    this.#refusedBytes += bytes
    this.#count(bytes)
  }

  #forgetRefused(): void {
    this.#refused = undefined
    this.#unanswered = undefined
    this.#countRefused(-this.#refusedBytes)
  }
}

/** Bytes of a topic id in `pack`, without its name. */
const PACKED_ID = 7
/** Bits of a topic id in `pack`. */
const OFFERED: readonly Offered[] = [undefined, 'first', 'again']
const OFFERED_BITS = 3
const ACKNOWLEDGED = 4
const KNOWN = 8
const TRUSTED = 16

type Names = Set<string> | Map<string, unknown>

const refusedBytes = (name: string): number => COST.refusedName + stringBytes(name)

/** Bytes of memory taken by an id with this topic name. */
export const topicIdBytes = (name: string): number => COST.topicId + stringBytes(name)

function makeRoom(refused: Set<number>): void {
  if (refused.size >= REFUSED_MAX) refused.delete(refused.keys().next().value!)
}

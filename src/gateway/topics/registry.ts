import { ClientPattern } from '../../base/client-pattern.ts'
import { COST, stringBytes } from '../../base/memory-costs.ts'
import type { PredefinedTopicTable } from '../options.ts'

/** Below are numbers that sloppy stacks use as predefined ids: normal ids start above them (ruling A11). */
const FIRST_ID = 0x0401
/** 0x0000 and 0xFFFF are reserved [1.2 section 5.3.11]. */
const LAST_ID = 0xfffe
/** Names and ids refused by one client in one connection that are remembered. */
const REFUSED_MAX = 1000
/** What such names may take in memory. */
const REFUSED_BYTES_MAX = 128 * 1024

/** How the client comes to an id: it has asked for it (REGACK, SUBACK), or the gateway has offered it (REGISTER), see `sn-topic`. */
export type Offered = 'first' | 'again' | undefined

interface Assigned {
  readonly id: number
  readonly name: string
  offered: Offered
  /** The client was told by REGACK or SUBACK, or has acknowledged a REGISTER, in whatever connection. */
  acknowledged: boolean
  /** Counts up with every use: the lowest was used least recently. */
  used: number
}

/**
 * The normal topic ids of one client (ruling A10). An id that the client has asked for keeps its topic for the life of the session. One that the gateway
 * has offered for a message gives way where there are too many, and when the numbers have run out its number is given again, the one given
 * longest ago first; until the client has acknowledged it with the new name, nothing is sent under it and nothing taken.
 */
export class TopicRegistry {
  #byName: Map<string, Assigned> | undefined = undefined
  #byId: Map<number, Assigned> | undefined = undefined
  /** Ids that the client is sure to know in this connection; others are registered before they are used. */
  #known: Set<number> | undefined = undefined
  /** Ids that a process before this one has recorded: the client was told them, and may have lost them since. */
  #trusted: Set<number> | undefined = undefined
  /** Names whose REGISTER the client refused in this connection: it does not want their messages [1.2 section 6.10]. */
  #refused: Set<string> | undefined = undefined
  /** Names whose REGISTER the client has not answered in this connection, although it was heard: the REGISTER, by topic id and message id. */
  #unanswered: Map<string, { readonly topicId: number; readonly msgId: number }> | undefined = undefined
  /** Predefined ids that the client turned out not to know. */
  #notPredefined: Set<number> | undefined = undefined
  readonly #lastId: number
  /** Numbers from here on were never given. */
  #nextId = FIRST_ID
  /** Where the search for a number to give again continues. */
  #cursor = FIRST_ID
  #asked = 0
  #uses = 0
  #bytes = 0
  #refusedBytes = 0
  readonly #all: { sum: number }

  /** `all`: where what it takes is counted with that of all others. */
  constructor(lastId = LAST_ID, all = { sum: 0 }) {
    this.#lastId = lastId
    this.#all = all
  }

  /** What it takes in memory. */
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

  idOf(name: string): number | undefined {
    const assigned = this.#byName?.get(name)
    if (assigned !== undefined) assigned.used = ++this.#uses
    return assigned?.id
  }

  /** The topic that the client means by an id. */
  topicOf(id: number): string | undefined {
    const assigned = this.#byId?.get(id)
    return assigned?.offered === 'again' && !assigned.acknowledged ? undefined : this.nameOf(id)
  }

  /** How the client came to this id. */
  offeredAs(id: number): Offered {
    return this.#byId?.get(id)?.offered
  }

  /** The client has asked for this id. */
  isAsked(id: number): boolean {
    const assigned = this.#byId?.get(id)
    return assigned !== undefined && assigned.offered === undefined
  }

  /** The number meant another topic before, and the client may still think so. */
  isDoubtful(id: number): boolean {
    const assigned = this.#byId?.get(id)
    return assigned?.offered === 'again' && !assigned.acknowledged
  }

  /** REGACK for no REGISTER that is open: a late copy of an old one may have told the client the topic that this number had before. */
  answeredStale(id: number): void {
    if (this.#byId?.get(id)?.offered === 'again') this.markUnknown(id)
  }

  /**
   * A number that no name has, and whether it had one before; `undefined` if there is none. Of those that were never given, some are kept for what the
   * client itself may still ask for: `most` ids in all, or half of all numbers if these are fewer.
   */
  freeNumber(asked: boolean, most: number): { readonly id: number; readonly offered: Offered } | undefined {
    const left = this.#lastId - this.#nextId + 1
    if (asked) return left > 0 ? { id: this.#nextId, offered: undefined } : undefined
    const half = Math.floor((this.#lastId - FIRST_ID + 1) / 2)
    if (left > Math.max(0, Math.min(most, half) - this.#asked)) return { id: this.#nextId, offered: 'first' }
    for (let tried = FIRST_ID; tried < this.#nextId; tried++) {
      const id = this.#cursor < this.#nextId ? this.#cursor : FIRST_ID
      this.#cursor = id + 1
      if (this.#byId?.has(id) !== true) return { id, offered: 'again' }
    }
    return undefined
  }

  /** Gives a number to a name. */
  add(id: number, name: string, offered: Offered): void {
    this.remove(id)
    const before = this.#byName?.get(name)
    if (before !== undefined) this.remove(before.id)
    const assigned: Assigned = { id, name, offered, acknowledged: false, used: ++this.#uses }
    this.#byName ??= new Map()
    this.#byId ??= new Map()
    this.#byName.set(name, assigned)
    this.#byId.set(id, assigned)
    this.#count(topicIdBytes(name))
    if (offered === undefined) this.#asked++
    this.#nextId = Math.max(this.#nextId, id + 1)
  }

  /** The client asks for an id that it was offered. */
  markAsked(id: number): void {
    const assigned = this.#byId?.get(id)
    if (assigned === undefined || assigned.offered === undefined) return
    assigned.offered = undefined
    this.#asked++
  }

  /** Takes back an id that the client was not told: its number was never given. False if it was told. */
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
    this.#count(-topicIdBytes(assigned.name))
    if (assigned.offered === undefined) this.#asked--
    this.markUnknown(id)
  }

  /** The highest number that was given. */
  get highest(): number {
    return this.#nextId - 1
  }

  /** Of the ids that the client has not asked for, the one that was used least recently, leaving out these. */
  leastRecentlyUsed(except: ReadonlySet<number>): number | undefined {
    let oldest: Assigned | undefined
    for (const assigned of this.#byId?.values() ?? []) {
      const mayGo = assigned.offered !== undefined && !except.has(assigned.id)
      if (mayGo && (oldest === undefined || assigned.used < oldest.used)) oldest = assigned
    }
    return oldest?.id
  }

  /** For the replay. What the store knows was told to the client, or will be told again when it says that it does not know. */
  restore(id: number, name: string, offered: Offered): void {
    this.add(id, name, offered)
    if (offered === 'again') return
    this.#trusted ??= new Set()
    this.#trusted.add(id)
  }

  knows(id: number): boolean {
    return this.#known?.has(id) === true || this.isTrusted(id)
  }

  /** Known by record alone: good enough for a message whose refusal would be heard. */
  isTrusted(id: number): boolean {
    return this.#trusted?.has(id) === true
  }

  markKnown(id: number): void {
    const assigned = this.#byId?.get(id)
    if (assigned !== undefined) assigned.acknowledged = true
    this.#known ??= new Set()
    this.#known.add(id)
    this.#trusted?.delete(id)
  }

  markUnknown(id: number): void {
    this.#known?.delete(id)
    this.#trusted?.delete(id)
  }

  /** One that the client does not know in this connection and has not refused, and that it can be told. */
  nextUnknown(canRegister: (name: string) => boolean): number | undefined {
    for (const { id, name } of this.#byId?.values() ?? [])
      if (!this.knows(id) && !this.refuses(name) && !this.ignores(name) && canRegister(name)) return id
    return undefined
  }

  /** The client does not want what this name brings. */
  markRefused(name: string): void {
    this.#refused ??= new Set()
    this.#makeRoom(this.#refused, name)
    this.#refused.add(name)
  }

  /** The client subscribes to the name or registers it: it may be sent REGISTER again. */
  markWanted(name: string): void {
    this.#drop(this.#refused, name)
    this.#drop(this.#unanswered, name)
  }

  /** The client does not answer REGISTER for this name. */
  markUnanswered(name: string, topicId: number, msgId: number): void {
    this.#unanswered ??= new Map()
    this.#makeRoom(this.#unanswered, name)
    this.#unanswered.set(name, { topicId, msgId })
  }

  ignores(name: string): boolean {
    return this.#unanswered?.has(name) === true
  }

  /** REGACK has come after all, from some clients without the topic id: removes the mark, and returns what it was about. */
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

  /** The client does not know a predefined id after all. */
  markNotPredefined(id: number): void {
    this.#notPredefined ??= new Set()
    makeRoom(this.#notPredefined)
    this.#notPredefined.add(id)
  }

  knowsPredefined(id: number): boolean {
    return this.#notPredefined?.has(id) !== true
  }

  /** A new connection: the client may have lost its memory, unless somebody vouches that it never does. */
  reconnected(remembers: boolean): void {
    if (!remembers) this.#forgetKnown()
    this.#forgetRefused()
    this.#notPredefined = undefined
  }

  clear(): void {
    this.#byName = undefined
    this.#byId = undefined
    this.#forgetKnown()
    this.#forgetRefused()
    this.#count(-this.#bytes)
    this.#notPredefined = undefined
    this.#nextId = FIRST_ID
    this.#cursor = FIRST_ID
    this.#asked = 0
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    this.#all.sum += bytes
  }

  /** The oldest goes where there are too many: what the client refuses now counts more than what it refused long ago. */
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
    this.#refusedBytes += bytes
    this.#count(bytes)
  }

  #forgetRefused(): void {
    this.#refused = undefined
    this.#unanswered = undefined
    this.#countRefused(-this.#refusedBytes)
  }

  #forgetKnown(): void {
    this.#known = undefined
    this.#trusted = undefined
  }
}

type Names = Set<string> | Map<string, unknown>

const refusedBytes = (name: string): number => COST.refusedName + stringBytes(name)

/** What a name takes that has an id. */
export const topicIdBytes = (name: string): number => COST.topicId + stringBytes(name)

function makeRoom(refused: Set<number>): void {
  if (refused.size >= REFUSED_MAX) refused.delete(refused.keys().next().value!)
}

/** The predefined topic ids of a client [1.2 section 6.7]: all tables whose pattern fits its id, a later table over an earlier one. */
export class PredefinedTopics {
  readonly #tables: readonly { readonly clients: ClientPattern; readonly topics: ReadonlyMap<number, string> }[]

  constructor(tables: readonly PredefinedTopicTable[]) {
    this.#tables = tables.map(({ pattern, topics }) => ({ clients: new ClientPattern(pattern), topics }))
  }

  nameOf(clientId: string, id: number): string | undefined {
    for (let i = this.#tables.length - 1; i >= 0; i--) {
      const { clients, topics } = this.#tables[i]!
      const name = topics.get(id)
      if (name !== undefined && clients.fits(clientId)) return name
    }
    return undefined
  }

  idOf(clientId: string, name: string): number | undefined {
    for (let i = this.#tables.length - 1; i >= 0; i--) {
      const { clients, topics } = this.#tables[i]!
      if (!clients.fits(clientId)) continue
      for (const [id, topic] of topics) if (topic === name && this.nameOf(clientId, id) === name) return id
    }
    return undefined
  }
}

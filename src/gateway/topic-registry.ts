import { ClientPattern } from './client-pattern.ts'
import type { PredefinedTopicTable } from './options.ts'

/** Below are numbers that sloppy stacks use as predefined ids: normal ids start above them (ruling A11). */
const FIRST_ID = 0x0401
/** 0x0000 and 0xFFFF are reserved [1.2 section 5.3.11]. */
const LAST_ID = 0xfffe
/** Names and ids that one client may refuse in one connection. */
const REFUSED_MAX = 1000

interface Assigned {
  readonly id: number
  readonly name: string
  /** Counts up with every use: the lowest was used least recently. */
  used: number
}

/** The normal topic ids of one client: a name keeps its id for the life of the session, and no id is given twice in it (ruling A10). */
export class TopicRegistry {
  readonly #byName = new Map<string, Assigned>()
  readonly #byId = new Map<number, Assigned>()
  /** Ids that the client is sure to know in this connection; others are registered before they are used. */
  readonly #known = new Set<number>()
  /** Ids that a process before this one has recorded: the client was told them, and may have lost them since. */
  #trusted: Set<number> | undefined = undefined
  /** Names whose REGISTER the client refused in this connection: it does not want their messages [1.2 section 6.10]. */
  #refused: Set<string> | undefined = undefined
  /** Names whose REGISTER the client has not answered in this connection, although it was heard: the REGISTER, by topic id and message id. */
  #unanswered: Map<string, { readonly topicId: number; readonly msgId: number }> | undefined = undefined
  /** Predefined ids that the client turned out not to know. */
  #notPredefined: Set<number> | undefined = undefined
  #nextId = FIRST_ID
  #uses = 0

  get size(): number {
    return this.#byId.size
  }

  nameOf(id: number): string | undefined {
    const assigned = this.#byId.get(id)
    if (assigned !== undefined) assigned.used = ++this.#uses
    return assigned?.name
  }

  idOf(name: string): number | undefined {
    const assigned = this.#byName.get(name)
    if (assigned !== undefined) assigned.used = ++this.#uses
    return assigned?.id
  }

  /** A new id for a name that has none; `undefined` when there are `most` already or the numbers have run out. */
  assign(name: string, most: number): number | undefined {
    if (this.size >= most || this.#nextId > LAST_ID) return undefined
    const id = this.#nextId++
    this.#add(id, name)
    return id
  }

  /** Takes back the id assigned last, which could not be recorded and was told to nobody. */
  undo(id: number): void {
    this.remove(id)
    this.#nextId = id
  }

  /** Forgets an id, whose number is never given again. */
  remove(id: number): void {
    const assigned = this.#byId.get(id)
    if (assigned === undefined) return
    this.#byId.delete(id)
    this.#byName.delete(assigned.name)
    this.markUnknown(id)
  }

  /** The id that was used least recently; `undefined` if another could not take its place, because the numbers have run out. */
  leastRecentlyUsed(): number | undefined {
    if (this.#nextId > LAST_ID) return undefined
    let oldest: Assigned | undefined
    for (const assigned of this.#byId.values()) if (oldest === undefined || assigned.used < oldest.used) oldest = assigned
    return oldest?.id
  }

  /** For the replay. What the store knows was told to the client, or will be told again when it says that it does not know. */
  restore(id: number, name: string): void {
    this.#add(id, name)
    this.#trusted ??= new Set()
    this.#trusted.add(id)
    this.#nextId = Math.max(this.#nextId, id + 1)
  }

  knows(id: number): boolean {
    return this.#known.has(id) || this.isTrusted(id)
  }

  /** Known by record alone: good enough for a message whose refusal would be heard. */
  isTrusted(id: number): boolean {
    return this.#trusted?.has(id) === true
  }

  markKnown(id: number): void {
    this.#known.add(id)
    this.#trusted?.delete(id)
  }

  markUnknown(id: number): void {
    this.#known.delete(id)
    this.#trusted?.delete(id)
  }

  /** One that the client does not know in this connection and has not refused, and that it can be told. */
  nextUnknown(canRegister: (name: string) => boolean): number | undefined {
    for (const { id, name } of this.#byId.values())
      if (!this.knows(id) && !this.refuses(name) && !this.ignores(name) && canRegister(name)) return id
    return undefined
  }

  /** The client does not want what this name brings. */
  markRefused(name: string): void {
    this.#refused ??= new Set()
    if (this.#refused.size < REFUSED_MAX) this.#refused.add(name)
  }

  /** The client subscribes to the name or registers it: it may be sent REGISTER again. */
  markWanted(name: string): void {
    this.#refused?.delete(name)
    this.#unanswered?.delete(name)
  }

  /** The client does not answer REGISTER for this name. */
  markUnanswered(name: string, topicId: number, msgId: number): void {
    this.#unanswered ??= new Map()
    if (this.#unanswered.size < REFUSED_MAX) this.#unanswered.set(name, { topicId, msgId })
  }

  ignores(name: string): boolean {
    return this.#unanswered?.has(name) === true
  }

  /** REGACK has come after all, from some clients without the topic id: removes the mark, and returns what it was about. */
  answeredLate(topicId: number, msgId: number): { readonly topicName: string; readonly topicId: number } | undefined {
    for (const [topicName, register] of this.#unanswered ?? []) {
      if (register.msgId !== msgId || (topicId !== 0 && register.topicId !== topicId)) continue
      this.#unanswered!.delete(topicName)
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
    if (this.#notPredefined.size < REFUSED_MAX) this.#notPredefined.add(id)
  }

  knowsPredefined(id: number): boolean {
    return this.#notPredefined?.has(id) !== true
  }

  /** A new connection: the client may have lost its memory, unless somebody vouches that it never does. */
  reconnected(remembers: boolean): void {
    if (!remembers) this.#forgetKnown()
    this.#refused = undefined
    this.#unanswered = undefined
    this.#notPredefined = undefined
  }

  clear(): void {
    this.#byName.clear()
    this.#byId.clear()
    this.#forgetKnown()
    this.#refused = undefined
    this.#unanswered = undefined
    this.#notPredefined = undefined
    this.#nextId = FIRST_ID
  }

  #forgetKnown(): void {
    this.#known.clear()
    this.#trusted = undefined
  }

  #add(id: number, name: string): void {
    const assigned: Assigned = { id, name, used: ++this.#uses }
    this.#byName.set(name, assigned)
    this.#byId.set(id, assigned)
  }
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

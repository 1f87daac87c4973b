import type { PredefinedTopicTable } from './options.ts'

/** Below are numbers that sloppy stacks use as predefined ids: normal ids start above them (ruling A11). */
const FIRST_ID = 0x0401
/** 0x0000 and 0xFFFF are reserved [1.2 section 5.3.11]. */
const LAST_ID = 0xfffe

/** The normal topic ids of one client: a name keeps its id for the life of the session, and no id is given twice in it (ruling A10). */
export class TopicRegistry {
  readonly #idByName = new Map<string, number>()
  readonly #nameById = new Map<number, string>()
  /** Ids that the client is sure to know in this connection; others are registered before they are used. */
  readonly #known = new Set<number>()
  #nextId = FIRST_ID

  get size(): number {
    return this.#nameById.size
  }

  nameOf(id: number): string | undefined {
    return this.#nameById.get(id)
  }

  idOf(name: string): number | undefined {
    return this.#idByName.get(name)
  }

  /** A new id for a name that has none; `undefined` when there are `most` already or the numbers have run out. */
  assign(name: string, most: number): number | undefined {
    if (this.size >= most || this.#nextId > LAST_ID) return undefined
    const id = this.#nextId++
    this.#idByName.set(name, id)
    this.#nameById.set(id, name)
    return id
  }

  /** Takes back the id assigned last, which could not be recorded and was told to nobody. */
  remove(id: number): void {
    this.#nextId = id
    const name = this.#nameById.get(id)
    this.#nameById.delete(id)
    if (name !== undefined) this.#idByName.delete(name)
  }

  /** For the replay. What the store knows was told to the client, or will be told again when it says that it does not know. */
  restore(id: number, name: string): void {
    this.#idByName.set(name, id)
    this.#nameById.set(id, name)
    this.#known.add(id)
    this.#nextId = Math.max(this.#nextId, id + 1)
  }

  knows(id: number): boolean {
    return this.#known.has(id)
  }

  markKnown(id: number): void {
    this.#known.add(id)
  }

  markUnknown(id: number): void {
    this.#known.delete(id)
  }

  /** A new connection: the client may have lost its memory. */
  forgetKnown(): void {
    this.#known.clear()
  }

  clear(): void {
    this.#idByName.clear()
    this.#nameById.clear()
    this.#known.clear()
    this.#nextId = FIRST_ID
  }
}

/** The predefined topic ids of a client [1.2 section 6.7]: all tables whose pattern fits its id, a later table over an earlier one. */
export class PredefinedTopics {
  readonly #tables: readonly { readonly matches: RegExp; readonly topics: ReadonlyMap<number, string> }[]

  constructor(tables: readonly PredefinedTopicTable[]) {
    this.#tables = tables.map(({ pattern, topics }) => ({ matches: glob(pattern), topics }))
  }

  nameOf(clientId: string, id: number): string | undefined {
    for (let i = this.#tables.length - 1; i >= 0; i--) {
      const { matches, topics } = this.#tables[i]!
      const name = topics.get(id)
      if (name !== undefined && matches.test(clientId)) return name
    }
    return undefined
  }

  idOf(clientId: string, name: string): number | undefined {
    for (let i = this.#tables.length - 1; i >= 0; i--) {
      const { matches, topics } = this.#tables[i]!
      if (!matches.test(clientId)) continue
      for (const [id, topic] of topics) if (topic === name && this.nameOf(clientId, id) === name) return id
    }
    return undefined
  }
}

/** `*` stands for any number of any characters. */
function glob(pattern: string): RegExp {
  const literal = pattern.split('*').map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, '\\$&'))
  return new RegExp(`^${literal.join('.*')}$`, 's')
}

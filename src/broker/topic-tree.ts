import { ownText } from '../base/bytes.ts'
import { LargeMap } from '../base/large-map.ts'
import { COST, stringBytes } from '../base/memory-costs.ts'
import { SmallMap } from '../base/small-map.ts'
import { hasWildcard } from '../mqtt/topics.ts'

/** Counts the levels, subscriptions and group members that were examined to find receivers: what matching has cost so far. */
export class Looked {
  sum = 0
}

/**
 * Topic filters with what is subscribed under each, by key [5.0 section 4.7].
 *
 * Filters without wildcards are one Map lookup away whatever the topic; the others live in a tree of levels. Matching is a loop
 * over the topic's levels, not a recursion, and visits at most two branches per node, so neither depth nor wildcards of a peer's
 * choice can exhaust the stack; the number of levels is bounded by who calls (`max_topic_levels`).
 */
export class TopicTree<K, V> {
  readonly #exact = new LargeMap<SmallMap<K, V>>()
  readonly #root: Node<K, V> = newNode()
  #size = 0
  #levels = 0
  /** Of them, those that have others below. */
  #branches = 0
  #levelBytes = 0
  #filters = 0
  /** Of filters and branches, those that have had more than one under them. */
  #maps = 0
  /** Of the names of filters without wildcards. */
  #filterBytes = 0
  readonly #looked: Looked

  /** `looked`: where it is counted what `match` looks at. */
  constructor(looked = new Looked()) {
    this.#looked = looked
  }

  get size(): number {
    return this.#size
  }

  /** What it takes in memory, with the filters and what is subscribed under them. */
  get bytes(): number {
    const maps = (this.#branches + this.#filters) * COST.smallMap + this.#maps * COST.map
    const entries = this.#filters * COST.entry + this.#size * COST.subscription
    return this.#levels * COST.level + this.#levelBytes + maps + entries + this.#filterBytes
  }

  /** Nothing is left inside, not even an empty level. */
  get isBare(): boolean {
    return this.#exact.size === 0 && isEmpty(this.#root)
  }

  /** Sets or replaces what `key` has under `filter`. */
  set(filter: string, key: K, value: V): void {
    const entries = hasWildcard(filter) ? this.#wildEntries(filter) : this.#exactEntries(filter)
    if (entries.size === 0) this.#filters++
    if (!entries.has(key)) {
      this.#size++
      this.#filterBytes += stringBytes(filter)
    }
    this.#put(entries, key, value)
  }

  /** Gives whether there was something to delete. */
  delete(filter: string, key: K): boolean {
    const deleted = hasWildcard(filter) ? this.#deleteWild(filter, key) : this.#deleteExact(filter, key)
    if (!deleted) return false
    this.#size--
    this.#filterBytes -= stringBytes(filter)
    return true
  }

  /** Gives `found` everything whose filter matches the topic; a key comes once for each of its matching filters. */
  match(topic: string, found: (value: V, key: K) => void): void {
    const collect = (entries: SmallMap<K, V>): void => {
      this.#looked.sum += entries.size
      entries.forEach(found)
    }
    // [MQTT-3.3.2-3] [MQTT-4.7.3-4]
    const exact = this.#exact.get(topic)
    if (exact !== undefined) collect(exact)
    if (isEmpty(this.#root)) return

    const levels = topic.split('/')
    // Filters that start with a wildcard do not see topics that start with $ (MQTT-4.7.2-1).
    // [MQTT-4.7.2-1]
    const hidden = topic.startsWith('$')
    let nodes: Node<K, V>[] = [this.#root]
    for (let i = 0; i < levels.length && nodes.length > 0; i++) {
      const next: Node<K, V>[] = []
      this.#looked.sum += nodes.length
      for (const node of nodes) {
        const wild = i > 0 || !hidden
        if (wild && node.rest !== undefined) collect(node.rest)
        if (wild && node.any !== undefined) next.push(node.any)
        const child = node.children?.get(levels[i]!)
        if (child !== undefined) next.push(child)
      }
      nodes = next
    }
    for (const node of nodes) {
      if (node.entries !== undefined) collect(node.entries)
      // `a/#` matches `a` too [5.0 section 4.7.1.2].
      if (node.rest !== undefined) collect(node.rest)
    }
  }

  #exactEntries(filter: string): SmallMap<K, V> {
    let entries = this.#exact.get(filter)
    if (entries === undefined) {
      entries = new SmallMap()
      this.#exact.set(filter, entries)
    }
    return entries
  }

  #deleteExact(filter: string, key: K): boolean {
    const entries = this.#exact.get(filter)
    if (entries === undefined || !entries.delete(key)) return false
    if (entries.size > 0) return true
    this.#exact.delete(filter)
    this.#filters--
    if (entries.isMap) this.#maps--
    return true
  }

  #wildEntries(filter: string): SmallMap<K, V> {
    let node = this.#root
    for (const level of filter.split('/')) {
      if (level === '#') {
        node.rest ??= new SmallMap()
        return node.rest
      }
      node = level === '+' ? this.#anyOf(node) : this.#childOf(node, level)
    }
    node.entries ??= new SmallMap()
    return node.entries
  }

  #deleteWild(filter: string, key: K): boolean {
    const path: { node: Node<K, V>; level: string }[] = []
    let node: Node<K, V> | undefined = this.#root
    let entries: SmallMap<K, V> | undefined
    for (const level of filter.split('/')) {
      path.push({ node, level })
      if (level === '#') {
        entries = node.rest
        break
      }
      node = level === '+' ? node.any : node.children?.get(level)
      if (node === undefined) return false
      entries = node.entries
    }
    if (entries === undefined || !entries.delete(key)) return false
    if (entries.size > 0) return true
    this.#filters--
    if (entries.isMap) this.#maps--
    this.#prune(path, node)
    return true
  }

  #put<L, T>(map: SmallMap<L, T>, key: L, value: T): void {
    const wasMap = map.isMap
    map.set(key, value)
    if (map.isMap !== wasMap) this.#maps++
  }

  #anyOf(node: Node<K, V>): Node<K, V> {
    if (node.any === undefined) {
      node.any = newNode()
      this.#levels++
    }
    return node.any
  }

  #childOf(node: Node<K, V>, level: string): Node<K, V> {
    if (node.children === undefined) {
      node.children = new SmallMap()
      this.#branches++
    }
    let child = node.children.get(level)
    if (child === undefined) {
      child = newNode()
      this.#put(node.children, ownText(level), child)
      this.#levels++
      this.#levelBytes += stringBytes(level)
    }
    return child
  }

  /** Takes away what became empty, from the leaf up, so that a filter that was dropped leaves nothing behind. */
  #prune(path: { node: Node<K, V>; level: string }[], leaf: Node<K, V>): void {
    if (leaf.entries?.size === 0) leaf.entries = undefined
    if (leaf.rest?.size === 0) leaf.rest = undefined
    for (let i = path.length - 1; i >= 0; i--) {
      const { node, level } = path[i]!
      if (level === '+' && node.any !== undefined && isEmpty(node.any)) {
        node.any = undefined
        this.#levels--
      } else if (level !== '+' && level !== '#') {
        const child = node.children?.get(level)
        if (child !== undefined && isEmpty(child)) {
          node.children!.delete(level)
          this.#levels--
          this.#levelBytes -= stringBytes(level)
        }
        if (node.children?.size === 0) {
          this.#branches--
          if (node.children.isMap) this.#maps--
          node.children = undefined
        }
      }
      if (!isEmpty(node)) return
    }
  }
}

interface Node<K, V> {
  children: SmallMap<string, Node<K, V>> | undefined
  /** Below `+`. */
  any: Node<K, V> | undefined
  /** Subscribed under `#` here. */
  rest: SmallMap<K, V> | undefined
  entries: SmallMap<K, V> | undefined
}

const newNode = <K, V>(): Node<K, V> => ({ children: undefined, any: undefined, rest: undefined, entries: undefined })

const isEmpty = <K, V>(node: Node<K, V>): boolean =>
  node.children === undefined && node.any === undefined && node.rest === undefined && node.entries === undefined

import { ownText } from '../base/bytes.ts'
import { COST, stringBytes } from '../base/memory-costs.ts'
import { hasWildcard } from '../mqtt/topics.ts'
import { Looked } from './topic-tree.ts'

/** Topics whose route is kept, and their longest name in characters: topic names are the peers' choice. */
const ROUTES_MAX = 16_384
const TOPIC_MAX = 1024
/** Levels of their names, those that several share counted once. */
const LEVELS_MAX = 65_536
/** Bits for topics that were met once: 32 KiB. */
const MET_BITS = 2 ** 18
/** Topic levels that changes may examine per route: about the cost of computing the route again. */
const LOOKS_PER_ROUTE = 64
/** Default limit on the bytes of all routes: each lists all recipients of its topic, whatever the number of topics. */
const BYTES_MAX = 256 * 1024 * 1024

/**
 * Says which topics come again: to keep the route of one that never does costs more than to make it. A bit for each hash, so that
 * one topic in sixteen at most is taken for another that came before.
 */
export class TopicsMet {
  readonly #bits = new Uint32Array(MET_BITS / 32)
  #count = 0

  /** Whether the topic has come before, not too long ago. Never for one that is too long to be kept. */
  meet(topic: string): boolean {
    if (topic.length > TOPIC_MAX) return false
    const hash = hashOf(topic)
    const word = (hash >>> 5) & (this.#bits.length - 1)
    const bit = 1 << (hash & 31)
    if ((this.#bits[word]! & bit) !== 0) return true
    if (++this.#count > ROUTES_MAX) this.clear()
    this.#bits[word]! |= bit
    return false
  }

  clear(): void {
    this.#bits.fill(0)
    this.#count = 0
  }
}

/** FNV-1a of the characters, 32 bits. */
function hashOf(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  return value ^ (value >>> 15)
}

/**
 * Results by topic, which a change of a filter invalidates for the topics that the filter matches, and for no others. Their names
 * stand in a tree of levels, so that a filter with wildcards looks at those branches alone that it can match. When that costs
 * more than the routes are worth, or there is no room, all are forgotten.
 */
export class RouteCache<R> {
  readonly #routes = new Map<string, R>()
  #root: Node = newNode()
  #levels = 0
  /** Of them, those that have others below. */
  #branches = 0
  #levelBytes = 0
  #routeBytes = 0
  #credit = 0
  readonly #bytesOf: (route: R) => number
  /** Bytes above which all are forgotten. */
  readonly #most: number
  readonly #looked: Looked

  /** `looked`: where it is counted what changes look at. */
  constructor(bytesOf: (route: R) => number = () => 0, most = BYTES_MAX, looked = new Looked()) {
    this.#bytesOf = bytesOf
    this.#most = most
    this.#looked = looked
  }

  /** What it takes in memory. */
  get bytes(): number {
    return this.#routeBytes + this.#levels * COST.level + this.#branches * COST.map + this.#levelBytes
  }

  get size(): number {
    return this.#routes.size
  }

  get(topic: string): R | undefined {
    return this.#routes.get(topic)
  }

  set(topic: string, route: R): void {
    if (topic.length > TOPIC_MAX) return
    const bytes = this.#costOf(topic, route)
    if (bytes > this.#most) return
    if (this.#routes.size >= ROUTES_MAX || this.#levels >= LEVELS_MAX || this.bytes + bytes > this.#most) this.clear()
    this.#routes.set(topic, route)
    this.#routeBytes += bytes
    this.#credit += LOOKS_PER_ROUTE
    let node = this.#root
    for (const level of topic.split('/')) {
      if (node.children === undefined) {
        node.children = new Map()
        this.#branches++
      }
      let child = node.children.get(level)
      if (child === undefined) {
        child = newNode()
        node.children.set(ownText(level), child)
        this.#levels++
        this.#levelBytes += stringBytes(level)
      }
      node = child
    }
    node.topic = topic
  }

  clear(): void {
    if (this.#routes.size === 0) return
    this.#routes.clear()
    this.#root = newNode()
    this.#levels = 0
    this.#branches = 0
    this.#levelBytes = 0
    this.#routeBytes = 0
    this.#credit = 0
  }

  /** Forgets the routes of all topics that the filter matches. */
  invalidate(filter: string): void {
    if (this.#routes.size === 0) return
    if (!hasWildcard(filter)) {
      if (this.#routes.has(filter)) this.#delete(filter)
      return
    }
    const found = this.#match(filter)
    if (found === undefined || found.length === this.#routes.size) this.clear()
    else for (const topic of found) this.#delete(topic)
  }

  /** `undefined` if that costs too much. */
  #match(filter: string): string[] | undefined {
    let nodes: Node[] = [this.#root]
    for (const level of filter.split('/')) {
      if (level === '#') return this.#below(nodes)
      const next: Node[] = []
      for (const { children } of nodes) {
        if (children === undefined) continue
        if (!this.#look(level === '+' ? children.size : 1)) return undefined
        const child = children.get(level)
        if (level === '+') for (const each of children.values()) next.push(each)
        else if (child !== undefined) next.push(child)
      }
      nodes = next
    }
    return topicsOf(nodes)
  }

  #below(nodes: Node[]): string[] | undefined {
    // `a/#` matches `a` too [5.0 section 4.7.1.2].
    const found: string[] = []
    for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
      if (!this.#look(1)) return undefined
      if (node.topic !== undefined) found.push(node.topic)
      for (const child of node.children?.values() ?? []) nodes.push(child)
    }
    return found
  }

  /** False if that costs more than the routes are worth. */
  #look(levels: number): boolean {
    this.#looked.sum += levels
    this.#credit -= levels
    return this.#credit >= 0
  }

  #costOf(topic: string, route: R): number {
    return COST.route + stringBytes(topic) + this.#bytesOf(route)
  }

  #delete(topic: string): void {
    this.#routeBytes -= this.#costOf(topic, this.#routes.get(topic)!)
    this.#routes.delete(topic)
    const path: { readonly node: Node; readonly level: string }[] = []
    let node = this.#root
    for (const level of topic.split('/')) {
      path.push({ node, level })
      node = node.children!.get(level)!
    }
    node.topic = undefined
    for (let at = path.pop(); at !== undefined && isEmpty(node); at = path.pop()) {
      const { children } = at.node
      children!.delete(at.level)
      this.#levels--
      this.#levelBytes -= stringBytes(at.level)
      if (children!.size === 0) {
        at.node.children = undefined
        this.#branches--
      }
      node = at.node
    }
  }
}

interface Node {
  children: Map<string, Node> | undefined
  topic: string | undefined
}

const newNode = (): Node => ({ children: undefined, topic: undefined })
const isEmpty = ({ children, topic }: Node): boolean => children === undefined && topic === undefined
const topicsOf = (nodes: readonly Node[]): string[] => nodes.flatMap(({ topic }) => topic ?? [])

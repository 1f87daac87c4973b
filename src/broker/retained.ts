import type { Instant } from '../base/machine.ts'
import { Timer, Timers } from '../base/timers.ts'
import type { Publish } from '../mqtt/publish.ts'

/** The last retained message of each topic [5.0 section 3.3.1.3], as a tree of levels for wildcard subscriptions. */
export class Retained {
  /** Levels that `search` has compared so far: what it costs. */
  looked = 0
  readonly #root: Node = newNode()
  #count = 0
  #bytes = 0
  /** Counts what was retained. */
  #sequence = 0
  /** Those that expire. */
  readonly #expiries = new Timers<Publish>()

  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#bytes
  }

  get(topic: string): Publish | undefined {
    let node: Node | undefined = this.#root
    for (const level of topic.split('/')) {
      node = node.children?.get(level)
      if (node === undefined) return undefined
    }
    return node.message
  }

  set(topic: string, message: Publish): void {
    let node = this.#root
    for (const level of topic.split('/')) {
      node.children ??= new Map()
      let child = node.children.get(level)
      if (child === undefined) {
        child = newNode()
        node.children.set(level, child)
      }
      node = child
    }
    this.#replace(node, message)
  }

  /** When the next of them expires, perhaps in the past. */
  nextExpiry(): Instant | undefined {
    return this.#expiries.next()
  }

  /** The one that expired first, if any has. */
  firstExpired(now: Instant): Publish | undefined {
    const first = this.#expiries.first()
    return first !== undefined && first.deadline <= now ? first.owner : undefined
  }

  delete(topic: string): boolean {
    const path: { node: Node; level: string }[] = []
    let node: Node = this.#root
    for (const level of topic.split('/')) {
      const child = node.children?.get(level)
      if (child === undefined) return false
      path.push({ node, level })
      node = child
    }
    if (node.message === undefined) return false
    this.#replace(node, undefined)
    for (let i = path.length - 1; i >= 0 && node.message === undefined && node.children === undefined; i--) {
      const { node: parent, level } = path[i]!
      parent.children!.delete(level)
      if (parent.children!.size === 0) parent.children = undefined
      node = parent
    }
    return true
  }

  /**
   * All retained messages that the filter matches, in the order of the tree, and `undefined` for each other level that was looked at: whoever asks may
   * leave off after any of them, and go on later. What has been retained meanwhile does not come: a subscriber has it already.
   */
  search(filter: string): Generator<Publish | undefined, void> {
    return this.#search(filter.split('/'), this.#sequence)
  }

  *#search(levels: readonly string[], until: number): Generator<Publish | undefined, void> {
    // With a stack of our own: topics are as deep as peers make them. What has come to the level `depth` of the filter is still to be looked at.
    const stack: { readonly nodes: Iterator<Node>; readonly depth: number }[] = []
    for (let depth = 0, node: Node | undefined = this.#root; ; ) {
      if (node !== undefined) {
        const level = levels[depth]
        // `a/#` matches `a` too [5.0 section 4.7.1.2].
        const matches = level === undefined || level === '#'
        if (level !== undefined)
          stack.push({ nodes: childrenOf(node, level, depth === 0), depth: level === '#' ? depth : depth + 1 })
        this.looked++
        yield matches && node.sequence <= until ? node.message : undefined
      }
      const top = stack.at(-1)
      if (top === undefined) return
      depth = top.depth
      node = top.nodes.next().value
      if (node === undefined) stack.pop()
    }
  }

  *[Symbol.iterator](): Iterator<Publish> {
    const stack: Node[] = [this.#root]
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (node.message !== undefined) yield node.message
      for (const child of node.children?.values() ?? NONE) stack.push(child)
    }
  }

  #replace(node: Node, message: Publish | undefined): void {
    if (node.message !== undefined) {
      this.#count--
      this.#bytes -= node.message.weight
    }
    if (message !== undefined) {
      this.#count++
      this.#bytes += message.weight
    }
    node.message = message
    node.sequence = ++this.#sequence
    if (node.expiry !== undefined) this.#expiries.disarm(node.expiry)
    node.expiry = undefined
    if (message?.expiresAt === undefined) return
    node.expiry = new Timer(message)
    this.#expiries.arm(node.expiry, message.expiresAt)
  }
}

interface Node {
  children: Map<string, Node> | undefined
  message: Publish | undefined
  /** When it was retained, among all that were. */
  sequence: number
  expiry: Timer<Publish> | undefined
}

const newNode = (): Node => ({ children: undefined, message: undefined, sequence: 0, expiry: undefined })

/** The children that this level of a filter matches. Those that come while they are looked at come too, those that go do not. */
function childrenOf({ children }: Node, level: string, isFirst: boolean): Iterator<Node> {
  if (children === undefined) return NONE.values()
  if (level !== '+' && level !== '#') {
    const child = children.get(level)
    return (child === undefined ? NONE : [child]).values()
  }
  return isFirst ? visible(children) : children.values()
}

/** Filters that start with a wildcard do not see topics that start with $ (MQTT-4.7.2-1). */
function* visible(children: ReadonlyMap<string, Node>): Iterator<Node> {
  for (const [name, child] of children) if (!name.startsWith('$')) yield child
}

const NONE: readonly Node[] = []

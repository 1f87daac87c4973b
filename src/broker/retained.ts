import type { Instant } from '../base/machine.ts'
import { Timer, Timers } from '../base/timers.ts'
import type { Publish } from '../mqtt/publish.ts'

/** The last retained message of each topic [5.0 section 3.3.1.3], as a tree of levels for wildcard subscriptions. */
export class Retained {
  /** Levels that `match` has compared so far: what it costs. */
  looked = 0
  readonly #root: Node = newNode()
  #count = 0
  #bytes = 0
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

  /** All retained messages that the filter matches, in the order of the tree. */
  match(filter: string): Publish[] {
    const levels = filter.split('/')
    let nodes: Node[] = [this.#root]
    for (let i = 0; i < levels.length; i++) {
      const level = levels[i]!
      if (level === '#') return nodes.flatMap((node) => this.#below(node, i === 0))
      const next: Node[] = []
      for (const node of nodes) {
        if (node.children === undefined) continue
        this.looked += level === '+' ? node.children.size : 1
        if (level !== '+') {
          const child = node.children.get(level)
          if (child !== undefined) next.push(child)
          continue
        }
        for (const [name, child] of node.children) if (i > 0 || !name.startsWith('$')) next.push(child)
      }
      nodes = next
    }
    return nodes.flatMap(({ message }) => message ?? [])
  }

  *[Symbol.iterator](): Iterator<Publish> {
    yield* this.#below(this.#root, false)
  }

  /** A node's own message and everything under it, with a stack of our own: topics are as deep as peers make them. */
  #below(top: Node, hideDollar: boolean): Publish[] {
    const found: Publish[] = []
    const stack: Node[] = [top]
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      this.looked++
      if (node.message !== undefined) found.push(node.message)
      if (node.children === undefined) continue
      // Filters that start with a wildcard do not see topics that start with $ (MQTT-4.7.2-1).
      for (const [name, child] of node.children) if (!(hideDollar && node === top && name.startsWith('$'))) stack.push(child)
    }
    return found
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
  expiry: Timer<Publish> | undefined
}

const newNode = (): Node => ({ children: undefined, message: undefined, expiry: undefined })

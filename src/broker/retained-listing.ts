import type { Publish } from '../mqtt/publish.ts'
import type { Work } from './requests.ts'
import type { RetainedLevel } from './retained.ts'

/** Cost of comparing one topic with those found so far, beyond that of examining its level. */
const FOUND_COST = 2
/** Characters that cost as much as a level, where a topic is read once, and where it is compared with those found so far. */
const READ_CHARACTERS = 1024
const COMPARED_CHARACTERS = 32
const MOVED_ENTRIES = 2048

const readCost = (topic: string): number => 1 + Math.floor(topic.length / READ_CHARACTERS)
/** `beside`: entries found so far, some of which have to be moved. */
const foundCost = (topic: string, beside: number): number =>
  FOUND_COST + Math.floor(topic.length / COMPARED_CHARACTERS) + Math.floor(beside / MOVED_ENTRIES)

/** Which retained messages to list. */
export interface RetainedQuery {
  /** A valid topic filter; all messages if absent. As for subscribers, wildcards do not match a first level with `$`. */
  readonly filter?: string | undefined
  /** A part of the topic, in small letters; letters of either case are the same. */
  readonly contains?: string | undefined
  /** Only topics after this one, in the order of `compareTopics`. */
  readonly after?: string | undefined
  /** Messages at most. */
  readonly limit: number
}

/** In the order of `compareTopics`. */
export interface Listed<T> {
  readonly entries: readonly T[]
  /** `after` of the next page; undefined if this is the last one. */
  readonly next: string | undefined
}

/** A level of topics, as a folder among those beside it. */
export interface ListedLevel {
  readonly name: string
  /** Whether a message is retained on this very topic. */
  readonly retained: boolean
  /** Messages retained on the topics below. */
  readonly below: number
}

/**
 * Finds the retained messages that come first after `after`. The order of topics does not depend on when they were retained, so
 * that pages stay complete while messages come and go. A page examines all topics of the levels in which it may begin and end: 100,000 on
 * one level take 10 ms in all. Yields what each step cost, in levels examined.
 */
export function* listRetained(root: RetainedLevel, query: RetainedQuery): Work<Listed<Publish>> {
  const { filter, contains = '', after, limit } = query
  const found = new Smallest<Publish>(limit + 1, ({ topic }) => topic)
  const wanted = filter?.split('/')
  // With an explicit stack, because peers choose the depth of topics.
  const stack: Open[] = []
  const seesMessage = ({ message }: RetainedLevel): number => {
    if (message === undefined) return 1
    const { topic } = message
    const cost = readCost(topic)
    if (after !== undefined && compareTopics(topic, after) <= 0) return cost
    if (contains !== '' && !topic.toLowerCase().includes(contains)) return cost
    found.add(message)
    return cost + foundCost(topic, found.all.length)
  }
  const open = (level: RetainedLevel, path: string, depth: number): void => {
    if (level.children === undefined || isOutside(path, depth, after, found.last)) return
    if (wanted === undefined || depth < wanted.length || wanted.at(-1) === '#')
      stack.push({ path, depth, children: childrenOf(level.children, wanted, depth)[Symbol.iterator]() })
  }
  open(root, '', 0)
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const next = top.children.next()
    if (next.done === true) {
      stack.pop()
      continue
    }
    const [name, level] = next.value
    const depth = top.depth + 1
    yield isMatch(wanted, depth) ? seesMessage(level) : 1
    if (level.children === undefined) continue
    const path = top.depth === 0 ? name : `${top.path}/${name}`
    open(level, path, depth)
    if (path.length >= READ_CHARACTERS) yield readCost(path)
  }
  return pageOf(found.all, limit, ({ topic }) => topic)
}

/** `found` has one more than the page, if there are more. */
function pageOf<T>(found: readonly T[], limit: number, topicOf: (entry: T) => string): Listed<T> {
  const entries = found.slice(0, limit)
  return { entries, next: found.length > limit ? topicOf(entries.at(-1)!) : undefined }
}

interface Open {
  /** The topic of the level that has these children. */
  readonly path: string
  /** Its levels. */
  readonly depth: number
  readonly children: Iterator<[string, RetainedLevel]>
}

/** `a/#` matches `a` too [5.0 section 4.7.1.2]. */
function isMatch(wanted: readonly string[] | undefined, depth: number): boolean {
  if (wanted === undefined || wanted.length === depth) return true
  return wanted.at(-1) === '#' && depth >= wanted.length - 1
}

function childrenOf(
  children: NonNullable<RetainedLevel['children']>,
  wanted: readonly string[] | undefined,
  depth: number,
): Iterable<[string, RetainedLevel]> {
  const level = wanted === undefined ? undefined : (wanted[depth] ?? '#')
  if (level === undefined) return children
  if (level === '+' || level === '#') return depth === 0 ? visible(children) : children
  const child = children.get(level)
  return child === undefined ? [] : [[level, child]]
}

/** Wildcards do not match a first level that starts with $ (MQTT-4.7.2-1). */
function* visible(children: Iterable<[string, RetainedLevel]>): Iterable<[string, RetainedLevel]> {
  for (const child of children) if (!child[0].startsWith('$')) yield child
}

/** Whether no topic below this one is after `after` and before `last`. */
function isOutside(path: string, depth: number, after: string | undefined, last: string | undefined): boolean {
  if (depth === 0) return false
  if (last !== undefined && compareTopics(path, last) > 0) return true
  return after !== undefined && compareTopics(path, after) < 0 && !after.startsWith(`${path}/`)
}

/**
 * Lists the levels below a topic prefix, which is '' or ends with `/`, with the number of messages in each. Yields what each step
 * cost, in levels examined.
 */
export function* listLevels(
  root: RetainedLevel,
  prefix: string,
  { after, limit }: Pick<RetainedQuery, 'after' | 'limit'>,
): Work<Listed<ListedLevel>> {
  let level: RetainedLevel | undefined = root
  for (const name of prefix === '' ? [] : prefix.slice(0, -1).split('/')) level = level?.children?.get(name)
  const found = new Smallest<readonly [string, RetainedLevel]>(limit + 1, ([name]) => name)
  for (const child of level?.children ?? []) {
    if (after === undefined || child[0] > after) found.add(child)
    yield 1 + foundCost(child[0], found.all.length)
  }
  const page = pageOf(found.all, limit, ([name]) => name)
  const entries: ListedLevel[] = []
  for (const [name, { message, children }] of page.entries) {
    const below = yield* countBelow(children)
    // It may be gone by now.
    if (message !== undefined || below > 0) entries.push({ name, retained: message !== undefined, below })
  }
  return { entries, next: page.next }
}

function* countBelow(children: RetainedLevel['children']): Work<number> {
  let count = 0
  const stack = [children]
  while (stack.length > 0) {
    for (const [, level] of stack.pop() ?? []) {
      if (level.message !== undefined) count++
      if (level.children !== undefined) stack.push(level.children)
      yield 1
    }
  }
  return count
}

/** The order of topics, level by level: `a`, `a/b`, `a-b`. Negative if `a` comes first. */
export function compareTopics(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const [left, right] = [a.charCodeAt(i), b.charCodeAt(i)]
    if (left !== right) return (left === SLASH ? -1 : left) - (right === SLASH ? -1 : right)
  }
  return a.length - b.length
}

const SLASH = 0x2f

/** Those of all added entries whose topics come first, in order. */
class Smallest<T> {
  readonly all: T[] = []
  readonly #most: number
  readonly #topicOf: (entry: T) => string

  constructor(most: number, topicOf: (entry: T) => string) {
    this.#most = most
    this.#topicOf = topicOf
  }

  /** The topic after which nothing is added any more. */
  get last(): string | undefined {
    return this.all.length < this.#most ? undefined : this.#topicOf(this.all.at(-1)!)
  }

  add(entry: T): void {
    const topic = this.#topicOf(entry)
    const { last } = this
    if (last !== undefined && compareTopics(topic, last) >= 0) return
    let [low, high] = [0, this.all.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareTopics(this.#topicOf(this.all[middle]!), topic) < 0) low = middle + 1
      else high = middle
    }
    this.all.splice(low, 0, entry)
    if (this.all.length > this.#most) this.all.pop()
  }
}

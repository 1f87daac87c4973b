import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** A key and its value, as they are in a leaf. Both are views that the next page may overwrite. */
export interface PageEntry {
  readonly key: Buffer
  readonly value: Buffer
}

/** The tree of one database. */
interface Tree {
  readonly root: number
}

/** A place of the file that could not be read as what it should be. */
export interface Damage {
  readonly page: number
  readonly reason: string
}

export type OnDamage = (damage: Damage) => void

/** What a meta page says: where the trees of the newest transaction are. */
interface Meta {
  readonly txnId: bigint
  readonly free: Tree
  readonly main: Tree
}

const PAGE_BYTES = 4096
const HEADER_BYTES = 24
const MAGIC = 0xbeefc0de
/** The layout that is read here: that of the lmdb package 3.5. */
const VERSION = 2
const NO_PAGE = 0xffff_ffff_ffff_ffffn
const DEPTH_MAX = 32

const FLAG = { branch: 1, leaf: 2, overflow: 4, meta: 8 } as const
/** Of a node: its value is in overflow pages; its value is the record of another tree. */
const BIG_DATA = 1
const SUB_TREE = 2

/**
 * Reads the pages of an lmdb data file without lmdb, which maps the file and takes the process down where it is damaged. Everything is
 * checked before it is believed; what does not hold is told, and the rest is read on.
 */
export class PageFile {
  readonly #file: number
  readonly pages: number
  /** One for each level of a tree, so that a page stays while the pages under it are read. */
  readonly #buffers = Array.from({ length: DEPTH_MAX + 1 }, () => Buffer.allocUnsafeSlow(PAGE_BYTES))
  #big = Buffer.allocUnsafeSlow(64 * 1024)
  /** Pages that belong to a tree that was walked. */
  readonly seen = new Set<number>()

  constructor(path: string) {
    this.#file = openSync(path, 'r')
    this.pages = Math.floor(fstatSync(this.#file).size / PAGE_BYTES)
  }

  close(): void {
    closeSync(this.#file)
  }

  /** Whether the file is of a version that can be read here. */
  get isKnown(): boolean {
    return [0, 1].every((page) => {
      const bytes = this.#read(page, 0)
      return bytes === undefined || bytes.readUInt32LE(24) !== MAGIC || bytes.readUInt32LE(28) === VERSION
    })
  }

  /** The meta pages that are whole, the newest first. lmdb wants both. */
  metas(onDamage: OnDamage): Meta[] {
    const metas: Meta[] = []
    for (const page of [0, 1]) {
      const bytes = this.#read(page, 0)
      if (bytes === undefined) onDamage({ page, reason: 'the file ends before it' })
      else if (
        bytes.readUInt16LE(18) !== FLAG.meta ||
        bytes.readUInt32LE(24) !== MAGIC ||
        bytes.readUInt32LE(48) !== PAGE_BYTES
      ) {
        onDamage({ page, reason: 'it is no meta page' })
      } else {
        metas.push({ txnId: bytes.readBigUInt64LE(152), free: treeAt(bytes, 48), main: treeAt(bytes, 96) })
      }
    }
    return metas.sort((a, b) => (a.txnId < b.txnId ? 1 : -1))
  }

  /** Leaf pages that list trees under these names, the newest first: where the trees are, if no meta page knows. */
  rootsOf(names: readonly string[]): Tree[] {
    const found: { txnId: bigint; root: number }[] = []
    for (let page = 2; page < this.pages; page++) {
      const bytes = this.#page(page, 0, FLAG.leaf)
      if (typeof bytes === 'string') continue
      const nodes = nodesOf(bytes)
      if (nodes === undefined || nodes.length !== names.length) continue
      const isList = nodes.every(
        ({ flags, key, size }, i) => flags === SUB_TREE && size === 48 && key.toString('latin1') === names[i],
      )
      if (isList) found.push({ txnId: bytes.readBigUInt64LE(8), root: page })
    }
    return found.sort((a, b) => (a.txnId < b.txnId ? 1 : -1))
  }

  /** All entries of a tree that can be read, in order. */
  *entries(tree: Tree, onDamage: OnDamage): Iterable<PageEntry> {
    if (tree.root >= 0) yield* this.#walk(tree.root, 0, onDamage)
  }

  /** The trees that the main tree has under their names. */
  trees(main: Tree, onDamage: OnDamage): Map<string, Tree> {
    const trees = new Map<string, Tree>()
    for (const { key, value } of this.entries(main, onDamage)) {
      if (value.length === 48) trees.set(key.toString('latin1'), treeAt(value, 0))
    }
    return trees
  }

  /** Entries of leaves that belong to no tree that was walked, with the transaction that wrote each. */
  *strays(): Iterable<PageEntry & { readonly txnId: bigint }> {
    for (let page = 2; page < this.pages; page++) {
      if (this.seen.has(page)) continue
      const bytes = this.#page(page, 0, FLAG.leaf)
      if (typeof bytes === 'string') continue
      const txnId = bytes.readBigUInt64LE(8)
      for (const entry of this.#leaf(page, bytes, () => {})) yield { ...entry, txnId }
    }
  }

  *#walk(page: number, depth: number, onDamage: OnDamage): Iterable<PageEntry> {
    const bytes = depth > DEPTH_MAX ? 'it is deeper than a tree gets' : this.#page(page, depth, FLAG.branch | FLAG.leaf)
    if (typeof bytes === 'string' || this.seen.has(page)) {
      onDamage({ page, reason: typeof bytes === 'string' ? bytes : 'it is in the trees twice' })
      return
    }
    this.seen.add(page)
    if (bytes.readUInt16LE(18) === FLAG.leaf) {
      yield* this.#leaf(page, bytes, onDamage)
      return
    }
    const nodes = nodesOf(bytes)
    if (nodes === undefined || nodes.length === 0) onDamage({ page, reason: 'it is no branch page' })
    for (const { size, flags } of nodes ?? []) yield* this.#walk(flags * 0x1_0000_0000 + size, depth + 1, onDamage)
  }

  *#leaf(page: number, bytes: Buffer, onDamage: OnDamage): Iterable<PageEntry> {
    const nodes = nodesOf(bytes)
    if (nodes === undefined) onDamage({ page, reason: 'it is no leaf page' })
    for (const { key, size, flags, data } of nodes ?? []) {
      const value = (flags & BIG_DATA) === 0 ? bytes.subarray(data, data + size) : this.#overflow(bytes, data, size)
      if (typeof value === 'string') onDamage({ page, reason: value })
      else if (value.length < size || data > PAGE_BYTES) onDamage({ page, reason: 'it has a value that runs beyond its end' })
      else yield { key, value }
    }
  }

  #overflow(bytes: Buffer, data: number, size: number): Buffer | string {
    if (data + 8 > PAGE_BYTES) return 'it has a value that runs beyond its end'
    const page = Number(bytes.readBigUInt64LE(data))
    const count = Math.ceil((HEADER_BYTES + size) / PAGE_BYTES)
    if (page < 2 || page + count > this.pages) return `it has a value on page ${page}, which is not there`
    if (this.#big.length < count * PAGE_BYTES) this.#big = Buffer.allocUnsafeSlow(count * PAGE_BYTES)
    readSync(this.#file, this.#big, 0, count * PAGE_BYTES, page * PAGE_BYTES)
    if (Number(this.#big.readBigUInt64LE(0)) !== page || this.#big.readUInt16LE(18) !== FLAG.overflow) {
      return `it has a value on page ${page}, which is no overflow page`
    }
    for (let i = 0; i < count; i++) this.seen.add(page + i)
    return this.#big.subarray(HEADER_BYTES, HEADER_BYTES + size)
  }

  /** A page of one of these kinds, or what is wrong with it. */
  #page(page: number, depth: number, kinds: number): Buffer | string {
    const bytes = this.#read(page, depth)
    if (bytes === undefined) return 'the file ends before it'
    const flags = bytes.readUInt16LE(18)
    if (Number(bytes.readBigUInt64LE(0)) !== page) return 'it has another number'
    return (flags & ~kinds) === 0 && (flags === FLAG.branch || flags === FLAG.leaf) ? bytes : 'it is of another kind'
  }

  #read(page: number, depth: number): Buffer | undefined {
    if (page >= this.pages) return undefined
    const bytes = this.#buffers[depth]!
    return readSync(this.#file, bytes, 0, PAGE_BYTES, page * PAGE_BYTES) === PAGE_BYTES ? bytes : undefined
  }
}

interface Node {
  readonly key: Buffer
  readonly flags: number
  /** Bytes of the value; in a branch the low half of a page number, of which the flags are the rest. */
  readonly size: number
  /** Where the value begins. */
  readonly data: number
}

/** The nodes of a page; `undefined` if they are none. */
function nodesOf(page: Buffer): Node[] | undefined {
  const lower = page.readUInt16LE(20)
  if (lower % 2 !== 0 || HEADER_BYTES + lower > PAGE_BYTES) return undefined
  const nodes: Node[] = []
  for (let i = 0; i < lower; i += 2) {
    const at = HEADER_BYTES + page.readUInt16LE(HEADER_BYTES + i)
    if (at < HEADER_BYTES + lower || at + 8 > PAGE_BYTES) return undefined
    const data = at + 8 + page.readUInt16LE(at + 6)
    if (data > PAGE_BYTES) return undefined
    nodes.push({ key: page.subarray(at + 8, data), flags: page.readUInt16LE(at + 4), size: page.readUInt32LE(at), data })
  }
  return nodes
}

function treeAt(bytes: Buffer, at: number): Tree {
  const root = bytes.readBigUInt64LE(at + 40)
  return { root: root === NO_PAGE ? -1 : Number(root) }
}

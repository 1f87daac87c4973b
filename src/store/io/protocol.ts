import type { RowTable } from '../rows.ts'
import type { Lsn } from '../store.ts'
import type { Ahead } from './ahead.ts'

// What the event loop and the store's thread say to each other.

/** Encoded records that share one Lsn. The bytes change hands with the message, and come back with the answer. */
export interface Commit {
  readonly lsn: Lsn
  readonly bytes: Uint8Array
}

/** What the thread is started with. */
export interface ThreadOptions {
  readonly dir: string
  readonly durability: 'fsync' | 'process'
  /** Bytes that the store may take on the disk. */
  readonly maxBytes: number
  /** Bytes of log after which it is folded into rows. */
  readonly foldBytes: number
  /** Name of the program, for `meta`. */
  readonly writtenBy: string
  /** The rows are passed on to the event loop while they are verified; only for a thread of its own, which waits for it. */
  readonly ahead?: Ahead | undefined
}

export type Request =
  /** One transaction. One at a time. */
  | { readonly kind: 'commit'; readonly commits: readonly Commit[] }
  /** The store is full: look for room. */
  | { readonly kind: 'make-room' }
  /** Fold the whole log, and copy the WAL into the database; answered by `checkpointed`. */
  | { readonly kind: 'checkpoint' }
  /** From here on commits that another process keeps waiting fail instead. */
  | { readonly kind: 'stop-waiting' }
  | { readonly kind: 'close' }

export interface Room {
  /** Bytes that the store takes on the disk. */
  readonly usedBytes: number
  /** The disk is full: nothing that grows the store is taken in. */
  readonly isTight: boolean
}

export type Reply =
  /**
   * Comes before `opened` where nothing has to be folded: the rows are all there is, and may be read while they are inspected.
   * `opened` or `refused` follows.
   */
  | { readonly kind: 'readable'; readonly lsn: Lsn }
  /** Rows of a table as one value (`scan.ts`), whose checksums match: after `readable`, with `ThreadOptions.ahead`. */
  | { readonly kind: 'rows'; readonly table: RowTable; readonly bytes: Uint8Array }
  | ({ readonly kind: 'opened'; readonly lsn: Lsn } & Room)
  | { readonly kind: 'refused'; readonly reason: string }
  /** The answer to `commit`; without `error` it is durable. */
  | ({ readonly kind: 'answer'; readonly commits: readonly Commit[]; readonly error: string | undefined } & Room)
  | ({ readonly kind: 'room' } & Room)
  | { readonly kind: 'checkpointed' }
  /** Not before `opened`. */
  | { readonly kind: 'news'; readonly news: StoreNews }
  | { readonly kind: 'closed' }

/** What is worth a line in the log, apart from commits that fail. */
export interface StoreNews {
  /**
   * `full`: the disk is full, and nothing that grows the store is taken in. `fold-failed`: the log is not folded for now, and
   * grows. `blocked`: another process keeps commits waiting. `wal-held`: another process keeps the WAL from being reset.
   * `damaged`: nothing is written any more. `recovered`: one of the others is over.
   */
  readonly kind: 'full' | 'fold-failed' | 'blocked' | 'wal-held' | 'damaged' | 'recovered'
  readonly reason: string
}

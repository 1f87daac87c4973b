import { statSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import type { Lsn } from '../store.ts'
import type { Owner } from './owner.ts'
import type { Row } from './sqlite.ts'

/**
 * `fsync`: a commit is on the disk. `process`: the system has it, so that it outlives the process, but perhaps not a power cut.
 */
export type Durability = 'fsync' | 'process'

/** The one row of table `meta`: who has the store open, and how far it has got. */
export interface Meta {
  readonly format: number
  readonly writtenBy: string
  /** How many times the store has been opened for writing. */
  readonly epoch: number
  /** `undefined` after a clean end. */
  readonly owner: Owner | undefined
  /** Device and inode of the file that the owner has open. A copy says the same of another file. */
  readonly ownerFile: string
  /** How the owner commits; `undefined` after a clean end. */
  readonly ownerDurability: Durability | undefined
  /** The last commit. */
  readonly lsn: Lsn
  /** The last commit whose records are in the rows. */
  readonly folded: Lsn
  readonly rows: number
  readonly digest: string
}

/** Names a file whatever its path. */
export function fileId(path: string): string {
  const { dev, ino } = statSync(path)
  return `${dev}:${ino}`
}

/** The contents of a row of `meta`; undefined if its checksum does not match. */
export function checkedMeta(row: Row): Meta | undefined {
  const meta = metaOf(row)
  return row.checksum === metaChecksum(meta) ? meta : undefined
}

/** The same, whatever its checksum says. */
export function metaOf(row: Row): Meta {
  const { owner_pid: pid, owner_boot_id: bootId, owner_started: started, owner_token: token } = row
  return {
    format: Number(row.format),
    writtenBy: `${row.written_by}`,
    epoch: Number(row.epoch),
    owner: token == null ? undefined : { pid: Number(pid), bootId: `${bootId}`, started: `${started}`, token: `${token}` },
    ownerFile: row.owner_file == null ? '' : `${row.owner_file}`,
    ownerDurability: row.owner_durability == null ? undefined : row.owner_durability === 'fsync' ? 'fsync' : 'process',
    lsn: Number(row.lsn),
    folded: Number(row.folded),
    rows: Number(row.rows),
    digest: `${row.digest}`,
  }
}

/** Covers everything in `meta`. A commit updates only the counters, so it needs all other values for the checksum. */
export function metaChecksum({
  format,
  writtenBy,
  epoch,
  owner,
  ownerFile,
  ownerDurability,
  lsn,
  folded,
  rows,
  digest,
}: Meta): number {
  const { pid, bootId, started, token } = owner ?? {}
  const ownerFields = [pid, bootId, started, token, ownerFile, ownerDurability]
  return crc32(`meta ${JSON.stringify([format, writtenBy, epoch, ...ownerFields, lsn, folded, rows, digest])}`)
}

import type { DiskError } from './faults/faults.ts'

/** What a store may say when the disk fails. SQLite does not always pass on what the system said, and a fault may be over when it is asked again. */
export const REASONS: Readonly<Record<DiskError, RegExp>> = {
  ENOSPC: /no space left on device|input\/output error|database file cannot be opened/,
  EDQUOT: /disk quota exceeded|input\/output error|database file cannot be opened/,
  EIO: /i\/o error|input\/output error|database file cannot be opened/,
}

/** Failures and other news, and what ends them. */
const ENDS: Readonly<Record<string, string>> = {
  failed: 'recovered: commits',
  full: 'recovered: there is room on the disk again',
  'fold-failed': 'recovered: the log is folded again',
}

/** Kinds of failures that have not ended. Throws if one begins or ends twice. */
export function openFailures(events: readonly string[]): string[] {
  const open = new Set<string>()
  for (const event of events) {
    const [kind = ''] = event.split(':')
    const ended = Object.keys(ENDS).find((each) => ENDS[each] === event)
    if (ended !== undefined && open.delete(ended)) continue
    if (ENDS[kind] === undefined || open.has(kind)) throw new Error(`not in pairs: ${events.join('\n')}`)
    open.add(kind)
  }
  return [...open]
}

import { NOTICES } from '../src/base/notice.ts'
import { DEFAULT_CONFIG } from '../src/config/config.ts'
import { OPTION_GROUPS } from '../src/config/options/kinds.ts'
import { options, snEntryKey } from '../src/config/options.ts'
import { effectiveConfig } from '../src/http/effective-config.ts'

/**
 * What docs/notices.md and docs/configuration.md say, for the console: console/src/lib/reference.ts, which `npm run docs` writes.
 */
export function reference(): string {
  const { options: own, listeners, sn_listeners: ports } = effectiveConfig(DEFAULT_CONFIG) as Effective
  const defaultOf = (key: (typeof options)[number]['key']): unknown =>
    DERIVED.has(key) ? 'depends on the machine' : (own[key] ?? listeners[0]?.[key] ?? ports[0]?.[snEntryKey(key)])
  const groups = Object.keys(OPTION_GROUPS)
  const notices = Object.entries(NOTICES).map(([code, { about, action }]) => `  '${code}': ${JSON.stringify([about, action])},`)
  const known = options
    .filter(({ flagOnly }) => flagOnly !== true)
    .map(({ key, group, about }) => `  ${key}: ${JSON.stringify([groups.indexOf(group), about, defaultOf(key)])},`)
  return `// Written by \`npm run docs\` from src/base/notice.ts and src/config/options.ts.

/** What the code of a notice means, and what to do. */
export const NOTICES: Readonly<Record<string, readonly [about: string, action: string]>> = {
${notices.join('\n')}
}

/** Headings of docs/configuration.md. */
export const OPTION_GROUPS: readonly string[] = ${JSON.stringify(groups)}

/** Group, meaning, and default as \`GET /api/v1/config\` returns it. */
export const OPTIONS: Readonly<Record<string, readonly [group: number, about: string, standard: unknown]>> = {
${known.join('\n')}
}
`
}

interface Effective {
  readonly options: Readonly<Record<string, unknown>>
  readonly listeners: readonly Readonly<Record<string, unknown>>[]
  readonly sn_listeners: readonly Readonly<Record<string, unknown>>[]
}

/** 0, and then a figure that follows from the memory of the machine. */
const DERIVED: ReadonlySet<string> = new Set(options.filter(({ group }) => group === 'Memory').map(({ key }) => key))

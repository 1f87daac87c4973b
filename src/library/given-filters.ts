import { join } from 'node:path'
import { StartError } from '../base/start-error.ts'
import { type FilterSetting, inWords } from '../config/config.ts'
import { parseFilters } from '../config/io/filters.ts'
import { YamlFile } from '../config/io/yaml-file.ts'
import { isObjectOfKeys, jsonText, kindOf } from './json-text.ts'

/** A condition for the subscriptions of clients that cannot ask for one (docs/filters.md). At least one of the first three keys. */
export interface GivenFilter {
  /** A client id, in which `*` matches any number of characters. */
  readonly client?: string | undefined
  readonly user?: string | undefined
  /** Topic filter of the subscription. */
  readonly topic?: string | undefined
  /** The condition, in CEL. */
  readonly filter: string
}

/** The filters as the configuration file would have them. Errors name keys of `start` instead of lines. @throws StartError */
export function filtersOf(given: readonly GivenFilter[], cwd: string): readonly FilterSetting[] {
  if (!Array.isArray(given)) throw new StartError(`filters: expected a list of filters, got ${inWords(given)}`)
  for (const [i, filter] of given.entries())
    if (!isObjectOfKeys(filter)) throw new StartError(`filters[${i}]: expected an object, got ${kindOf(filter)}`)
  const path = join(cwd, 'filters')
  const told = (line: string): string => (line.startsWith(`${path}:`) ? line.slice(path.length).replace(/^:\d+:\d+: /, '') : line)
  try {
    const file = new YamlFile(path, jsonText('filters', given))
    return parseFilters(file, file.root).map((filter) => ({ ...filter, origin: told(filter.origin) }))
  } catch (error) {
    throw new StartError(error instanceof StartError ? told(error.message) : `filters: ${(error as Error).message}`)
  }
}

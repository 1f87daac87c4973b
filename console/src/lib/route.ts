import { signal } from '@preact/signals'

/** Where the user is: `#/sensors/sn%3Asensor-7?q=x` has the path ['sensors', 'sn:sensor-7']. */
export interface Where {
  readonly path: readonly string[]
  readonly query: Readonly<Record<string, string>>
}

export const where = signal<Where>(parse(location.hash))

addEventListener('hashchange', () => {
  where.value = parse(location.hash)
})

export function parse(hash: string): Where {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2)
  return {
    path: path
      .split('/')
      .filter((part) => part !== '')
      .map(decoded),
    query: Object.fromEntries(new URLSearchParams(query)),
  }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** Query values that are empty or undefined are left out. */
export function href(path: readonly string[], query: Readonly<Record<string, string | undefined>> = {}): string {
  const known = Object.entries(query).filter((each): each is [string, string] => each[1] !== undefined && each[1] !== '')
  return `#/${path.map(encodeURIComponent).join('/')}${known.length === 0 ? '' : `?${new URLSearchParams(known)}`}`
}

/** Changes parts of the query where the user is, without an entry in the history: what is typed into a search field. */
export function setQuery(changes: Readonly<Record<string, string | undefined>>): void {
  const { path, query } = where.value
  history.replaceState(null, '', href(path, { ...query, ...changes }))
  where.value = parse(location.hash)
}

export function go(path: readonly string[], query: Readonly<Record<string, string | undefined>> = {}): void {
  location.hash = href(path, query)
}

/** A page of a sensor, of a client, of a topic. */
export const clientHref = (id: string): string => href([id.startsWith('sn:') ? 'sensors' : 'clients', id])
export const topicHref = (topic: string): string => href(['topics'], { topic })

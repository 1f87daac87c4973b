/**
 * What the client ids of one user begin with, by a `clientid_prefixes` with `%u` in it. `undefined` for nobody in particular, and for a name that
 * holds what stands behind `%u`: with `%u-` the ids of `a-b` would be among those of `a`.
 */
export function prefixOf(prefixes: string, username: string | undefined): string | undefined {
  const [before, separator] = prefixes.split('%u') as [string, string]
  return username === undefined || username === '' || username.includes(separator) ? undefined : before + username + separator
}

export const hasUserName = (prefixes: string): boolean => prefixes.includes('%u')

/** Licences (SPDX ids) of packages that may go to users: none of them says anything about the licence of what uses the package. */
const ALLOWED = ['0BSD', 'Apache-2.0', 'BlueOak-1.0.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'MIT']

/**
 * Returns whether these licences are enough for an SPDX expression: one of what OR joins, or all of what AND joins. One with inner
 * parentheses is for a person to read.
 * @param {unknown} expression undefined where a package names none
 */
export function satisfies(expression) {
  if (typeof expression !== 'string') return false
  const terms = expression.replace(/^\((.*)\)$/, '$1')
  if (/[()]/.test(terms)) return false
  const allowed = (id) => ALLOWED.includes(id)
  return terms.split(' OR ').some((part) => part.split(' AND ').every(allowed))
}

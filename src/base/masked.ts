/**
 * Returns the text with user names and passwords removed from URLs, for errors and logs. Removes too much rather than too
 * little: an invalid URL may contain a password, too. Takes linear time, because the text may be a whole file.
 */
export function masked(text: string): string {
  const at = text.lastIndexOf('@')
  const scheme = /:\/\/|https?:[/\\]*/i.exec(text.slice(0, Math.max(0, at)))
  return scheme === null ? text : `${text.slice(0, scheme.index + scheme[0].length)}***${text.slice(at)}`
}

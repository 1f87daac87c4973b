/**
 * Returns the text with user names and passwords removed from URLs, for errors and logs. Removes too much rather than too
 * little: an invalid URL may contain a password, too.
 */
export const masked = (text: string): string => text.replaceAll(/([a-z][a-z\d+.-]*:\/\/|https?:[/\\]*).*@/gis, '$1***@')

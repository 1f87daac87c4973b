/**
 * The text with the user names and passwords of URLs taken out, for errors and logs. Takes too much rather than too little: what is no valid URL may
 * hold a password all the same.
 */
export const masked = (text: string): string => text.replaceAll(/([a-z][a-z\d+.-]*:\/\/|https?:[/\\]*).*@/gis, '$1***@')

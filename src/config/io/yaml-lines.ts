/** A pair, a comment, or nothing where a pair was taken back. */
export interface YamlLine {
  readonly key?: string
  readonly value?: string | number | boolean
  /** Where the pair came from; not written. */
  readonly place?: string
  /** Stands behind the pair. */
  readonly note?: string
  readonly comment?: string
}

/** The lines of a map, each with `indent`; the first pair with `first` instead. */
export function block(lines: readonly YamlLine[], indent: string, first = indent): string {
  let lead = first
  return lines
    .map(({ key, value, note, comment: text }) => {
      // A comment in front of the list's first pair stands above its dash.
      if (text !== undefined) return `${lead === first ? ' '.repeat(first.search(/-|$/)) : indent}${comment(text)}\n`
      if (key === undefined || value === undefined) return ''
      const line = `${lead}${key}: ${scalar(value)}${note === undefined ? '' : ` ${comment(note)}`}\n`
      lead = indent
      return line
    })
    .join('')
}

export const comment = (text: string): string => `# ${withoutControls(text)}`

/** Without what would end a comment, or do something to a terminal. */
export const withoutControls = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there.
  text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '?')

/** Plain if that is unambiguous, otherwise JSON, which is YAML too. */
function scalar(value: string | number | boolean): string {
  if (typeof value !== 'string') return String(value)
  const plain = /^[A-Za-z/][\w/.-]*$/.test(value) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(value)
  return plain ? value : JSON.stringify(value)
}

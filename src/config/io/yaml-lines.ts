/** A pair, a comment, or nothing if the pair was removed again. */
export interface YamlLine {
  readonly key?: string
  readonly value?: string | number | boolean
  /** The origin of the pair; not written to the file. */
  readonly place?: string
  /** A comment at the end of the line. */
  readonly note?: string
  readonly comment?: string
}

/** Formats the lines of a map, each indented by `indent`, the first pair by `first` instead. */
export function block(lines: readonly YamlLine[], indent: string, first = indent): string {
  let lead = first
  return lines
    .map(({ key, value, note, comment: text }) => {
      // A comment before the first pair of a list item goes above the dash.
      if (text !== undefined) return `${lead === first ? ' '.repeat(first.search(/-|$/)) : indent}${comment(text)}\n`
      if (key === undefined || value === undefined) return ''
      const line = `${lead}${key}: ${scalar(value)}${note === undefined ? '' : ` ${comment(note)}`}\n`
      lead = indent
      return line
    })
    .join('')
}

export const comment = (text: string): string => `# ${withoutControls(text)}`

/** Replaces control characters, which could end a comment or control a terminal. */
export const withoutControls = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there.
  text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '?')

/** Formats a scalar: plain if that is unambiguous, otherwise as JSON, which is valid YAML. */
export function scalar(value: string | number | boolean): string {
  if (typeof value !== 'string') return String(value)
  const plain = /^[A-Za-z/][\w/.-]*$/.test(value) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(value)
  return plain ? value : JSON.stringify(value)
}

/** Characters that change how the text around them is shown, or that end a line: control, formatting, and lone surrogates. */
export const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

/**
 * Returns a value as JSON in which such characters are escaped. JSON.stringify leaves DEL, C1 and bidirectional controls
 * as they are, and a terminal obeys them.
 */
export const quoted = (value: unknown): string =>
  JSON.stringify(value).replaceAll(UNPRINTABLE, (character) =>
    // Two units if it is above U+FFFF, as JSON wants it.
    character.replaceAll(/./gs, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  )

/** What is no text [5.0 section 1.5.4], for MQTT and for what sensors hand on to the broker: ill-formed UTF-8, and U+0000. */
export const NO_TEXT: readonly (readonly [string, string])[] = [
  ['a stray continuation byte', '80'],
  ['a sequence without its end', 'c3'],
  ['a sequence with another byte in it', 'c328'],
  ['an overlong slash', 'c0af'],
  ['an overlong form of three bytes', 'e08080'],
  ['a high surrogate', 'eda080'],
  ['a low surrogate', 'edbfbf'],
  ['a character above U+10FFFF', 'f4908080'],
  ['a byte that UTF-8 never has', 'ff'],
  ['U+0000', '610062'],
]

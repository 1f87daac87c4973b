/** What a level of a topic must not contain, and `%`, which begins an escape. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it finds.
const ESCAPED = /[/+#%\u0000-\u001f\u007f-\u009f]/g
const ENCODER = new TextEncoder()

/** The client id as one level of a topic, percent-encoded as in a URL: `site/7` is `site%2F7`. */
export const levelOf = (clientId: string): string => clientId.replace(ESCAPED, escaped)

function escaped(character: string): string {
  let text = ''
  for (const byte of ENCODER.encode(character)) text += `%${(byte < 16 ? '0' : '') + byte.toString(16).toUpperCase()}`
  return text
}

/** The client id that `levelOf` makes this level of; `undefined` if there is none. */
export function clientIdOf(level: string): string | undefined {
  if (!level.includes('%')) return level.search(ESCAPED) < 0 ? level : undefined
  let clientId: string
  try {
    clientId = decodeURIComponent(level)
  } catch {
    return undefined
  }
  return levelOf(clientId) === level ? clientId : undefined
}

/** How the ids that Home Assistant is told begin. */
export const OBJECT_ID_PREFIX = 'roost_'

/**
 * The object id for Home Assistant, which allows `[a-zA-Z0-9_-]`: the client id with `_` for everything else, and a hash, because
 * `a/b` and `a_b` are different sensors: `roost_a_b_3a8e75c1`. It stays the same for ever, because Home Assistant keeps names
 * and rooms by it.
 */
export const objectIdOf = (clientId: string): string =>
  `${OBJECT_ID_PREFIX}${clientId.replaceAll(/[^a-zA-Z0-9_-]/g, '_')}_${hash(clientId).toString(16).padStart(8, '0')}`

const HASH_LENGTH = '_00000000'.length

/** The client id as it stands in an object id; another may stand there in the same way if this has a `_`. */
export const plainIdOf = (objectId: string): string => objectId.slice(OBJECT_ID_PREFIX.length, -HASH_LENGTH)

/** Whether `objectIdOf` makes this object id of the client id: at once for an id of another length. */
export const hasObjectId = (clientId: string, objectId: string): boolean =>
  objectId.length === OBJECT_ID_PREFIX.length + clientId.length + HASH_LENGTH && objectIdOf(clientId) === objectId

/** FNV-1a of the UTF-8 bytes, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (const byte of ENCODER.encode(text)) value = Math.imul(value ^ byte, 0x01000193)
  return value >>> 0
}

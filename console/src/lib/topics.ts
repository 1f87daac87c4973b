const TOPIC_BYTES_MAX = 0xffff
const encoder = new TextEncoder()

const stringError = (text: string): string => {
  if (/[\0\p{Cs}]/u.test(text)) return 'contains U+0000, or half a character'
  return encoder.encode(text).length > TOPIC_BYTES_MAX ? `is longer than ${TOPIC_BYTES_MAX} bytes` : ''
}

/** What is wrong with a topic name; '' if it is right. Roost checks it, too. */
export function topicNameError(topic: string): string {
  if (topic === '') return 'is missing'
  if (/[+#]/.test(topic)) return 'has a wildcard (+ or #), which is for subscribing'
  return stringError(topic)
}

/** What is wrong with a topic filter; '' if it is right. */
export function topicFilterError(filter: string): string {
  if (filter === '') return 'is missing'
  const levels = filter.split('/')
  if (levels.some((level) => level.length > 1 && /[+#]/.test(level))) return 'has a wildcard that is not a whole level'
  if (levels.slice(0, -1).includes('#')) return 'has # before its last level'
  return stringError(filter)
}

/** The filter of a topic and everything below it. */
export const belowFilter = (topic: string): string => `${topic}/#`

/** What is wrong with a topic name [5.0 section 4.7], '' if nothing is. */
export function topicNameError(name: string): string {
  if (name === '') return 'empty topic name'
  if (name.includes('+') || name.includes('#')) return 'wildcard in a topic name'
  return ''
}

/** What is wrong with a topic filter: empty (MQTT-4.7.3-1), `#` (MQTT-4.7.1-1) or `+` (MQTT-4.7.1-2) out of place; '' if nothing is. */
export function topicFilterError(filter: string): string {
  if (filter === '') return 'empty topic filter'
  for (let i = 0; i < filter.length; i++) {
    const character = filter[i]
    if (character !== '+' && character !== '#') continue
    if (i > 0 && filter[i - 1] !== '/') return `${character} is not a whole level`
    if (character === '#' ? i + 1 < filter.length : i + 1 < filter.length && filter[i + 1] !== '/') {
      return character === '#' ? '# is not the last level' : '+ is not a whole level'
    }
  }
  return ''
}

import { StartError } from '../base/start-error.ts'
import type { ConditionOptions } from '../broker/conditions.ts'
import type { Config } from '../config/config.ts'
import type { Contents } from '../filters/contents.ts'
import { FilterRules } from '../filters/filter-rules.ts'
import { CelLanguage } from '../filters/io/cel.ts'
import { topicFilterError } from '../mqtt/topics.ts'

/** The conditions of subscriptions as configured. @throws StartError for a condition or topic filter that is not valid */
export function conditionOptions({ filters = [] }: Pick<Config, 'filters'>, contents?: Contents): ConditionOptions {
  const language = new CelLanguage(contents)
  for (const { origin, topic, filter } of filters) {
    const compiled = language.compile(filter)
    if ('error' in compiled) throw new StartError(`${origin}: ${compiled.error}`)
    if (topic !== undefined && topicFilterError(topic) !== '')
      throw new StartError(`${origin.replace(/\.filter$/, '.topic')}: ${topicFilterError(topic)}`)
  }
  return { language, configured: new FilterRules(filters) }
}

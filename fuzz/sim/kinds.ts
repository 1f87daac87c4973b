import type { ContentCheck } from '../../src/broker/content-check.ts'
import { type Layout, LayoutBuilder } from '../../src/filters/binary-layout.ts'
import { Contents } from '../../src/filters/contents.ts'
import { TopicTypes } from '../../src/filters/topic-types.ts'
import { TypeCheck } from '../../src/filters/type-check.ts'
import type { Setup } from './setup.ts'
import { TOPICS } from './step.ts'
import { isUnfit } from './texts.ts'

/** Content type of all topics but that of wills. */
export const CONTENT_TYPE = 'text/plain'

/** Types as a site may configure them: every topic carries text, and some text does not fit. */
export function contentCheck({ types }: Setup): ContentCheck | undefined {
  if (types === 'none') return undefined
  const fields = new LayoutBuilder()
  fields.add({ kind: 'string', name: 'text' })
  const definition = {
    name: 'said',
    topics: TOPICS,
    contentType: CONTENT_TYPE,
    layout: fields.finish('big') as Layout,
    invalid: types,
    invalidMqtt3: 'acknowledge',
  } as const
  const validate = (value: unknown): string => (isUnfit((value as { text: string }).text) ? '/text is unfit' : '')
  return new TypeCheck(new Contents(new TopicTypes([definition])), new Map([['said', validate]]))
}

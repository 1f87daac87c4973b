import type { Notice } from '../../src/base/notice.ts'

/** Of a `message-dropped` that drops no message: a copy of one that was delivered, or a frame that comes again. */
const NO_DROP = /^late copy|^packet type|^(?!PUBLISH with QoS 0)[A-Z]+ not sent/

/** How many messages for its client a Notice says were dropped. */
export function dropsTold({ code, reason = '', count = 1 }: Notice): number {
  if (code === 'queue-full') return count
  return code === 'message-dropped' && !NO_DROP.test(reason) ? count : 0
}

import type { PublishAnswer, PublishQuestion } from '../../src/broker/hooks.ts'

/**
 * What the program around the broker does with messages: `none` has no hook. `asks` answers at once, `late` after a while, one client sooner
 * than another, `refuses` does not want every third message, `moves` publishes some elsewhere.
 */
export type HookKind = 'none' | 'asks' | 'late' | 'refuses' | 'moves'

/** Milliseconds, one after the other: less and more than a turn, a commit, and a step. */
const DELAYS = [0, 4000, 1, 40, 5, 0, 700]

/** Where `moves` publishes what is said on this topic. */
export const movedTo = (kind: HookKind, topic: string): string => (kind === 'moves' && topic === 'xy' ? 'room/a' : topic)

/** Whether it does not want this message. */
export const refuses = (kind: HookKind, text: string): boolean =>
  kind === 'refuses' && Number(/^\S+ (\d+)/.exec(text)?.[1] ?? 1) % 3 === 0

/** How the program answers, and after how long. A message that is sent again is answered alike. */
export function answerOf(
  kind: HookKind,
  { id, topic, payload, clientId }: PublishQuestion,
): { ms: number; answer: PublishAnswer } {
  const ms = kind === 'asks' ? 0 : DELAYS[(id + clientId.length) % DELAYS.length]!
  if (refuses(kind, Buffer.from(payload).toString()))
    return { ms, answer: { kind: 'refused', reasonCode: 0x87, reason: 'a third' } }
  // What was retained is deleted where it is, by whomever it was published.
  const moved = payload.length === 0 ? topic : movedTo(kind, topic)
  return { ms, answer: moved === topic ? { kind: 'accepted' } : { kind: 'accepted', change: { topic: moved } } }
}

import { covers, intersection } from '../mqtt/topics.ts'
import type { ExplainedRule, Permission } from './acl.ts'

/** What a rule may be asked about: PUBLISH, SUBSCRIBE, and the delivery of a message. */
export const ACTIONS = ['publish', 'subscribe', 'receive'] as const
export type Action = (typeof ACTIONS)[number]

/** The actions to which a rule applies. A rule with `deny` denies them, any other one allows them. */
export const actionsOf = (permission: Permission): readonly Action[] =>
  permission === 'read' ? ['subscribe', 'receive'] : permission === 'write' ? ['publish'] : ACTIONS

/** A rule with a filter: it applies to the client. */
type AppliedRule = ExplainedRule & { readonly filter: string }

/**
 * Returns the rule that decides, as `RuleSet` decides: a denial overrides what is allowed. `undefined` if no rule is about this
 * topic name, or topic filter for 'subscribe', so that it is denied. `filtered`: a subscription is allowed if some of its topics may
 * be read.
 */
export function decidingRule(
  rules: readonly ExplainedRule[],
  action: Action,
  topicOrFilter: string,
  filtered: boolean,
): ExplainedRule | undefined {
  const about = rules.filter(
    (rule): rule is AppliedRule => rule.filter !== undefined && actionsOf(rule.permission).includes(action),
  )
  const denied = about.filter(({ permission }) => permission === 'deny')
  const allowed = about.filter(({ permission }) => permission !== 'deny')
  if (action !== 'subscribe' || !filtered) {
    const deciding = denied.find(({ filter }) => covers(filter, topicOrFilter))
    return deciding ?? allowed.find(({ filter }) => covers(filter, topicOrFilter))
  }
  let denial: ExplainedRule | undefined
  for (const rule of allowed) {
    const part = intersection(rule.filter, topicOrFilter)
    if (part === undefined) continue
    const against = denied.find(({ filter }) => covers(filter, part))
    if (against === undefined) return rule
    denial ??= against
  }
  return denial
}

/** Returns whether a filter that may be subscribed to matches topics that may not be read, as far as single rules tell. */
export function isPartial(rules: readonly ExplainedRule[], filter: string): boolean {
  const about = rules.filter(
    (rule): rule is AppliedRule => rule.filter !== undefined && actionsOf(rule.permission).includes('receive'),
  )
  const isWhole = about.some((rule) => rule.permission !== 'deny' && covers(rule.filter, filter))
  return !isWhole || about.some((rule) => rule.permission === 'deny' && intersection(rule.filter, filter) !== undefined)
}

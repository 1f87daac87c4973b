import type { Instant } from '../base/machine.ts'
import { COST, stringBytes } from '../base/memory-costs.ts'
import { NameMap } from '../base/name-map.ts'
import type { NoticeSink } from '../base/notice.ts'
import type { Publish } from '../mqtt/publish.ts'
import { realFilter } from '../mqtt/topics.ts'
import type { WallClock } from '../store/store.ts'
import type { Identity } from './access.ts'
import type { Looked } from './topic-tree.ts'

/** Steps of an evaluation in the time that looking at a level of a topic takes. */
const STEPS_PER_LOOK = 8

/**
 * Steps that conditions may take on one message: those of one client, and all together. Beyond that a condition may only take the
 * least, which is enough to compare a few fields: so nobody's simple condition fails because of what others ask for.
 */
const CLIENT_STEPS = 16_384
const MESSAGE_STEPS = 65_536
const LEAST_STEPS = 128

/** Result of an evaluation that would take more steps than it may. */
export const TOO_COSTLY = 'evaluating it would take too long'

/** Characters of the reason of a failure in a notice: it may quote the message. */
const WHY_LENGTH = 120

/** What a condition sees of one message: the variables of docs/filters.md. Each is computed when it is first asked for. */
export interface MessageFacts {
  /** Different for every message: a condition is evaluated once for each. */
  readonly serial: number
  /** What evaluating conditions on this message has cost so far, in steps of about 0.1 us. */
  spent: number
  /** Up to which sum the conditions of the client at hand may go on; set by `beginClient`. */
  until: number
}

/** The conditions of another client follow. */
export function beginClient(facts: MessageFacts): void {
  facts.until = Math.min(facts.spent + CLIENT_STEPS, MESSAGE_STEPS)
}

/** A condition that can be evaluated. */
export interface CompiledCondition {
  /** Estimated bytes of memory. */
  readonly bytes: number
  /** Takes `most` steps at most. A text says why it failed: the message has no such field, for example, or `TOO_COSTLY`. */
  test(facts: MessageFacts, most: number): boolean | string
}

export interface ConditionError {
  /** In one line, with the position. */
  readonly error: string
}

/** The language of conditions (src/filters/io/cel.ts). */
export interface ConditionLanguage {
  compile(text: string): CompiledCondition | ConditionError
  /** `wall`: milliseconds since 1970. */
  factsOf(message: Publish, wall: number): MessageFacts
}

/** Conditions that the configuration gives to subscriptions (`filters`). */
export interface ConfiguredConditions {
  /** Undefined if there is none for this subscription. `filter` without `$share/<group>/`. */
  conditionFor(clientId: string, username: string | undefined, filter: string): string | undefined
}

export interface ConditionOptions {
  /** Absent where no condition is accepted. */
  readonly language?: ConditionLanguage
  readonly configured?: ConfiguredConditions
}

/** A subscription. */
interface Conditioned {
  readonly filter: string
  readonly condition?: Condition
}

interface ConditionLimits {
  /** Different conditions in use. */
  readonly maxConditions: number
}

/** What all evaluations so far came to. */
export class ConditionStats {
  evaluated = 0
  /** Of these, those that let the message through. */
  passed = 0
  /** Those that failed, which counts as false. */
  failed = 0
}

/** One condition, shared by all subscriptions that have the same text. */
export class Condition {
  readonly text: string
  readonly stats = new ConditionStats()
  readonly bytes: number
  /** Undefined if the text, which comes from the store, is no longer valid: nothing passes. */
  readonly #compiled: CompiledCondition | undefined
  readonly #table: Conditions
  /** Subscriptions that have it, and SUBSCRIBEs in progress. */
  #uses = 0
  #serial = -1
  #passes = false
  /** The steps that were not enough for the last evaluation, if it might have had more; otherwise 0. */
  #cutAt = 0
  #isTold = false
  #isCutTold = false

  constructor(text: string, compiled: CompiledCondition | undefined, table: Conditions) {
    this.text = text
    this.#compiled = compiled
    this.#table = table
    this.bytes = COST.condition + stringBytes(text) + (compiled?.bytes ?? 0)
  }

  get isValid(): boolean {
    return this.#compiled !== undefined
  }

  /** Evaluated once for each message; again only for a client that may go further than the one before. */
  matches(facts: MessageFacts): boolean {
    const { spent: before } = facts
    const most = Math.max(LEAST_STEPS, facts.until - before)
    if (facts.serial === this.#serial && (this.#cutAt === 0 || most <= this.#cutAt)) return this.#passes
    const { stats } = this
    const { stats: total } = this.#table
    const result = this.#compiled?.test(facts, most) ?? false
    this.#table.looked.sum += (facts.spent - before) / STEPS_PER_LOOK
    this.#serial = facts.serial
    this.#passes = result === true
    this.#cutAt = result === TOO_COSTLY && most < CLIENT_STEPS ? most : 0
    stats.evaluated++
    total.evaluated++
    if (result === true) {
      stats.passed++
      total.passed++
    } else if (result !== false) {
      total.failed++
      stats.failed++
      this.#tellFailure(result)
    }
    return this.#passes
  }

  /** Once, and once more if it is only because of other conditions. */
  #tellFailure(why: string): void {
    if (this.#cutAt === 0) {
      if (!this.#isTold) this.#table.tellFailure(this, why)
      this.#isTold = true
    } else if (!this.#isCutTold) {
      this.#isCutTold = true
      this.#table.tellFailure(this, `${why} beside the other conditions on the same message`)
    }
  }

  hold(): void {
    this.#uses++
  }

  release(): void {
    if (--this.#uses === 0) this.#table.forget(this)
  }
}

/** All conditions in use, by their text. */
export class Conditions {
  readonly stats = new ConditionStats()
  /** Where evaluations are counted, so that they count in the turn of whose message it is. */
  readonly looked: Looked
  readonly #configured: ConfiguredConditions | undefined
  readonly #language: ConditionLanguage | undefined
  readonly #limits: ConditionLimits
  readonly #clock: WallClock
  readonly #notice: NoticeSink
  readonly #byText = new NameMap<Condition>()
  #bytes = 0
  #last: { readonly message: Publish; readonly now: Instant; readonly facts: MessageFacts } | undefined = undefined

  constructor(
    { language, configured }: ConditionOptions = {},
    limits: ConditionLimits,
    clock: WallClock,
    notice: NoticeSink,
    looked: Looked,
  ) {
    this.#language = language
    this.#configured = configured
    this.#limits = limits
    this.#clock = clock
    this.#notice = notice
    this.looked = looked
  }

  /** Number of different conditions in use. */
  get size(): number {
    return this.#byText.size
  }

  get bytes(): number {
    return this.#bytes
  }

  values(): Iterable<Condition> {
    return this.#byText.values()
  }

  /** Held for the caller, who has to release it. 'full': `max_conditions` others are in use. */
  acquire(text: string): Condition | ConditionError | 'full' {
    const known = this.#byText.get(text)
    if (known?.isValid === true) {
      known.hold()
      return known
    }
    if (this.#language === undefined) return { error: 'this broker accepts no conditions' }
    if (this.#byText.size >= this.#limits.maxConditions) return 'full'
    const compiled = this.#language.compile(text)
    if ('error' in compiled) return compiled
    return this.#add(text, compiled)
  }

  /** What the configuration says for a subscription whose client does not. */
  configuredFor({ clientId, username }: Identity, filter: string): string | undefined {
    return this.#configured?.conditionFor(clientId, username, realFilter(filter))
  }

  /** The condition of a subscription that is not from the configuration. */
  ownOf(who: Identity, { filter, condition }: Conditioned): Condition | undefined {
    return condition?.text === this.configuredFor(who, filter) ? undefined : condition
  }

  /** That of a stored subscription, or of the configuration: nothing matches it if it is not valid, which is reported. */
  restore(text: string): Condition {
    const known = this.#byText.get(text)
    if (known !== undefined) {
      known.hold()
      return known
    }
    const compiled = this.#language?.compile(text) ?? { error: 'this broker accepts no conditions' }
    if (!('error' in compiled)) return this.#add(text, compiled)
    const reason = `a stored condition is not valid, its subscriptions match nothing: ${compiled.error}: ${text}`
    this.#notice({ code: 'condition-failed', level: 'warn', reason })
    return this.#add(text, undefined)
  }

  /** The facts of a message; the same object as long as they are asked for the same message, so that it is parsed once. */
  factsOf(message: Publish, now: Instant): MessageFacts {
    const last = this.#last
    if (last?.message === message && last.now === now) return last.facts
    const { wallEpoch = this.#clock.epoch } = this.#clock
    // Conditions that can be evaluated exist only where there is a language.
    const facts = this.#language?.factsOf(message, wallEpoch + now) ?? { serial: 0, spent: 0, until: 0 }
    this.#last = { message, now, facts }
    return facts
  }

  /** So many clients are asked about a message, each a step at least, whatever their conditions say. */
  askClients(count: number): void {
    this.looked.sum += count / STEPS_PER_LOOK
  }

  /** The turn is over: the last message need not be kept. */
  endTurn(): void {
    this.#last = undefined
  }

  tellFailure(condition: Condition, why: string): void {
    const reason = `${why.slice(0, WHY_LENGTH)}, which counts as false: ${condition.text}`
    this.#notice({ code: 'condition-failed', level: 'info', reason })
  }

  forget(condition: Condition): void {
    this.#byText.delete(condition.text)
    this.#bytes -= condition.bytes
  }

  #add(text: string, compiled: CompiledCondition | undefined): Condition {
    const condition = new Condition(text, compiled, this)
    this.#byText.set(text, condition)
    this.#bytes += condition.bytes
    condition.hold()
    return condition
  }
}

/** Characters of a condition. */
export const LENGTH_MAX = 1024
/** Levels of its expression, and of brackets. */
export const DEPTH_MAX = 16
/** Regular expressions in one condition, characters of each, and the sum of its repetition counts. */
export const PATTERNS_MAX = 4
export const PATTERN_LENGTH_MAX = 256
export const REPEATS_MAX = 100
/** Instructions that a regular expression may compile to. */
export const PROGRAM_MAX = 200

/**
 * Steps that one evaluation may take, of about 0.1 us: JavaScript cannot interrupt it, so whatever takes longer than its own node
 * of the expression is charged before it runs, and fails if not enough is left.
 */
export const STEPS_MAX = 10_000

/** User properties of a message of which a condition may ask. */
export const PROPERTIES_MAX = 1024

/** Values in all lists and objects of JSON of which a condition may ask. Its bytes and levels: json-text.ts. */
export const JSON_VALUES_MAX = 4096

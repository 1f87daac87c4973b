export interface Bug {
  readonly name: string
  readonly breaks: string
  /** `model`, `real`, or the path of a test file, from `test/` or in `fuzz/`. */
  readonly suite: string
  /** Of a bug of the past: the title, or a part of it, of the one test that has to find it. */
  readonly test?: string
  /** Of a bug of the past: the life that found it, a file in `regressions/` without `.json`. */
  readonly regression?: string
  /** Of the soak, if not one. */
  readonly minutes?: number
  readonly file: string
  readonly line: string
  readonly planted: string
}
export function bugs(): readonly Bug[]
export function livesOf(suite: string): string
export function fileOf(suite: string): string

export interface Bug {
  readonly name: string
  readonly breaks: string
  /** `model`, `real`, or the path of a test file from `fuzz/`. */
  readonly suite: string
  /** Of the soak, if not one. */
  readonly minutes?: number
  readonly file: string
  readonly line: string
  readonly planted: string
}
export function bugs(): readonly Bug[]

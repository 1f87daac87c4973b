export interface Bug {
  readonly name: string
  readonly breaks: string
  readonly file: string
  readonly line: string
  readonly planted: string
}
export function bugs(): readonly Bug[]

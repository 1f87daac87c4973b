export interface Row {
  readonly binds: 'server' | 'client'
  readonly file?: string
  readonly line?: string
  readonly disabled?: string
  readonly test?: string
  readonly title?: string
  readonly same?: string
  readonly by?: string
}
export type Version = '3.1.1' | '5.0'
export const VERSIONS: readonly Version[]
export function idsOf(version: Version): readonly string[]
export function tableOf(version: Version): ReadonlyMap<string, Row>
export type Mutation = Required<Pick<Row, 'file' | 'line' | 'disabled' | 'test' | 'title'>> & { readonly id: string }
export function mutations(): readonly Mutation[]

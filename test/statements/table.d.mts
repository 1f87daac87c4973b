export interface Row {
  readonly binds: 'server' | 'client'
  readonly test?: string
  readonly title?: string
  readonly replace?: string
  readonly with?: string
  readonly same?: string
  readonly by?: string
}
export type Version = '3.1.1' | '5.0'
export const VERSIONS: readonly Version[]
export function idsOf(version: Version): readonly string[]
export function tableOf(version: Version): ReadonlyMap<string, Row>
export type Mutation = Required<Pick<Row, 'test' | 'title'>> & Pick<Row, 'replace' | 'with'> & { readonly id: string }
export function mutations(): readonly Mutation[]

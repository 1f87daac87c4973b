import type { Mutation } from './table.mjs'

export interface Pin {
  /** With its version: `5.0 MQTT-3.3.1-5`. */
  readonly id: string
  readonly file: string
  readonly at: number
}
export function pins(): readonly Pin[]
export function disabled(text: string, at: number, how: Pick<Mutation, 'replace' | 'with'>): string

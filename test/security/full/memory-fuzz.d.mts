import type { Started } from './started.mjs'

export function fuzz(roost: Started, seconds: number, seed?: number): Promise<{ readonly steps: number; readonly seed: number }>

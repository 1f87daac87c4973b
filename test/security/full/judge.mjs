// What every check says, and how it says that something is not as it should be.
import { MIB } from './started.mjs'

/** For checks that open thousands of connections from one address. */
export const OPEN = ['--max-connections', '20000', '--max-connections-per-address', '0']

export class Failed extends Error {}
export function wants(holds, what) {
  if (!holds) throw new Failed(what)
}

export const mib = (bytes) => `${(bytes / MIB).toFixed(1)} MiB`
export const ms = (count) => `${count.toFixed(1)} ms`
export const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`
export const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time))

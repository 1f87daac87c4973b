import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import type { MemoryLimits } from '../base/memory.ts'
import type { Config } from '../config/config.ts'

const MIB = 1024 * 1024
/**
 * Memory in bytes of a process without clients: 65 MiB at the start, and what compiled code and the spare pages of malloc
 * take later. With 64 MiB, whatever clients made it hold, a process of 300 MiB came to 310.
 */
const OWN_BYTES = 80 * MIB
/**
 * Memory in bytes of the store's thread: its heap, SQLite's pages, the part of the log that is being folded, and what
 * malloc retains for it.
 */
const STORE_BYTES = 80 * MIB
/** Share of the rest that clients may use. Garbage that has not been collected yet needs room too. */
const PART = 0.6
/** Minimum of the derived limit in bytes. */
const LEAST = 8 * MIB
/** Shares of the limit for one client, and for one user or address. */
const CLIENT_PART = 1 / 4
const GROUP_PART = 1 / 2

/**
 * Bytes that V8 adds to the old space for short-lived objects. Node.js 24 adds four times as much; this increases its
 * heap_size_limit accordingly, but leaves no more room for long-lived objects.
 */
const YOUNG_BYTES = 48 * MIB

/** A limit on the memory of the process: bytes, and the name of what enforces it. */
export interface Bound {
  readonly bytes: number
  readonly name: string
}

/**
 * Returns the limit of this process: the smallest of V8's heap, the memory of the machine or its container, and what
 * ulimit leaves.
 */
export function processBound(): Bound {
  const bounds: Bound[] = [
    { bytes: getHeapStatistics().heap_size_limit, name: "V8's heap (node --max-old-space-size)" },
    { bytes: totalmem(), name: 'the memory of this machine' },
  ]
  const oldSpace = askedOldSpace()
  if (oldSpace !== undefined) bounds.push({ bytes: oldSpace + YOUNG_BYTES, name: "V8's heap (node --max-old-space-size)" })
  // Without a limit this is 0, or a number larger than any machine's memory.
  const constrained = process.constrainedMemory()
  if (constrained > 0) bounds.push({ bytes: constrained, name: 'the memory of this container' })
  for (const { bytes, name } of ulimits()) bounds.push({ bytes, name })
  return bounds.reduce((least, bound) => (bound.bytes < least.bytes ? bound : least))
}

/** Returns the value of `--max-old-space-size` in bytes; undefined if it is not set. */
function askedOldSpace(): number | undefined {
  const flags = [process.env.NODE_OPTIONS ?? '', ...process.execArgv].join(' ')
  const given = [...flags.matchAll(/--max[-_]old[-_]space[-_]size[= ](\d+)/g)].at(-1)
  return given === undefined ? undefined : Number(given[1]) * MIB
}

/**
 * Returns the limits set by ulimit. Much address space is reserved and never used, so only what is left beyond the
 * current size counts.
 */
function ulimits(): Bound[] {
  const left = (limit: string, size: string): Bound[] => {
    const [, bytes] = new RegExp(`^${limit} +(\\d+)`, 'm').exec(read('limits')) ?? []
    const [, taken] = new RegExp(`^${size}:\\s+(\\d+) kB`, 'm').exec(read('status')) ?? []
    if (bytes === undefined || taken === undefined) return []
    return [{ bytes: Math.max(0, Number(bytes) - Number(taken) * 1024) + OWN_BYTES, name: `ulimit (${limit.toLowerCase()})` }]
  }
  return [...left('Max address space', 'VmSize'), ...left('Max data size', 'VmData')]
}

function read(name: string): string {
  try {
    return readFileSync(`/proc/self/${name}`, 'utf8')
  } catch {
    return ''
  }
}

/**
 * Returns the limits, configured or derived from `bound`, with the line to log at the start, and a warning if
 * `memory_limit` exceeds what the process can have.
 */
export function memoryLimits(
  config: Pick<Config, 'memory' | 'memoryLimit' | 'maxMemoryPerClient' | 'maxMemoryPerUser' | 'maxMemoryPerAddress'>,
  bound: Bound,
): { readonly limits: MemoryLimits; readonly told: string; readonly warning: string | undefined } {
  const left = bound.bytes - OWN_BYTES - (config.memory ? 0 : STORE_BYTES)
  const derived = Math.max(LEAST, Math.floor(left * PART))
  const memoryLimit = config.memoryLimit || derived
  const part = (own: number, share: number): number => own || Math.floor(memoryLimit * share)
  const limits = {
    memoryLimit,
    maxMemoryPerClient: part(config.maxMemoryPerClient, CLIENT_PART),
    maxMemoryPerUser: part(config.maxMemoryPerUser, GROUP_PART),
    maxMemoryPerAddress: part(config.maxMemoryPerAddress, GROUP_PART),
  }
  const from = config.memoryLimit > 0 ? 'as configured' : `60 % of ${mib(left)} (${bound.name}, less ${mib(bound.bytes - left)})`
  const told = `Memory for clients: ${mib(memoryLimit)}, ${from} (change with --memory-limit)`
  const isTooMuch = memoryLimit > Math.max(LEAST, left)
  const warning = isTooMuch
    ? `memory_limit is ${mib(memoryLimit)}, but ${bound.name} allows ${mib(bound.bytes)} in all: raise that or lower memory_limit`
    : undefined
  return { limits, told, warning }
}

const mib = (bytes: number): string => `${Math.round(bytes / MIB)} MiB`

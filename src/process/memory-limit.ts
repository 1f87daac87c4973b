import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import type { MemoryLimits } from '../base/memory.ts'
import type { Config } from '../config/config.ts'

const MIB = 1024 * 1024
/** Memory of the process without any clients. */
const OWN_BYTES = 64 * MIB
/** Memory of the store's thread: its heap, SQLite's pages, the part of the log that is being folded, and what malloc keeps for it. */
const STORE_BYTES = 96 * MIB
/** Part of the rest that clients may use: garbage that is not yet collected needs room too. */
const PART = 0.6
/** However little there is. */
const LEAST = 8 * MIB
/** Parts of the limit for one client, and for one user or address. */
const CLIENT_PART = 1 / 4
const GROUP_PART = 1 / 2

/**
 * What V8 adds to the old space for objects that do not live long. Node.js 24 adds four times as much, which makes its heap_size_limit larger by that, and
 * gives no more room to what stays.
 */
const YOUNG_BYTES = 48 * MIB

/** Bytes that the process can use before something ends it, and what that is. */
export interface Bound {
  readonly bytes: number
  readonly name: string
}

/** The limit of this process: the smallest of V8's heap, the machine or its container, and what ulimit leaves. */
export function processBound(): Bound {
  const bounds: Bound[] = [
    { bytes: getHeapStatistics().heap_size_limit, name: "V8's heap (node --max-old-space-size)" },
    { bytes: totalmem(), name: 'the memory of this machine' },
  ]
  const oldSpace = askedOldSpace()
  if (oldSpace !== undefined) bounds.push({ bytes: oldSpace + YOUNG_BYTES, name: "V8's heap (node --max-old-space-size)" })
  // Without a bound it is 0, or a number that no machine has.
  const constrained = process.constrainedMemory()
  if (constrained > 0) bounds.push({ bytes: constrained, name: 'the memory of this container' })
  for (const { bytes, name } of ulimits()) bounds.push({ bytes, name })
  return bounds.reduce((least, bound) => (bound.bytes < least.bytes ? bound : least))
}

/** Bytes of `--max-old-space-size`, where it was given. */
function askedOldSpace(): number | undefined {
  const flags = [process.env.NODE_OPTIONS ?? '', ...process.execArgv].join(' ')
  const given = [...flags.matchAll(/--max[-_]old[-_]space[-_]size[= ](\d+)/g)].at(-1)
  return given === undefined ? undefined : Number(given[1]) * MIB
}

/** Of the address space much is reserved and not used: what is left counts, beyond what the process has already. */
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

/** The configured limits, or those derived from the process; the line for the start, and a warning. */
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

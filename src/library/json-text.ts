import { StartError } from '../base/start-error.ts'

/** The type of a value, as a programmer calls it: `a function`, `a Map`. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'number') return String(value)
  if (typeof value !== 'object') return `a ${typeof value}`
  return `a ${Object.prototype.toString.call(value).slice('[object '.length, -1)}`
}

/** False for a list, a Promise, a Map and the like, whose keys are not what they are about; true for objects of any class. */
export const isObjectOfKeys = (value: unknown): value is object => Object.prototype.toString.call(value) === '[object Object]'

/**
 * Returns a value as JSON, as JSON.stringify does, which leaves out functions and takes a Map for {}: a schema that lacks a part lets
 * through what it should refuse. Keys that are undefined are left out.
 * @throws StartError that names the place, for what is no JSON, and for an object within itself
 */
export function jsonText(path: string, value: unknown): string {
  check(path, value, [])
  return JSON.stringify(value)
}

const DEPTH_MAX = 100

function check(path: string, value: unknown, around: readonly unknown[]): void {
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)) return
  if (!Array.isArray(value) && !isObjectOfKeys(value))
    throw new StartError(`${path}: expected what JSON can express, got ${kindOf(value)}`)
  if (around.includes(value)) throw new StartError(`${path}: is an object that contains itself`)
  if (around.length >= DEPTH_MAX) throw new StartError(`${path.slice(0, 100)}...: is more than ${DEPTH_MAX} levels deep`)
  const inside = [...around, value]
  // Not forEach, which skips holes.
  if (Array.isArray(value)) for (const [i, item] of value.entries()) check(`${path}[${i}]`, item, inside)
  else for (const [key, item] of Object.entries(value)) if (item !== undefined) check(`${path}.${key}`, item, inside)
}

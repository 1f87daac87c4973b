/** What JSON must be, as far as it is read: a type, a list, or an object with such fields; a name with `?` may be missing. */
export type Shape = 'string' | 'number' | 'boolean' | readonly [each: Shape] | { readonly [field: string]: Shape }

/** Whether JSON of a stranger can be read as that of Roost. Further fields do not matter. */
export function fits(value: unknown, shape: Shape): boolean {
  if (typeof shape === 'string') return typeof value === shape
  if (isList(shape)) return Array.isArray(value) && value.every((each) => fits(each, shape[0]))
  if (typeof value !== 'object' || value === null) return false
  return Object.entries(shape).every(([name, inner]) => {
    const field = name.replace('?', '')
    const own = Object.hasOwn(value, field) ? (value as Readonly<Record<string, unknown>>)[field] : undefined
    return own === undefined ? name !== field : fits(own, inner)
  })
}

const isList = (shape: Shape): shape is readonly [each: Shape] => Array.isArray(shape)

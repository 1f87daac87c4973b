export const bytes = (text: string): Uint8Array => Buffer.from(text)
export const textOf = (payload: Uint8Array): string => Buffer.from(payload).toString()

/** What is said of a client that is lost, or what it wants to be said after so many updates. */
export const willText = (id: string, updates = 0): string => `${id} is gone${updates > 0 ? ` ${updates}` : ''}`
export const isWill = (text: string): boolean => text.includes(' is gone')

/** What applications say that do not keep to the type of a topic. */
const UNFIT = ' unfit'
export const unfit = (text: string): string => text + UNFIT
export const isUnfit = (text: string): boolean => text.endsWith(UNFIT)

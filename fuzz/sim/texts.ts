export const bytes = (text: string): Uint8Array => Buffer.from(text)
export const textOf = (payload: Uint8Array): string => Buffer.from(payload).toString()

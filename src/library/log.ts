// biome-ignore lint/suspicious/noExplicitAny: whatever the methods of a logger take.
type Method = (...parts: any[]) => unknown

/**
 * A logger: pino, `console`, winston, or any object with these methods. Each line is one text; pino gets its fields as an object,
 * too. Lines of a level without a method are not written.
 */
export interface Log {
  readonly info: Method
  readonly warn: Method
  readonly error: Method
  readonly debug?: Method | undefined
  readonly trace?: Method | undefined
}

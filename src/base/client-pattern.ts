/** A client id in which `*` stands for any number of any characters. Looked at from left to right once, however long the id. */
export class ClientPattern {
  readonly #parts: readonly string[]

  constructor(pattern: string) {
    this.#parts = pattern.split('*')
  }

  /** The id itself, where the pattern stands for one alone. */
  get only(): string | undefined {
    return this.#parts.length === 1 ? this.#parts[0] : undefined
  }

  fits(clientId: string): boolean {
    const first = this.#parts[0]!
    const last = this.#parts.at(-1)!
    if (this.#parts.length === 1) return clientId === first
    const end = clientId.length - last.length
    if (first.length > end || !clientId.startsWith(first) || !clientId.endsWith(last)) return false
    let at = first.length
    for (const part of this.#parts.slice(1, -1)) {
      at = clientId.indexOf(part, at) + part.length
      if (at < part.length || at > end) return false
    }
    return true
  }
}

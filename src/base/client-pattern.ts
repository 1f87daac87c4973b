/** A client id pattern in which `*` matches any number of characters. Matching is linear in the length of the id. */
export class ClientPattern {
  readonly #parts: readonly string[]

  constructor(pattern: string) {
    this.#parts = pattern.split('*')
  }

  /** The only client id that the pattern matches, if it contains no `*`. */
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

/** A client id in which `*` stands for any number of any characters. */
export class ClientPattern {
  readonly #matches: RegExp

  constructor(pattern: string) {
    const literal = pattern.split('*').map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, '\\$&'))
    this.#matches = new RegExp(`^${literal.join('.*')}$`, 's')
  }

  fits(clientId: string): boolean {
    return this.#matches.test(clientId)
  }
}

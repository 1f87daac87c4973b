/** The far end of one of the server's streams. */
export interface StreamEnd {
  /** `undefined` when its side has broken the stream off, which the server may still have to learn. */
  readonly connection: number | undefined
  /** The server writes; calls `congested` if the socket takes no more after this. */
  write(bytes: Uint8Array, congested: () => void): void
  /** The server reads nothing from it any more. */
  pause(): void
  /** The server reads on, as soon as it is done with what it does. */
  resume(): void
  /** The server ends the stream, behind everything that it has written. */
  inOrder(deliver: () => void): void
  breakStream(): void
  /** The server is gone, and knows nothing of it. */
  streamLost(): void
}

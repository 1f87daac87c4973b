/** What a running broker refuses, or can no longer do. The message is one line. */
export class RoostError extends Error {
  override readonly name = 'RoostError'
  /** The MQTT 5 reason code [5.0 section 2.4]: 0x87 not authorized, 0x97 quota exceeded. */
  readonly reasonCode: number
  /** The configuration key of the limit, if one was reached. */
  readonly limit: string | undefined

  constructor(message: string, reasonCode: number, limit?: string) {
    super(message)
    this.reasonCode = reasonCode
    this.limit = limit
  }
}

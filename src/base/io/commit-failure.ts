/**
 * Why a transaction came to nothing, in one line. lmdb rejects with "Commit failed" and a promise that rejects with the reason, in the same turn of the loop; left alone that promise
 * would be an unhandled rejection. It is not waited for longer, because it need not settle.
 */
export async function commitFailure(error: unknown): Promise<string> {
  const { message, commitError } = error as { message?: string; commitError?: Promise<never> }
  const endOfTurn = new Promise<undefined>((resolve) => setImmediate(() => resolve(undefined)))
  const reason = await Promise.race([commitError, endOfTurn]).catch((cause: Error) => cause.message)
  return reason ?? message ?? String(error)
}

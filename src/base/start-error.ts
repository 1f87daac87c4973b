/** A configuration error by the person who starts Roost: one line that names the flag, or the path, file and line. */
export class StartError extends Error {
  override readonly name = 'StartError'
}

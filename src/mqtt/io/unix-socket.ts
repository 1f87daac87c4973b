import { lstatSync, unlinkSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { StartError } from '../../base/start-error.ts'

/** Owner and group may connect, as with Mosquitto. */
const MODE = 0o770

/** Maximum bytes of a path in the kernel's sockaddr_un; a longer one would be truncated silently. */
const PATH_MAX = process.platform === 'linux' ? 107 : 103

/**
 * Binds a server to a Unix socket, which is removed when the server closes. A socket left by a killed process is removed if no
 * process listens on it.
 * @param mode permissions of the socket file; write permission allows connecting.
 * @throws StartError
 */
export async function listenOnPath(server: Server, path: string, mode = MODE): Promise<void> {
  if (Buffer.byteLength(path) > PATH_MAX) throw new StartError(`socket ${path}: the path is longer than ${PATH_MAX} bytes`)
  await removeStale(path)
  await new Promise<void>((resolve, reject) => {
    const failed = ({ code, message }: NodeJS.ErrnoException): void =>
      reject(new StartError(`socket ${path}: cannot listen: ${code ?? message}`))
    server.once('error', failed)
    // Bound with the umask set, so that the file never has more permissions than it should.
    const umask = process.umask(0o777 & ~mode)
    try {
      server.listen({ path }, () => {
        server.off('error', failed)
        resolve()
      })
    } finally {
      process.umask(umask)
    }
  })
}

async function removeStale(path: string): Promise<void> {
  const file = lstatSync(path, { throwIfNoEntry: false })
  if (file === undefined) return
  if (!file.isSocket()) throw new StartError(`socket ${path}: there is a file of this name, and it is no socket`)
  const code = await connectError(path)
  if (code === undefined) throw new StartError(`socket ${path}: another process is listening there`)
  if (code !== 'ECONNREFUSED')
    throw new StartError(`socket ${path}: cannot tell whether another process is listening there: ${code}`)
  unlinkSync(path)
}

/** Why connecting to a socket fails; undefined if it succeeds. */
const connectError = (path: string): Promise<string | undefined> =>
  new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(undefined)
    })
    socket.once('error', ({ code, message }: NodeJS.ErrnoException) => resolve(code ?? message))
  })

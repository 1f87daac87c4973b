import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type FileHandle, open, readdir, rm } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'

/** One socket for each process that holds, or tries to hold, the directory. */
const LOCK_NAME = /^lock-[0-9a-f]{16}\.sock$/

/** Shortest `sun_path` among the systems that have one, less its closing zero. */
const SOCKET_PATH_MAX = 103

/**
 * Keeps a directory for one process, until `release` or until the process dies, however it dies.
 *
 * Node has no flock, so the lock is a Unix socket that its holder listens on: the kernel refuses connections to the socket of a dead
 * process. It lies in the directory, so that containers which share the directory and nothing else see it too. To take the lock is to
 * listen first and then to look for others: of two processes that try at once at least one sees the other, and steps back (both may).
 * Only who found nobody alive removes what dead processes left.
 */
export class DirectoryLock {
  readonly #server: Server
  readonly #directory: FileHandle
  readonly #path: string

  private constructor(server: Server, directory: FileHandle, path: string) {
    this.#server = server
    this.#directory = directory
    this.#path = path
  }

  /** Rejects with a one-line error that names the directory when another process holds it. */
  static async acquire(dir: string): Promise<DirectoryLock> {
    const name = `lock-${randomBytes(8).toString('hex')}.sock`
    const directory = await open(dir, 'r')
    const server = createServer((socket) => socket.destroy())
    const lock = new DirectoryLock(server, directory, join(dir, name))
    try {
      server.listen(socketPath(dir, directory, name))
      await once(server, 'listening')
      server.unref()
      const others = (await readdir(dir)).filter((other) => LOCK_NAME.test(other) && other !== name)
      for (const other of others) {
        if (await isListening(socketPath(dir, directory, other))) throw new Error('another process uses it')
      }
      for (const other of others) await rm(join(dir, other), { force: true })
      // One that found us before we listened, and has ended since, took our socket for a dead one's.
      if (!(await readdir(dir)).includes(name)) throw new Error('another process uses it')
      return lock
    } catch (error) {
      await lock.release()
      throw new Error(`cannot lock ${dir}: ${(error as Error).message}`)
    }
  }

  async release(): Promise<void> {
    if (this.#server.listening) {
      this.#server.close()
      await once(this.#server, 'close')
    }
    await rm(this.#path, { force: true })
    await this.#directory.close()
  }
}

/** A path that fits the system's bound on socket paths: on Linux the open directory is a shorter way to the same place. */
function socketPath(dir: string, directory: FileHandle, name: string): string {
  const path = join(dir, name)
  return process.platform === 'linux' && path.length > SOCKET_PATH_MAX ? `/proc/self/fd/${directory.fd}/${name}` : path
}

/** Whatever is not clearly dead counts as alive: a process that is stopped, or too busy to accept, still holds its directory. */
function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'))
  })
}

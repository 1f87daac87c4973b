import type { Socket } from 'node:net'
import { type ProxyHeader, readProxyHeader } from '../proxy-protocol.ts'

/**
 * Removes the PROXY header from a socket that has not been read yet. When `done` is called, the data after it is back in the
 * socket, which is paused; `refused` gets the reason if there is no valid header.
 */
export function takeProxyHeader(socket: Socket, done: (header: ProxyHeader) => void, refused: (reason: string) => void): void {
  let seen: Buffer = Buffer.alloc(0)
  const read = (bytes: Buffer): void => {
    seen = Buffer.concat([seen, bytes])
    const header = readProxyHeader(seen)
    if (header === undefined) return
    socket.off('data', read)
    socket.pause()
    if (header.kind === 'error') {
      refused(header.reason)
      return
    }
    if (seen.length > header.size) socket.unshift(seen.subarray(header.size))
    done(header)
  }
  socket.on('data', read)
}

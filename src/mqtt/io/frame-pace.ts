import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'

/** Frames that are read in one turn of the event loop, of all WebSockets together: some milliseconds. */
const FRAMES_PER_TURN = 4096
/** What is read of a socket at once, if its frames are short, and at most. */
const PIECE_LEAST = 1024
const PIECE_MOST = 64 * 1024
/** Frames of less than so many bytes on average are short, if there are more of them at once than a client sends that has something to say. */
const SHORT_FRAME = 64
const FRAMES_FREE = 32
/** The shortest has a header and a mask. */
const FRAME_LEAST = 6
/** Of those who wait, as many go on in a turn as fit if all that they bring are the shortest. */
const RESUMED_PER_TURN = Math.floor(FRAMES_PER_TURN / (PIECE_LEAST / FRAME_LEAST))

/**
 * Shares the turns of the event loop among WebSockets that bring many frames. The kernel hands over 2 MiB of one socket in a turn, which may be 350,000 empty
 * messages, and ws reads all of a chunk at once: so chunks are cut, and what is left goes back into the socket until it is its turn again.
 */
export class FramePace {
  #spent = 0
  /** In the order in which they go on. */
  #waiting: (() => void)[] = []
  #isScheduled = false

  /** From now on, for everything that comes over this socket. */
  pace(socket: Socket, webSocket: WebSocket): void {
    let frames = 0
    let most = PIECE_LEAST
    let waits = false
    const count = (): void => {
      frames++
    }
    webSocket.on('message', count).on('ping', count).on('pong', count)
    const goOn = (): void => {
      waits = false
      if (!webSocket.isPaused) socket.resume()
    }
    const putBack = (rest: Buffer): void => {
      socket.pause()
      if (rest.length > 0) socket.unshift(rest)
      if (!waits) this.#wait(goOn)
      waits = true
    }
    const emit = socket.emit.bind(socket) as (event: string | symbol, ...values: unknown[]) => boolean
    const read = (chunk: Buffer): boolean => {
      if (socket.destroyed) return emit('data', chunk)
      // Whoever pauses and resumes it meanwhile does not know that it waits.
      if (waits || this.#spent >= FRAMES_PER_TURN) {
        putBack(chunk)
        return true
      }
      frames = 0
      const piece = chunk.length > most ? chunk.subarray(0, most) : chunk
      const heard = emit('data', piece)
      this.#spend(frames)
      const isDense = frames > FRAMES_FREE && frames * SHORT_FRAME > piece.length
      most = isDense ? PIECE_LEAST : Math.min(2 * most, PIECE_MOST)
      const rest = chunk.subarray(piece.length)
      if (isDense) putBack(rest)
      else if (rest.length > 0) return read(rest)
      return heard
    }
    // In front of ws, whose listener comes and goes as it likes.
    socket.emit = (event: string | symbol, ...values: unknown[]) =>
      event === 'data' ? read(values[0] as Buffer) : emit(event, ...values)
  }

  #wait(goOn: () => void): void {
    this.#waiting.push(goOn)
    this.#schedule()
  }

  #spend(frames: number): void {
    if (frames === 0) return
    this.#spent += frames
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(this.#next)
  }

  readonly #next = (): void => {
    this.#isScheduled = false
    this.#spent = 0
    for (const goOn of this.#waiting.splice(0, RESUMED_PER_TURN)) goOn()
    if (this.#waiting.length > 0) this.#schedule()
  }
}

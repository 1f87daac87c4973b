import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'

/** Maximum number of frames read in one turn of the event loop, from all WebSockets together: some milliseconds. */
const FRAMES_PER_TURN = 4096
/** Bytes read from a socket in one step: while its frames are short, and at most. */
const PIECE_LEAST = 1024
const PIECE_MOST = 64 * 1024
/** Frames of fewer bytes than this on average are short, if one step contains more of them than a normal client sends at once. */
const SHORT_FRAME = 64
const FRAMES_FREE = 32
/** Bytes of the shortest frame: a header and a mask. */
const FRAME_LEAST = 6
/** Waiting sockets that are resumed in one turn: as many as fit if all their frames are the shortest. */
const RESUMED_PER_TURN = Math.floor(FRAMES_PER_TURN / (PIECE_LEAST / FRAME_LEAST))

/**
 * Shares the turns of the event loop among WebSockets that send many frames. Up to 2 MiB of one socket arrive in a turn, which may be 350,000 empty
 * messages, and ws parses a chunk in one go. So chunks are cut, and the rest is put back into the socket until its next turn.
 */
export class FramePace {
  #spent = 0
  /** Resumes each waiting socket, in order. */
  #waiting: (() => void)[] = []
  #isScheduled = false

  /** Applies to everything that arrives on this socket from now on. */
  pace(socket: Socket, webSocket: WebSocket): void {
    let frames = 0
    let most = PIECE_LEAST
    let waits = false
    const count = (): void => {
      frames++
    }
    webSocket.on('message', count).on('ping', count).on('pong', count)
    const resume = (): void => {
      waits = false
      if (!webSocket.isPaused) socket.resume()
    }
    const putBack = (rest: Buffer): void => {
      socket.pause()
      if (rest.length > 0) socket.unshift(rest)
      if (!waits) this.#wait(resume)
      waits = true
    }
    const emit = socket.emit.bind(socket) as (event: string | symbol, ...values: unknown[]) => boolean
    const read = (chunk: Buffer): boolean => {
      if (socket.destroyed) return emit('data', chunk)
      // Other code may have paused and resumed the socket while it waits here.
      if (waits || this.#spent >= FRAMES_PER_TURN) {
        putBack(chunk)
        return true
      }
      frames = 0
      const piece = chunk.length > most ? chunk.subarray(0, most) : chunk
      const isHandled = emit('data', piece)
      this.#spend(frames)
      const isDense = frames > FRAMES_FREE && frames * SHORT_FRAME > piece.length
      most = isDense ? PIECE_LEAST : Math.min(2 * most, PIECE_MOST)
      const rest = chunk.subarray(piece.length)
      if (isDense) putBack(rest)
      else if (rest.length > 0) return read(rest)
      return isHandled
    }
    // Ahead of ws, which adds and removes its own listener.
    socket.emit = (event: string | symbol, ...values: unknown[]) =>
      event === 'data' ? read(values[0] as Buffer) : emit(event, ...values)
  }

  #wait(resume: () => void): void {
    this.#waiting.push(resume)
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
    for (const resume of this.#waiting.splice(0, RESUMED_PER_TURN)) resume()
    if (this.#waiting.length > 0) this.#schedule()
  }
}

import type { MessagePort } from 'node:worker_threads'
import type { RowTable } from '../rows.ts'
import type { Lsn } from '../store.ts'
import { getAhead } from './ahead.ts'
import { adviceOnDamage, openStore } from './open.ts'
import type { DirectoryLock } from './owner.ts'
import type { Commit, Reply, Request, StoreNews, ThreadOptions } from './protocol.ts'
import { packed, type ScannedRow } from './scan.ts'
import { failureOf } from './sqlite.ts'
import { StoreWriter } from './writer.ts'

/** A commit that another process keeps waiting is worth a warning after this (ms). */
const BLOCKED_MS = 1000

/**
 * Runs a store behind a message port: `opened` or `refused` first, after `readable` where the rows can be read before, then one
 * `answer` for each `commit`. The thread that calls this may block on the disk for as long as the disk takes.
 */
export function serveStore(port: MessagePort, options: ThreadOptions): void {
  const send = (reply: Reply, transfer: readonly ArrayBuffer[] = []): void => port.postMessage(reply, [...transfer])
  try {
    const { ahead } = options
    const passOn = (table: RowTable, rows: readonly ScannedRow[]): void => {
      const bytes = packed(rows)
      getAhead(ahead!, bytes.length)
      send({ kind: 'rows', table, bytes }, [bytes.buffer])
    }
    const readable = (lsn: Lsn): void => send({ kind: 'readable', lsn })
    const { database, owner, lock } = openStore(options, readable, ahead === undefined ? undefined : passOn)
    let writer: StoreWriter | undefined
    // A store that is refused has no news.
    let early: StoreNews[] | undefined = []
    const tell = (news: StoreNews): void => {
      if (early === undefined) send({ kind: 'news', news })
      else early.push(news)
    }
    try {
      writer = new StoreWriter(database, owner, options, tell)
      const failure = writer.start()
      if (failure !== undefined) {
        throw new Error(failure.kind === 'damaged' ? adviceOnDamage(failure.reason, options.dir) : failure.reason)
      }
    } catch (error) {
      if (writer === undefined) database.close()
      else writer.close()
      lock.release()
      throw error
    }
    const thread = new StoreThread(port, send, writer, lock)
    port.on('message', (request: Request) => thread.handle(request))
    send({ kind: 'opened', lsn: writer.durable, ...writer.room })
    const held = early
    early = undefined
    held.forEach(tell)
    thread.work()
  } catch (error) {
    send({ kind: 'refused', reason: failureOf(error).reason })
    port.close()
  }
}

type Send = (reply: Reply, transfer?: readonly ArrayBuffer[]) => void

class StoreThread {
  readonly #port: MessagePort
  readonly #send: Send
  readonly #writer: StoreWriter
  readonly #lock: DirectoryLock
  /** A commit that another process's lock keeps waiting. */
  #waiting: readonly Commit[] | undefined
  #waitingSince = 0
  /** A commit that a lock stands in the way of is tried again instead of answered. */
  #mayWait = true
  #isBlocked = false
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined
  #room = ''
  /** Somebody waits for a checkpoint. */
  #isCheckpointing = false

  constructor(port: MessagePort, send: Send, writer: StoreWriter, lock: DirectoryLock) {
    this.#port = port
    this.#send = send
    this.#writer = writer
    this.#lock = lock
  }

  handle(request: Request): void {
    if (request.kind === 'close') {
      this.#close()
      return
    }
    if (request.kind === 'commit') this.#commit(request.commits)
    else if (request.kind === 'make-room') this.#writer.makeRoom()
    else if (request.kind === 'checkpoint') {
      this.#writer.checkpointAll()
      this.#isCheckpointing = true
    } else {
      this.#mayWait = false
      this.#writer.stopWaiting()
    }
    this.#schedule(this.#waiting === undefined ? Date.now() : Number.POSITIVE_INFINITY)
  }

  #commit(commits: readonly Commit[]): void {
    const now = Date.now()
    const failure = this.#writer.commit(commits, now)
    if (failure?.kind === 'busy' && this.#mayWait) {
      this.#wait(commits, now, failure.reason)
      return
    }
    if (this.#isBlocked && failure?.kind !== 'busy')
      this.#send({ kind: 'news', news: { kind: 'recovered', reason: 'commits go through again' } })
    this.#isBlocked = false
    this.#waiting = undefined
    // The bytes go back to where they came from, to be used again.
    const transfer = commits.map(({ bytes }) => bytes.buffer as ArrayBuffer)
    this.#send({ kind: 'answer', commits, error: failure?.reason, ...this.#writer.room }, transfer)
  }

  #wait(commits: readonly Commit[], now: number, reason: string): void {
    if (this.#waiting === undefined) this.#waitingSince = now
    this.#waiting = commits
    if (!this.#isBlocked && Date.now() - this.#waitingSince >= BLOCKED_MS) {
      this.#isBlocked = true
      const since = new Date(this.#waitingSince).toISOString()
      this.#send({
        kind: 'news',
        news: { kind: 'blocked', reason: `${reason} since ${since}; nothing is acknowledged meanwhile` },
      })
    }
    // SQLite has waited already; a request that came meanwhile comes first.
    this.#immediate ??= setImmediate(this.work)
  }

  /** Tries a commit again that waits, or does what is due between commits, a little at a time. */
  readonly work = (): void => {
    this.#timer = undefined
    this.#immediate = undefined
    if (this.#waiting !== undefined) this.#commit(this.#waiting)
    if (this.#waiting !== undefined) return
    const now = Date.now()
    const due = this.#writer.work(now)
    if (due > now) this.#tellRoom()
    if (this.#isCheckpointing && !this.#writer.isCheckpointing) {
      this.#isCheckpointing = false
      this.#send({ kind: 'checkpointed' })
    }
    this.#schedule(due)
  }

  #schedule(due: number): void {
    if (this.#immediate !== undefined) return
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    this.#timer = undefined
    const ms = due - Date.now()
    if (ms <= 0) this.#immediate = setImmediate(this.work)
    else if (ms !== Number.POSITIVE_INFINITY) this.#timer = setTimeout(this.work, ms)
  }

  #tellRoom(): void {
    const { room } = this.#writer
    const text = `${room.usedBytes} ${room.isTight}`
    if (text === this.#room) return
    this.#room = text
    this.#send({ kind: 'room', ...room })
  }

  #close(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    if (this.#immediate !== undefined) clearImmediate(this.#immediate)
    this.#writer.close()
    this.#lock.release()
    this.#send({ kind: 'closed' })
    this.#port.close()
  }
}

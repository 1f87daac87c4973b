import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'
import type { Notice, NoticeCode, NoticeSink } from '../base/notice.ts'
import { UNPRINTABLE } from '../base/quoted.ts'
import type { Config } from '../config/config.ts'

export type { Logger } from 'pino'

export interface LogOutput {
  write(text: string): unknown
}

/** Fields of JSON lines that pretty lines omit, because their text contains the values already. */
const FIELDS = 'code,client,user,peer,reason,count,limit,mqtt,sn,store'

/** Returns a log in the configured format. Lines are written synchronously, so that a crash loses none. */
export function createLog(config: Pick<Config, 'logLevel' | 'logFormat'>, output: LogOutput, color: boolean): Logger {
  const format =
    config.logFormat === 'json'
      ? (line: string): string => line
      : pretty.prettyFactory({ colorize: color, ignore: FIELDS, singleLine: true, translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l' })
  return pino(
    {
      level: config.logLevel,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    { write: (line: string) => writeOrLose(output, format(line)) },
  )
}

/** Writes a line. A full disk or a closed pipe must not end the broker, so errors are ignored. */
function writeOrLose(output: LogOutput, line: string): void {
  try {
    output.write(line)
  } catch {}
}

/** Maximum number of lines of one code per window; further ones are counted and reported when the window ends. */
const LINES_PER_WINDOW = 20
const WINDOW_MS = 10_000
/**
 * Exceptions: bans have a higher limit, because other programs act on each. One address is banned at most once in
 * ban_seconds.
 */
const MORE_LINES: Partial<Record<NoticeCode, number>> = { 'address-banned': 1000 }

/** Maximum length of a text chosen by a peer, in characters. */
const TEXT_MAX = 256

interface Window {
  lines: number
  suppressed: number
  /** Level of the last Notice that was suppressed. */
  level: Notice['level']
  readonly timer: NodeJS.Timeout
}

export interface NoticeLogger extends NoticeSink {
  /** Logs the pending counts, before the process ends. */
  flush(): void
}

/**
 * Returns a sink that logs Notices: at most 20 of one code in 10 s (1000 for bans), then one line with the number of
 * the others. A flood of malformed datagrams neither fills the disk nor remains unnoticed.
 */
export function noticeLogger(log: Logger): NoticeLogger {
  const windows = new Map<NoticeCode, Window>()

  const endWindow = (code: NoticeCode): void => {
    const window = windows.get(code)
    if (window === undefined) return
    clearTimeout(window.timer)
    windows.delete(code)
    if (window.suppressed === 0) return
    log[window.level]({ code, count: window.suppressed }, `${code}: ${window.suppressed} more in the last ${WINDOW_MS / 1000} s`)
  }

  const sink = (notice: Notice): void => {
    if (!log.isLevelEnabled(notice.level)) return
    let window = windows.get(notice.code)
    if (window === undefined) {
      window = { lines: 0, suppressed: 0, level: notice.level, timer: setTimeout(endWindow, WINDOW_MS, notice.code).unref() }
      windows.set(notice.code, window)
    }
    if (window.lines === (MORE_LINES[notice.code] ?? LINES_PER_WINDOW)) {
      window.suppressed += notice.count ?? 1
      window.level = notice.level
      return
    }
    window.lines++
    writeNotice(log, notice)
  }

  return Object.assign(sink, {
    flush: () => {
      for (const code of [...windows.keys()]) endWindow(code)
    },
  })
}

function writeNotice(log: Logger, notice: Notice): void {
  const { code, level, count, limit } = notice
  const client = notice.client === undefined ? undefined : printable(notice.client)
  const user = notice.user === undefined ? undefined : printable(notice.user)
  const reason = notice.reason === undefined ? undefined : printable(notice.reason)
  // A proxy may report the path of a Unix socket as the client's address, and that can contain any character.
  const peer = notice.peer === undefined ? undefined : printable(unmapped(notice.peer))
  let text: string = code
  if (client !== undefined) text += ` ${client}`
  if (user !== undefined) text += ` (user ${user})`
  if (peer !== undefined) text += ` at ${peer}`
  if (reason !== undefined) text += `: ${reason}`
  if (limit !== undefined && reason?.includes(`(${limit})`) !== true) text += ` (${limit})`
  if (count !== undefined && count !== 1) text += ` (${count} times)`
  log[level]({ code, client, user, peer, reason, count, limit }, text)
}

/**
 * Returns the IPv4 address of a sensor at a dual-stack port, whose address the socket reports as
 * `[::ffff:192.0.2.1]:1884`.
 */
const unmapped = (peer: string): string => peer.replace(/^\[::ffff:(\d+\.\d+\.\d+\.\d+)\]/i, '$1')

/** Escapes and truncates a text chosen by a peer: no line breaks, no terminal escapes, no megabytes. */
export function printable(text: string): string {
  const short = text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}...` : text
  return short.replaceAll(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
}

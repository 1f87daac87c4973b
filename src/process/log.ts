import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'
import type { Notice, NoticeCode, NoticeSink } from '../base/notice.ts'
import type { Config } from '../config/config.ts'

export type { Logger } from 'pino'

export interface LogOutput {
  write(text: string): unknown
}

/** What programs read in a JSON line and people have in the text already. */
const FIELDS = 'code,client,user,peer,reason,count,limit,mqtt,sn,store'

/** The log in the format that was asked for: written at once, so that a crash loses no line. */
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

/** A full disk or a closed pipe behind the log must not end the broker. */
function writeOrLose(output: LogOutput, line: string): void {
  try {
    output.write(line)
  } catch {}
}

/** Lines of one code in one window; what comes beyond it is counted, and told when the window ends. */
const LINES_PER_WINDOW = 20
const WINDOW_MS = 10_000
/** Of bans there are more: other programs act on each. An address is banned but once in ban_seconds. */
const MORE_LINES: Partial<Record<NoticeCode, number>> = { 'address-banned': 1000 }

/** Characters of anything that a peer chose. */
const TEXT_MAX = 256

interface Window {
  lines: number
  suppressed: number
  /** Level of what was suppressed last. */
  level: Notice['level']
  readonly timer: NodeJS.Timeout
}

export interface NoticeLogger extends NoticeSink {
  /** Tells what is still untold, before the process ends. */
  flush(): void
}

/**
 * Turns Notices into log lines. At most 20 of one code in 10 s (1000 of bans), then one line that counts the rest: a flood of malformed datagrams
 * neither fills the disk nor goes unheard.
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
  // A proxy may say that its client is at the path of a Unix socket, which can hold any character.
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

/** Sensors at a port for IPv4 and IPv6 are where their socket says: `[::ffff:192.0.2.1]:1884`. */
const unmapped = (peer: string): string => peer.replace(/^\[::ffff:(\d+\.\d+\.\d+\.\d+)\]/i, '$1')

/** Peers choose their names: no line breaks, no terminal escapes, no megabytes. */
export function printable(text: string): string {
  const short = text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}...` : text
  return short.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
}

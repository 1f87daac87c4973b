import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'
import type { Notice, NoticeCode, NoticeSink } from '../base/notice.ts'
import { UNPRINTABLE } from '../base/quoted.ts'
import type { Config } from '../config/config.ts'

export type { Logger } from 'pino'

export interface LogOutput {
  write(text: string): unknown
  /** Returns a warning about lines that could not be written since the last call. */
  takeLost?(): string | undefined
}

/** Fields of JSON lines that pretty lines omit, because their text contains the values already. */
const FIELDS = 'code,client,user,peer,reason,count,limit,mqtt,sn,store'

/** ISO 8601 with the time zone: `2026-11-24T12:00:00.005+01:00`. */
const TIME = "SYS:yyyy-mm-dd'T'HH:MM:ss.lp"

/**
 * Returns a log in the configured format. Lines are written synchronously, so that a crash loses none. `journal`: the output is
 * read by systemd-journald, so each line begins with its priority.
 */
export function createLog(
  config: Pick<Config, 'logLevel' | 'logFormat'>,
  output: LogOutput,
  color: boolean,
  journal = false,
): Logger {
  const formatted =
    config.logFormat === 'json'
      ? (line: string): string => line
      : pretty.prettyFactory({ colorize: color, ignore: FIELDS, singleLine: true, translateTime: TIME })
  const format = journal ? (line: string): string => withPriority(line, formatted(line)) : formatted
  const log: Logger = pino(
    {
      level: config.logLevel,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    {
      write: (line: string) => {
        const lost = writeOrLose(output, format(line)) ? output.takeLost?.() : undefined
        if (lost !== undefined) log.error(lost)
      },
    },
  )
  return log
}

/** Priorities of syslog, as sd-daemon(3) has them. */
const PRIORITIES: Readonly<Record<string, number>> = { trace: 7, debug: 7, info: 6, warn: 4, error: 3, fatal: 2 }

/** Prefixes each line of a text with the priority of the JSON line that it was made from, in which the level comes first. */
function withPriority(json: string, text: string): string {
  const [, level = 'info'] = /^\{"level":"(\w+)"/.exec(json) ?? []
  return text.replaceAll(/^(?=.)/gm, `<${PRIORITIES[level] ?? PRIORITIES.info}>`)
}

/** Writes a line. A full disk or a closed pipe must not end the broker: then it returns false. */
function writeOrLose(output: LogOutput, line: string): boolean {
  try {
    output.write(line)
    return true
  } catch {
    return false
  }
}

const WINDOW_MS = 10_000
/**
 * Exceptions: at least so many lines per window. Other programs act on each ban, and one address is banned at most once in
 * ban_seconds.
 */
const LEAST_LINES: Partial<Record<NoticeCode, number>> = { 'address-banned': 1000 }

/** Maximum number of clients that are named with the number of lines left out. */
const NAMED_MAX = 8

/** Maximum length of a text chosen by a peer, in characters. */
const TEXT_MAX = 256

interface Window {
  lines: number
  suppressed: number
  /** Level of the last Notice that was suppressed. */
  level: Notice['level']
  /** Number of suppressed occurrences by client, for the first `NAMED_MAX` clients. */
  readonly clients: Map<string, number>
  readonly timer: NodeJS.Timeout
}

export interface NoticeLogger extends NoticeSink {
  /** Logs the pending counts, before the process ends. */
  flush(): void
}

/**
 * Returns a sink that logs Notices: at most `rate` of one code in 10 s (log_rate; more for bans), then one line with the number
 * of the others. A flood of malformed datagrams neither fills the disk nor remains unnoticed.
 */
export function noticeLogger(log: Logger, rate: number): NoticeLogger {
  const windows = new Map<NoticeCode, Window>()

  const endWindow = (code: NoticeCode): void => {
    const window = windows.get(code)
    if (window === undefined) return
    clearTimeout(window.timer)
    windows.delete(code)
    const { suppressed: count, clients } = window
    if (count === 0) return
    const text = `${code}: ${count} more in the last ${WINDOW_MS / 1000} s (log_rate)`
    log[window.level]({ code, count }, clients.size === 0 ? text : `${text}: ${byClient(clients, count)}`)
  }

  const sink = (notice: Notice): void => {
    if (!log.isLevelEnabled(notice.level)) return
    let window = windows.get(notice.code)
    if (window === undefined) {
      window = {
        lines: 0,
        suppressed: 0,
        level: notice.level,
        clients: new Map(),
        timer: setTimeout(endWindow, WINDOW_MS, notice.code).unref(),
      }
      windows.set(notice.code, window)
    }
    if (window.lines >= Math.max(rate, LEAST_LINES[notice.code] ?? 0)) {
      const { count = 1, client } = notice
      window.suppressed += count
      window.level = notice.level
      const before = client === undefined ? undefined : window.clients.get(client)
      if (client !== undefined && client.length <= TEXT_MAX && (before !== undefined || window.clients.size < NAMED_MAX))
        window.clients.set(client, (before ?? 0) + count)
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

/** `sn:a 12, sn:b 3, others 40` */
function byClient(clients: ReadonlyMap<string, number>, total: number): string {
  let others = total
  const parts: string[] = []
  for (const [client, count] of clients) {
    parts.push(`${printable(client)} ${count}`)
    others -= count
  }
  return [...parts, ...(others > 0 ? [`others ${others}`] : [])].join(', ')
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

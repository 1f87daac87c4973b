import { X509Certificate } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { NoticeSink } from '../base/notice.ts'
import type { Config } from '../config/config.ts'

const DAY_MS = 86_400_000
/** Time before its end at which a certificate is worth a warning. */
const SOON_MS = 30 * DAY_MS

/** The certificate of a file that expires first. */
export interface Expiry {
  /** Name of the listener; `http` for the HTTP service. */
  readonly listener: string
  readonly option: 'certfile' | 'cafile' | 'capath' | 'http_certfile'
  readonly path: string
  /** Wall clock, milliseconds since 1970. */
  readonly notAfter: number
}

/** Watches when the certificates that the configuration names expire. */
export class CertificateWatch {
  readonly #config: Config
  #expiries: readonly Expiry[]
  #timer: NodeJS.Timeout | undefined

  constructor(config: Config) {
    this.#config = config
    this.#expiries = read(config)
  }

  get expiries(): readonly Expiry[] {
    return this.#expiries
  }

  /** Reports now, and once a day, what expires soon. */
  start(notice: NoticeSink, now: () => number = Date.now): void {
    const look = (): void => {
      for (const reason of expiring(this.#expiries, now())) notice({ code: 'certificate-expires', level: 'warn', reason })
    }
    look()
    this.#timer = setInterval(look, DAY_MS).unref()
  }

  /** Reads the files again. */
  reload(): void {
    this.#expiries = read(this.#config)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

/** A line for each certificate that has expired, or will within thirty days. */
export const expiring = (expiries: readonly Expiry[], now: number): string[] =>
  expiries
    .filter(({ notAfter }) => notAfter - now < SOON_MS)
    .map(({ listener, option, path, notAfter }) => {
      const days = Math.floor((notAfter - now) / DAY_MS)
      const when = days < 0 ? 'has expired' : days === 0 ? 'expires within a day' : `expires in ${days} days`
      return `${path} of ${listener} ${when}, on ${new Date(notAfter).toISOString().slice(0, 10)} (${option})`
    })

function read({ listeners, http, httpCertfile }: Config): Expiry[] {
  const found = listeners.flatMap(({ name, certfile, cafile, capath }) => [
    ...ofFile(name, 'certfile', certfile),
    ...ofFile(name, 'cafile', cafile),
    ...ofDirectory(name, capath),
  ])
  return [...found, ...(http ? ofFile('http', 'http_certfile', httpCertfile) : [])]
}

/** What cannot be read is reported by those who need it. */
function ofFile(listener: string, option: Expiry['option'], path: string | undefined): Expiry[] {
  if (path === undefined) return []
  try {
    const pems = readFileSync(path, 'utf8').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
    const ends = pems.map((pem) => Date.parse(new X509Certificate(pem).validTo))
    return ends.length === 0 ? [] : [{ listener, option, path, notAfter: Math.min(...ends) }]
  } catch {
    return []
  }
}

/** The first of a directory whose files are named by `openssl rehash`. */
function ofDirectory(listener: string, path: string | undefined): Expiry[] {
  if (path === undefined) return []
  try {
    const names = readdirSync(path).filter((name) => /^[0-9a-f]{8}\.\d+$/.test(name))
    const found = names.flatMap((name) => ofFile(listener, 'capath', join(path, name)))
    return found.sort((one, other) => one.notAfter - other.notAfter).slice(0, 1)
  } catch {
    return []
  }
}

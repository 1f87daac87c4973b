import { type ChildProcess, spawn } from 'node:child_process'

/**
 * Passes lines on to systemd. Node.js cannot send to a Unix datagram socket, so systemd's own program does. A shell starts it:
 * forking a process with gigabytes of memory would pause the event loop.
 */
const RELAY = 'while IFS= read -r line; do systemd-notify "$line" || exit; done'

/** Part of the watchdog's time after which it is fed again: one late turn of the event loop is no reason for a restart. */
const WATCHDOG_PART = 1 / 3

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Tells the service manager, systemd, what the process does [sd_notify(3)]: that it listens, that it stops, and as often as its
 * watchdog wants to know that the event loop turns. The unit needs `NotifyAccess=all`, because another process sends it.
 */
export class ServiceManager {
  readonly #relay: ChildProcess
  #watchdog: NodeJS.Timeout | undefined
  #ended = false

  /** Undefined if no service manager wants to be told. `warn` gets one line if it cannot be told. */
  static from(env: Environment, warn: (line: string) => void): ServiceManager | undefined {
    return env.NOTIFY_SOCKET === undefined || env.NOTIFY_SOCKET === '' ? undefined : new ServiceManager(env, warn)
  }

  private constructor(env: Environment, warn: (line: string) => void) {
    const { NOTIFY_SOCKET, PATH, WATCHDOG_USEC, WATCHDOG_PID } = env
    this.#relay = spawn('sh', ['-c', RELAY], { env: { NOTIFY_SOCKET, PATH }, stdio: ['pipe', 'ignore', 'ignore'] })
    const failed = (why: string): void => {
      if (!this.#ended) warn(`systemd is not told that Roost runs (NOTIFY_SOCKET): ${why}`)
      this.end()
    }
    this.#relay.on('error', ({ message }) => failed(message))
    this.#relay.on('exit', (code, signal) =>
      failed(signal ?? (code === 127 ? 'systemd-notify is not installed' : `exit code ${code}`)),
    )
    this.#relay.stdin!.on('error', () => {})
    this.#relay.unref()
    const isOurs = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === process.pid
    const intervalMs = (Number(WATCHDOG_USEC) / 1000) * WATCHDOG_PART
    if (isOurs && intervalMs > 0) this.#watchdog = setInterval(() => this.#tell('WATCHDOG=1'), intervalMs).unref()
  }

  /** Everything listens. `status`: one line, which `systemctl status` shows. */
  ready(status: string): void {
    this.#tell(`STATUS=${status}`)
    this.#tell('READY=1')
  }

  stopping(): void {
    this.#tell('STOPPING=1')
  }

  /** What was told is still passed on. */
  end(): void {
    this.#ended = true
    clearInterval(this.#watchdog)
    this.#relay.stdin!.end()
  }

  #tell(line: string): void {
    if (!this.#ended) this.#relay.stdin!.write(`${line}\n`)
  }
}

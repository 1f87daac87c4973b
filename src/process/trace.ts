import { ClientPattern } from '../base/client-pattern.ts'
import type { Config } from '../config/config.ts'
import { MIB } from '../config/options/kinds.ts'
import { traceLine } from '../trace/event.ts'
import type { Tracer, Watcher } from '../trace/tracer.ts'
import { type Logger, printable } from './log.ts'
import { TraceFile } from './trace-file.ts'

type TraceConfig = Pick<Config, 'traceClients' | 'tracePayloads' | 'traceFile' | 'traceFileMaxMib'>

export interface Traces {
  /** Bytes of memory that they take. */
  readonly bytes: number
  /** Ends them: no packet will follow. */
  stop(): void
}

/** Starts what the configuration asks for: lines in the log at `log_level: trace`, a file at `trace_file`. @throws StartError */
export function startTraces(config: TraceConfig, log: Logger, tracer: Tracer): Traces {
  const { traceClients, tracePayloads: payloads, traceFile: path, traceFileMaxMib } = config
  if (log.isLevelEnabled('trace')) tracer.watch(ofClients(traceClients, logWatcher(log, payloads)))
  const file = path === undefined ? undefined : new TraceFile({ path, maxBytes: traceFileMaxMib * MIB, payloads }, log)
  if (file !== undefined) file.ended = tracer.watch(ofClients(traceClients, file))
  return {
    get bytes() {
      return file?.bytes ?? 0
    },
    stop: () => file?.close(),
  }
}

const logWatcher = (log: Logger, payloads: boolean): Watcher => ({
  seen: (event) => {
    const { client, peer } = event
    log.trace({ client: client === undefined ? undefined : printable(client), peer: printable(peer) }, traceLine(event, payloads))
  },
})

/**
 * Passes on the events of clients whose ids match one of the patterns, or all events if there are none. An event before the
 * client is known matches none.
 */
function ofClients(patterns: readonly string[], watcher: Watcher): Watcher {
  if (patterns.length === 0) return watcher
  const clients = patterns.map((pattern) => new ClientPattern(pattern))
  const wants = (client: string | undefined): boolean => client !== undefined && clients.some((pattern) => pattern.fits(client))
  return {
    wants,
    seen: (event) => {
      if (wants(event.client)) watcher.seen(event)
    },
    streamClosed: (connection) => watcher.streamClosed?.(connection),
  }
}

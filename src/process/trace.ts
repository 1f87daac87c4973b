import { ClientPattern } from '../base/client-pattern.ts'
import type { Config } from '../config/config.ts'
import { traceLine } from '../trace/event.ts'
import type { Tracer, Watcher } from '../trace/tracer.ts'
import { type Logger, printable } from './log.ts'

/** Starts what the configuration asks for: lines in the log at `log_level: trace`. */
export function startTraces(config: Pick<Config, 'traceClients' | 'tracePayloads'>, log: Logger, tracer: Tracer): void {
  if (log.isLevelEnabled('trace')) tracer.watch(ofClients(config.traceClients, logWatcher(log, config.tracePayloads)))
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
  return {
    ...watcher,
    seen: (event) => {
      const { client } = event
      if (client !== undefined && clients.some((pattern) => pattern.fits(client))) watcher.seen(event)
    },
  }
}

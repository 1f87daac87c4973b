import { performance } from 'node:perf_hooks'
import type { HttpHost } from '../../src/http/io/http-host.ts'

/** A process in which everything is durable immediately. */
export const testHost = (more: Partial<HttpHost> = {}): HttpHost => ({
  notReady: undefined,
  run: (step) => step(performance.now()),
  durable: async () => true,
  reload: async () => ({ warnings: [] }),
  ...more,
})

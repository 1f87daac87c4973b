import type { Histogram } from '../base/histogram.ts'

/** What only the process knows, read when it is asked for. */
export interface ProcessStatus {
  readonly version: string
  /** Wall clock, seconds since 1970. */
  readonly startedAt: number
  /** Why this process should not get traffic; undefined if it should. */
  notReady(): string | undefined
  /** Bytes in use by objects and buffers, and of memory as the system sees it. */
  memory(): { readonly heap: number; readonly resident: number }
  /** Seconds of CPU time so far. */
  cpuSeconds(): number
  /** Files and sockets in use, and how many this process may open; undefined where the system does not say. */
  openFiles(): { readonly used: number; readonly limit: number } | undefined
  readonly eventLoopDelay: Histogram
  /** Datagrams that the kernel dropped because Roost did not read fast enough, by the name of the port; empty where it does not say. */
  droppedDatagrams(): ReadonlyMap<string, number>
  /** When certificates expire: milliseconds since 1970. */
  certificates(): readonly { readonly listener: string; readonly option: string; readonly notAfter: number }[]
  /** Undefined in memory mode. */
  store(): StoreStatus | undefined
}

export interface StoreStatus {
  /** Seconds from handing commits to the store until they were durable. */
  readonly commitSeconds: Histogram
  /** Bytes of the data directory in use, and the configured maximum (Infinity: none). */
  readonly usedBytes: number
  readonly maxBytes: number
  /** Bytes of records that are not durable yet. */
  readonly waitingBytes: number
}

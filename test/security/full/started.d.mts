import type { Socket } from 'node:net'

export const MIB: number

export class Started {
  readonly port: number
  readonly ports: Readonly<Record<string, number>>
  readonly snPort: number
  readonly lines: readonly {
    readonly msg: string
    readonly limit?: string
    readonly reason?: string
    readonly memoryLimit?: number
  }[]
  readonly errors: readonly string[]
  readonly ended: number | string | undefined
  readonly rss: number
  readonly peak: number
  static start(...flags: string[]): Promise<Started>
  static startWith(nodeFlags: readonly string[], ...flags: string[]): Promise<Started>
  reached(limit: string): number
  stop(): Promise<number | string>
}

export class Client {
  readonly socket: Socket
  readonly connack: { readonly reasonCode: number; readonly sessionPresent: boolean } | undefined
  static connected(port: number, options?: object): Promise<Client>
  subscribe(filter: string, qos?: number): void
  publish(topic: string, payload: string | Uint8Array, more?: object): boolean
  next(): Promise<{ readonly type: number; readonly reasonCode?: number; readonly reasonCodes?: number[] } | undefined>
  ping(): Promise<number>
  end(): void
}

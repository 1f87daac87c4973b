import type { QoS } from './claims.ts'
import type { Scarce } from './setup.ts'
import type { Fate } from './tape-network.ts'
import type { Guess } from './world.ts'

/** `pre/one` is predefined with id 1, `xy` is a short name, the others have to be registered. */
export const TOPICS = ['room/a', 'room/b/c', 'pre/one', 'xy', 'room/at/the/end/of/the/corridor'] as const
export const FILTERS = ['room/a', 'room/#', '+/one', 'xy', 'pre/one', 'room/at/the/end/of/the/corridor'] as const
export const WILL_TOPIC = 'gone'
/** Where bridges say whether they are connected. */
export const STATE_FILTER = '$SYS/broker/connection/+/state'
export const stateTopic = (id: string): string => STATE_FILTER.replace('+', id)

/** Which packet a client connects again behind: one that it sends (`up`), or that it is sent. */
export interface Cut {
  readonly behind: 'PUBLISH' | 'PUBREC' | 'PUBREL' | 'PUBCOMP'
  readonly way: 'up' | 'down'
}

/** Somebody asks for this over HTTP. */
export type OperatorStep =
  | {
      readonly do: 'http-publish'
      readonly topic: number
      readonly qos: 0 | 1 | 2
      readonly retain: boolean
      readonly unfit?: boolean
    }
  | { readonly do: 'http-delete'; readonly topic: number }
  | { readonly do: 'http-delete-many'; readonly filter: number }
  /** All clients, page by page. */
  | { readonly do: 'http-list' }
  | { readonly do: 'http-disconnect' | 'http-end'; readonly who: number }

/** One thing that happens, as plain data: a failing run is a list of these in a file. */
export type Step =
  /** The first one, if anything is scarce at the site. */
  | ({ readonly do: 'build' } & Scarce)
  | {
      readonly do: 'connect' | 'disconnect' | 'wake' | 'ping' | 'congest' | 'roam' | 'reboot' | 'will' | 'break' | 'partition'
      readonly who: number
    }
  /** Connects if need be, and subscribes, before anything else happens. */
  | { readonly do: 'join'; readonly who: number; readonly filter: number }
  /** A TCP client with the client id of this sensor comes, or goes if it is there. */
  | { readonly do: 'namesake'; readonly who: number }
  /** A TCP client leaves, and wants its will to be published (reason code 0x04). */
  | { readonly do: 'disconnect-with-will'; readonly who: number }
  /** A TCP client acknowledges a packet id with a packet that cannot be the answer, whether something is in flight under that id or not. */
  | { readonly do: 'forge'; readonly who: number; readonly packetId: number }
  /** Somebody at the address of a sensor answers under a message id that the sensor was never sent, and has not used itself. */
  | ({ readonly do: 'guess'; readonly who: number; readonly times?: number } & Guess)
  /** A TCP client takes nothing from its socket, or again what waits there. */
  | { readonly do: 'look-away' | 'look-back'; readonly who: number }
  | { readonly do: 'sleep'; readonly who: number; readonly seconds: number }
  | { readonly do: 'register'; readonly who: number; readonly topic: number }
  | {
      readonly do: 'publish'
      readonly who: number
      readonly topic: number
      readonly qos: QoS
      readonly retain: boolean
      /** More than a small frame takes. */
      readonly long?: boolean
      /** Of a TCP client: Message Expiry Interval, seconds. */
      readonly expires?: number
      /** It does not fit the type of its topic, if that has one. */
      readonly unfit?: boolean
      /** So many in a row. */
      readonly times?: number
    }
  /** A sensor sends so many QoS 1 messages at once, each with an id of its own, and none of them again. */
  | { readonly do: 'burst'; readonly who: number; readonly times: number }
  /** A sensor sends a QoS 2 message that it keeps over its connections. */
  | { readonly do: 'keep'; readonly who: number }
  /** A QoS 2 message goes to a client, or comes from it: right behind the next packet of this kind, it connects again. */
  | ({ readonly do: 'cut'; readonly who: number } & Cut)
  | { readonly do: 'subscribe' | 'unsubscribe'; readonly who: number; readonly filter: number }
  | { readonly do: 'tape'; readonly who: number; readonly up: boolean; readonly fates: readonly Fate[] }
  | { readonly do: 'heal' | 'stall' | 'unstall' | 'fill' | 'empty' | 'restart' }
  /** All streams break in one turn of the event loop. */
  | { readonly do: 'break-all' }
  /** The wall clock is set, forward or back (ms). */
  | { readonly do: 'set-clock'; readonly by: number }
  /** The process does not run for so long, and then reads what waits in its sockets. */
  | { readonly do: 'pause'; readonly ms: number }
  /** From now on each commit takes so long. */
  | { readonly do: 'slow'; readonly ms: number }
  | { readonly do: 'crash'; readonly survivors: number; readonly torn: boolean }
  | { readonly do: 'advance'; readonly ms: number }
  | OperatorStep

export const isOperatorStep = (step: Step): step is OperatorStep => step.do.startsWith('http-')

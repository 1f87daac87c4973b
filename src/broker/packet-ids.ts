import type { ClientKind } from '../mqtt/link.ts'
import type { Lsn } from '../store/store.ts'

/** Packet ids of a sensor that may be used beyond the last recorded one. */
const UNRECORDED_MAX = 64
/** Packet ids that may be skipped because they are in flight: the largest window of a sensor (sn_inflight_messages). */
const WINDOW_MAX = 16

/** The packet ids under which a session is sent its messages. */
export class PacketIds {
  #next = 1
  /** The last recorded packet id: after a restart, ids continue from it. */
  #recordedId = 0
  /** Lsn of a record of a packet id that may not be durable yet. */
  #recording: { readonly packetId: number; readonly lsn: Lsn } | undefined = undefined

  /** A packet id that is not in flight, counting up and around (MQTT-2.2.1-4); the window is smaller than the id space. */
  free(inflight: { has(packetId: number): boolean } | undefined): number {
    let id = this.#next
    // [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]
    while (inflight?.has(id)) id = id === 0xffff ? 1 : id + 1
    this.#next = id === 0xffff ? 1 : id + 1
    return id
  }

  /**
   * After a restart packet ids continue behind the last recorded one. A receiver remembers recently completed QoS 2 ids, and
   * would take a new message under one of them for a late copy of the old. Most QoS 1 ids are not recorded; where a late PUBACK
   * may still arrive, ids continue behind all that can have been used.
   */
  resume(last: number, kind: ClientKind): void {
    const next = last + (kind === 'sn' ? UNRECORDED_MAX : 1)
    this.#next = next > 0xffff ? next - 0xffff : next
    this.#recordedId = last
  }

  /**
   * Whether a QoS 1 message for a sensor may use the next packet id; not if the process after a crash would use it again. A
   * sensor does not notice the restart, and its PUBACK from before must not acknowledge another message. `record` records an id,
   * and returns its Lsn.
   */
  mayTake(durable: Lsn, record: (packetId: number) => Lsn | 'full'): boolean {
    if (this.#recording !== undefined && this.#recording.lsn <= durable) {
      this.#recordedId = this.#recording.packetId
      this.#recording = undefined
    }
    const ahead = (this.#next - this.#recordedId + 0xffff) % 0xffff
    if (ahead < UNRECORDED_MAX / 2) return true
    if (this.#recording === undefined) {
      const lsn = record(this.#next)
      if (lsn !== 'full') this.#recording = { packetId: this.#next, lsn }
    }
    return ahead < UNRECORDED_MAX - WINDOW_MAX || (this.#recording !== undefined && this.#recording.lsn <= durable)
  }
}

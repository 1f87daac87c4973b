import { isoTime } from '../base/iso-time.ts'
import type { Sensor } from '../gateway/sensors.ts'

/**
 * The presence of a sensor as JSON, of some 250 bytes. Fields that do not apply are left out, and later versions may add others.
 * `wallEpoch`: the wall clock at instant 0, in milliseconds since 1970.
 */
export function presenceText(sensor: Sensor, wallEpoch: number): string {
  const { clientId, state, since, lastHeard, sleepSeconds, nextWake, waiting, port, address, node } = sensor
  const time = (instant: number): string => isoTime(wallEpoch + instant)
  return JSON.stringify({
    client_id: clientId,
    state,
    since: time(since),
    last_heard: time(lastHeard),
    sleep_seconds: sleepSeconds > 0 ? sleepSeconds : undefined,
    next_wake: nextWake === undefined ? undefined : time(nextWake),
    waiting_messages: waiting.messages,
    waiting_bytes: waiting.bytes,
    port: port === '' ? undefined : port,
    address: address === '' ? undefined : address,
    node,
  })
}

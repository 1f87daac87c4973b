import type { SensorUpstreamOptions } from '../../../src/upstream/sensors/options.ts'
import { TARGETS } from '../pair.ts'

export const SENSORS: SensorUpstreamOptions = {
  targets: TARGETS,
  gatewayId: 7,
  clientId: '%c',
  username: undefined,
  password: undefined,
  keepAliveSeconds: 900,
  sleepers: 'keep',
  quietMs: 100,
  window: 20,
  maxPacketSize: 1024 * 1024,
  wills: 'auto',
  willDelaySeconds: 60,
  heldMessages: 100,
  heldBytes: 65_536,
  sessionExpirySeconds: 86_400,
  dialsPerSecond: 50,
}

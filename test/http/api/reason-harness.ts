import { expect } from 'vitest'
import type { TcpClient } from '../../../fuzz/sim/tcp-client.ts'
import { type Sensor, World } from '../../../fuzz/sim/world.ts'
import type { MemoryLimits } from '../../../src/base/memory.ts'
import { type Access, OPEN_ACCESS } from '../../../src/broker/access.ts'
import type { BrokerLimits } from '../../../src/broker/limits.ts'
import type { GatewayOptions } from '../../../src/gateway/gateway-options.ts'
import { bytes } from '../../broker/harness.ts'
import { connectClient, pass, TestApi } from '../harness.ts'

export interface Reason {
  readonly code: string
  readonly text: string
  readonly [name: string]: unknown
}

/** An API around a gateway and broker with these limits. */
export const apiOf = (
  gateway: Partial<GatewayOptions> = {},
  limits: Partial<BrokerLimits> = {},
  memory: Partial<MemoryLimits> = {},
  access: Access = OPEN_ACCESS,
): TestApi => new TestApi(new World(1, gateway, limits, memory, access))

export function reasons(api: TestApi, id: string, topic?: string): Reason[] {
  const query = topic === undefined ? '' : `?topic=${encodeURIComponent(topic)}`
  const { status, body } = api.ask('GET', `/api/v1/clients/${encodeURIComponent(id)}${query}`)
  expect(status).toBe(200)
  return body.reasons
}

export const codes = (api: TestApi, id: string, topic?: string): string[] => reasons(api, id, topic).map(({ code }) => code)

export function reason(api: TestApi, id: string, code: string, topic?: string): Reason {
  const all = reasons(api, id, topic)
  const found = all.find((each) => each.code === code)
  expect(found, `${code} is not in ${JSON.stringify(all)}`).toBeDefined()
  return found!
}

export function subscribed(api: TestApi, sensor: Sensor, topic = 'site/valve', qos: 0 | 1 | 2 = 1): Sensor {
  sensor.act((client, now) => client.subscribe(now, topic, qos))
  pass(api, 1000)
  return sensor
}

export function listens(api: TestApi, client: TcpClient, filter = 'site/#', qos: 0 | 1 | 2 = 1): TcpClient {
  client.act((mqtt, now) => mqtt.subscribe(now, [{ filter, qos }]))
  pass(api, 100)
  return client
}

export const sleep = (api: TestApi, sensor: Sensor, seconds: number): void => {
  sensor.act((client, now) => client.sleep(now, seconds))
  pass(api, 1000)
}

/** It hears nothing any more. */
export const deafen = (sensor: Sensor): void => {
  sensor.receive = () => {}
}

export function publisher(api: TestApi): (topic: string, payload?: string, more?: object) => void {
  const from = connectClient(api, 'from')
  return (topic, payload = 'x', more = {}) => {
    from.act((client, now) => client.publish(now, { topic, payload: bytes(payload), qos: 1, ...more }))
    pass(api, 100)
  }
}

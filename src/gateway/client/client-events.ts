import type { ClientFacts } from '../../mqtt/client-events.ts'
import type { GatewayClient } from './client.ts'
import type { State } from './state-table.ts'

const factsOf = ({ clientId, username, route: peer }: GatewayClient): ClientFacts & { readonly peer: string } => {
  return { kind: 'sn', clientId, username, listener: 'sn', peer }
}

/** Tells the hooks `onSleep` and `onWake`. An awake period ends with sleep. */
export function tellState(client: GatewayClient, state: State): void {
  const { onSleep, onWake } = client.host.options.events!
  if (state === 'asleep') onSleep?.({ ...factsOf(client), duration: client.sleepSeconds })
  else if (state === 'awake') onWake?.(factsOf(client))
}

/** Tells the hook `onRegister`. */
export function tellRegistered(client: GatewayClient, topic: string, topicId: number): void {
  client.host.options.events!.onRegister?.({ ...factsOf(client), topic, topicId })
}

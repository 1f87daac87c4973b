import { objectIdOf } from './names.ts'

/** Entities of the device, by key. Each takes its value from the presence message, to which `state_topic` points. */
const COMPONENTS = {
  state: {
    platform: 'sensor',
    name: 'State',
    device_class: 'enum',
    options: ['active', 'asleep', 'awake', 'lost', 'disconnected'],
    value_template: '{{ value_json.state }}',
  },
  connected: {
    platform: 'binary_sensor',
    name: 'Connected',
    device_class: 'connectivity',
    value_template: "{{ 'OFF' if value_json.state in ['lost', 'disconnected'] else 'ON' }}",
  },
  last_heard: {
    platform: 'sensor',
    name: 'Last heard',
    device_class: 'timestamp',
    value_template: '{{ value_json.last_heard }}',
  },
  next_wake: {
    platform: 'sensor',
    name: 'Next wake',
    device_class: 'timestamp',
    // 'None' is what Home Assistant takes for unknown.
    value_template: "{{ value_json.next_wake | default('None') }}",
  },
  waiting: {
    platform: 'sensor',
    name: 'Waiting messages',
    state_class: 'measurement',
    value_template: '{{ value_json.waiting_messages }}',
  },
} as const

/** A sensor that is gone has no next wake; its other entities tell that, and since when. */
const NEEDS_SENSOR: ReadonlySet<string> = new Set(['next_wake'])
const AVAILABILITY = "{{ 'offline' if value_json.state in ['lost', 'disconnected'] else 'online' }}"

/**
 * Makes the discovery message of each sensor: one device with an entity for each figure, in Home Assistant's format for the
 * discovery of whole devices (https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload), which it has had since
 * 2024.12. The text is the same but for three names, and is written once: 2 us for each sensor instead of 18.
 *
 * There is no `expire_after`: nothing is sent while a sensor sleeps, and Roost reports when it is lost.
 */
export function discovery(version: string): (clientId: string, presenceTopic: string) => string {
  const [first = '', ...others] = JSON.stringify(device(version)).split(PLACE)
  const pieces = others.map((piece) => ({ name: piece[0]!, rest: piece.slice(1) }))
  return (clientId, presenceTopic) => {
    const names = { [ID]: objectIdOf(clientId), [NAME]: inside(clientId), [TOPIC]: inside(presenceTopic) }
    return pieces.reduce((text, { name, rest }) => text + names[name] + rest, first)
  }
}

/** Where a name belongs, a character that JSON leaves as it is, and which name: of the three. */
const PLACE = '\ue000'
const [ID, NAME, TOPIC] = ['i', 'n', 't']

/** A text as it stands between quotes. */
const inside = (text: string): string => JSON.stringify(text).slice(1, -1)

function device(version: string): object {
  const components: Record<string, object> = {}
  for (const [key, component] of Object.entries(COMPONENTS))
    components[key] = {
      ...component,
      unique_id: `${PLACE}${ID}_${key}`,
      entity_category: 'diagnostic',
      ...(NEEDS_SENSOR.has(key) && { availability_topic: PLACE + TOPIC, availability_template: AVAILABILITY }),
    }
  return {
    device: { identifiers: [PLACE + ID], name: PLACE + NAME, model: 'MQTT-SN sensor' },
    origin: { name: 'Roost', sw_version: version },
    components,
    state_topic: PLACE + TOPIC,
  }
}

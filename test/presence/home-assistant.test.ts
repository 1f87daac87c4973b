import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import { discovery } from '../../src/presence/home-assistant.ts'
import { objectIdOf } from '../../src/presence/names.ts'
import { say } from '../gateway/harness.ts'
import { type Connected, taken, World } from '../server-world.ts'

// What Home Assistant accepts, from its documentation: integrations/mqtt (device discovery), sensor.mqtt, binary_sensor.mqtt.
// Strict, so that a misspelt option is noticed, of which Home Assistant would say something in its log only.

const TOPIC_FILTER = z.string().regex(/^[^#+\0]+$/)
const availability = { availability_topic: TOPIC_FILTER.optional(), availability_template: z.string().optional() }
const entity = {
  name: z.string(),
  unique_id: z.string().regex(/^[a-zA-Z0-9_-]+$/),
  entity_category: z.literal('diagnostic'),
  value_template: z.string(),
  ...availability,
}
const SENSOR_CLASS = z.discriminatedUnion('device_class', [
  z.strictObject({ device_class: z.literal('enum'), options: z.array(z.string()).min(1) }),
  z.strictObject({ device_class: z.literal('timestamp') }),
])
const component = z.union([
  z.strictObject({ platform: z.literal('sensor'), ...entity, ...SENSOR_CLASS.options[0].shape }),
  z.strictObject({ platform: z.literal('sensor'), ...entity, ...SENSOR_CLASS.options[1].shape }),
  z.strictObject({ platform: z.literal('sensor'), ...entity, state_class: z.literal('measurement') }),
  z.strictObject({ platform: z.literal('binary_sensor'), ...entity, device_class: z.literal('connectivity') }),
])
const DEVICE_DISCOVERY = z.strictObject({
  device: z.strictObject({ identifiers: z.array(z.string()).min(1), name: z.string(), model: z.string() }),
  origin: z.strictObject({ name: z.string(), sw_version: z.string() }),
  components: z.record(z.string(), component),
  state_topic: TOPIC_FILTER,
})
/** As Home Assistant finds out what a topic is about, below its prefix. */
const DISCOVERY_TOPIC = /^(?<component>\w+)\/(?:(?<node_id>[a-zA-Z0-9_-]+)\/)?(?<object_id>[a-zA-Z0-9_-]+)\/config$/

/** Home Assistant, which subscribes to these filters when it starts. */
function homeAssistant(world: World): Connected {
  const client = world.connect('home-assistant')
  for (const filter of ['homeassistant/+/+/config', 'homeassistant/+/+/+/config']) world.subscribe(client, filter)
  return client
}

const lines = (client: Connected): string[] => taken(client).map(({ topic, text }) => `${topic} ${text === '' ? '-' : '...'}`)

describe('Home Assistant', () => {
  test('is told of client ids and topics of any kind', () => {
    for (const clientId of ['a"b\\c', 'ü/😀', '\ue000n', 'i', '$&'])
      expect(JSON.parse(discovery('1.2.3')(clientId, `roost/${clientId}`))).toMatchObject({
        device: { identifiers: [objectIdOf(clientId)], name: clientId },
        origin: { sw_version: '1.2.3' },
        components: {
          state: { unique_id: `${objectIdOf(clientId)}_state` },
          next_wake: { availability_topic: `roost/${clientId}` },
        },
        state_topic: `roost/${clientId}`,
      })
  })

  test('is told of each sensor as a device, in its format', () => {
    const world = new World()
    world.send('r', say.connect('site/7'), say.disconnect(60))
    const [found, ...more] = taken(homeAssistant(world))
    expect([more, found?.retain]).toEqual([[], true])
    const id = objectIdOf('site/7')
    expect(found!.topic).toBe(`homeassistant/device/${id}/config`)
    expect(DISCOVERY_TOPIC.exec(found!.topic.slice('homeassistant/'.length))?.groups).toMatchObject({ component: 'device' })
    const { device, origin, components, state_topic } = DEVICE_DISCOVERY.parse(JSON.parse(found!.text))
    expect([device, origin, state_topic]).toEqual([
      { identifiers: [id], name: 'site/7', model: 'MQTT-SN sensor' },
      { name: 'Roost', sw_version: '1.2.3' },
      'roost/sensors/site%2F7',
    ])
    expect(Object.keys(components)).toEqual(['state', 'connected', 'last_heard', 'next_wake', 'waiting'])
    expect(new Set(Object.values(components).map(({ unique_id }) => unique_id)).size).toBe(5)
  })

  test('finds every value that its templates name in the presence message', () => {
    const world = new World()
    world.send('r', say.connect('s'), say.disconnect(60))
    const client = homeAssistant(world)
    const config = JSON.parse(taken(client)[0]!.text)
    world.subscribe(client, config.state_topic)
    const presence = JSON.parse(taken(client)[0]!.text)
    const templates = JSON.stringify(config.components)
    const names = [...templates.matchAll(/value_json\.(\w+)/g)].map(([, name]) => name!)
    expect(new Set(names)).toEqual(new Set(['state', 'last_heard', 'next_wake', 'waiting_messages']))
    for (const name of names) expect(presence).toHaveProperty(name)
    expect(config.components.state.options).toContain(presence.state)
  })

  test('is told of a new sensor once, however often that changes, and that it has ended before its presence ends', () => {
    const world = new World()
    const client = homeAssistant(world)
    world.subscribe(client, 'roost/sensors/#')
    const config = `homeassistant/device/${objectIdOf('s')}/config`
    world.send('r', say.connect('s', { clean: true }))
    world.advance(0)
    expect(lines(client)).toEqual([`${config} ...`, 'roost/sensors/s ...'])
    for (let i = 0; i < 3; i++) {
      world.advance(2000)
      world.send('r', say.disconnect(60))
      world.advance(0)
      expect(lines(client)).toEqual(['roost/sensors/s ...'])
      world.advance(2000)
      world.send('r', say.connect('s', { clean: false }))
      world.advance(0)
      expect(lines(client)).toEqual(['roost/sensors/s ...'])
    }
    world.send('r', say.connect('s', { clean: true }), say.disconnect())
    world.advance(1000)
    taken(client)
    world.advance(100_000)
    expect(lines(client)).toEqual([`${config} -`, 'roost/sensors/s -'])
  })

  test('finds the same after a restart, although nothing of it is stored', () => {
    const store = new DelayedStore()
    const before = new World({}, store)
    for (const message of [say.connect('s', { clean: false }), say.disconnect(60)]) {
      before.send('r', message)
      before.commit(store)
    }
    const found = taken(homeAssistant(before))
    expect(found).toHaveLength(1)
    expect(before.server.broker.retained.count).toBe(0)
    const world = new World({}, store.crash({ folded: store.durable }))
    expect(taken(homeAssistant(world))).toEqual(found)
    // The option is off: nothing is left.
    const off = new World({ presence: {} }, store.crash({ folded: store.durable }))
    expect(taken(homeAssistant(off))).toEqual([])
  })

  test('a single device is found by its topic', () => {
    const world = new World()
    for (const id of ['a', 'b', 'c']) world.send(`r${id}`, say.connect(id))
    const client = world.connect('client')
    world.subscribe(client, `homeassistant/device/${objectIdOf('b')}/config`)
    expect(taken(client).map(({ text }) => JSON.parse(text).device.name)).toEqual(['b'])
    world.subscribe(client, 'homeassistant/device/roost_b_00000000/config')
    world.subscribe(client, 'homeassistant/device/kitchen/config')
    expect(taken(client)).toEqual([])
  })

  test('tells sensors apart whose client ids differ only in what an object id cannot contain', () => {
    const world = new World()
    const client = homeAssistant(world)
    const ids = ['a_b', 'a/b', 'a b', 'a.b', 'a:b', 'aüb']
    for (const id of ids) world.send(`r ${id}`, say.connect(id, { duration: 3600 }))
    world.advance(0)
    const configs = taken(client)
    expect(configs.map(({ topic }) => topic.replace(/_[0-9a-f]{8}\/config$/, ''))).toEqual(
      ids.map(() => 'homeassistant/device/roost_a_b'),
    )
    expect(new Set(configs.map(({ topic }) => topic)).size).toBe(ids.length)
    const devices = configs.map(({ text }) => DEVICE_DISCOVERY.parse(JSON.parse(text)))
    expect(devices.map(({ device }) => device.name)).toEqual(ids)
    const uniqueIds = devices.flatMap(({ components }) => Object.values(components).map(({ unique_id }) => unique_id))
    expect(new Set(uniqueIds).size).toBe(ids.length * 5)
    // One of them ends, and nothing but its own device is taken away.
    world.send('r a/b', say.disconnect())
    world.advance(100_000)
    expect(taken(client)).toEqual([{ ...configs[1], text: '' }])
    expect(lines(homeAssistant(world)).length).toBe(ids.length - 1)
  })

  test("its other devices are nobody's business", () => {
    const world = new World()
    const kitchen = world.connect('kitchen')
    world.publish(kitchen, 'homeassistant/device/kitchen/config', '{}', { retain: true })
    world.send('r', say.connect('s'))
    expect(lines(homeAssistant(world)).sort()).toEqual([
      'homeassistant/device/kitchen/config ...',
      `homeassistant/device/${objectIdOf('s')}/config ...`,
    ])
  })

  test('is told of no sensor if it may not read that', () => {
    const world = new World({ access: { ...OPEN_ACCESS, read: (_, topic) => !topic.startsWith('homeassistant/') } })
    const client = homeAssistant(world)
    world.send('r', say.connect('s'))
    world.advance(0)
    expect(lines(client)).toEqual([])
  })
})

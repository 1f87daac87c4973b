import { describe, expect, test } from 'vitest'
import { say, TestGateway } from '../harness.ts'

/** A gateway with a session of `s` that is subscribed to `filter`, and a message on em/cs that waits for it. */
const waiting = (filter: string, qos: 0 | 1 | 2 = 1, options = {}): TestGateway => {
  const world = new TestGateway(options)
  world.send('r', say.connect('s', { clean: false }), say.subscribe(filter, 2), say.disconnect())
  if (qos > 0) world.publish('em/cs', 'x', qos)
  world.send('r', say.connect('s', { clean: false }))
  if (qos === 0) world.publish('em/cs', 'x', qos)
  expect(world.sent('r').slice(-2)).toEqual(['CONNACK', expect.stringMatching(/^REGISTER 0401=em\/cs #\d$/)])
  return world
}

/** Nothing is asked any more, and nobody is lost. */
const isQuiet = (world: TestGateway): void => {
  world.advance(59_000)
  expect(world.sent('r')).toEqual([])
  expect(world.gateway.client('s')?.state).toBe('active')
}

describe('a REGISTER whose id the sensor is told otherwise is over', () => {
  for (const qos of [0, 1, 2] as const) {
    test(`by SUBACK: the message with QoS ${qos} follows at once`, () => {
      const world = waiting('em/cs', qos)
      world.send('r', say.subscribe('em/cs', 2))
      expect(world.sent('r')).toEqual(['SUBACK 0401 #9 q2', `PUBLISH 0401=x${qos > 0 ? ' #1' : ''} q${qos}`])
      if (qos === 1) world.send('r', say.puback(0x401, 1))
      if (qos === 2) world.send('r', say.pubrec(1), say.pubcomp(1))
      world.sent('r')
      isQuiet(world)
    })
  }

  test('by the REGACK to its own REGISTER', () => {
    const world = waiting('em/#')
    world.send('r', say.register('em/cs', 5))
    expect(world.sent('r')).toEqual(['REGACK 0401 #5', 'PUBLISH 0401=x #1 q1'])
    world.send('r', say.puback(0x401, 1))
    isQuiet(world)
  })

  test('its late REGACK, refused or not, changes nothing', () => {
    for (const returnCode of [0, 3]) {
      const world = waiting('em/cs')
      world.send('r', say.subscribe('em/cs', 2), say.regack(0x401, 1, returnCode), say.puback(0x401, 1))
      world.sent('r')
      world.publish('em/cs', 'y')
      expect(world.sent('r')).toEqual(['PUBLISH 0401=y #2 q1'])
    }
  })

  test('the REGISTER of another topic goes on', () => {
    const world = waiting('em/#')
    world.send('r', say.subscribe('other', 1))
    expect(world.sent('r')).toEqual(['SUBACK 0402 #9 q1'])
    world.advance(10_000)
    expect(world.sent('r')).toEqual(['REGISTER 0401=em/cs #2'])
  })

  test('a refused SUBSCRIBE tells no id', () => {
    const world = waiting('em/#')
    world.send('r', { ...say.subscribe('em/cs'), qos: -1 } as never)
    expect(world.sent('r')).toEqual(['SUBACK 0000 #9 q0 rc3'])
  })

  test('while the sensor is asleep its message waits for the wake, and needs no REGISTER then', () => {
    const world = waiting('em/#')
    world.send('r', say.disconnect(60), say.register('em/cs', 5))
    expect(world.sent('r')).toEqual(['DISCONNECT', 'REGACK 0401 #5'])
    world.send('r', say.ping('s'))
    expect(world.sent('r')).toEqual(['PUBLISH 0401=x #1 q1'])
  })

  test('with register: eager the next id follows', () => {
    const world = new TestGateway({ register: 'eager' })
    world.send('r', say.connect('s', { clean: false }), say.register('a'), say.register('b'), say.connect('s', { clean: false }))
    expect(world.sent('r').at(-1)).toBe('REGISTER 0401=a #1')
    world.send('r', say.register('a', 8))
    expect(world.sent('r')).toEqual(['REGACK 0401 #8', 'REGISTER 0402=b #2'])
    world.send('r', say.subscribe('b', 1))
    world.sent('r')
    isQuiet(world)
  })

  test('a sensor that is congested is left alone all the same', () => {
    const world = waiting('em/#')
    world.send('r', say.regack(0x401, 2, 1), say.register('em/cs', 5))
    expect(world.sent('r')).toEqual(['REGACK 0401 #5'])
    world.advance(40_000)
    expect(world.sent('r')).toEqual([])
  })

  test('a REGISTER that waits for airtime does not leave any more', () => {
    const retry = { tRetryMs: 10_000, nRetry: 3, backoff: 1, jitter: 0 }
    const airtime = { bytesPerSecond: 10, dutyCycle: 1 }
    const world = new TestGateway({ ports: [{ name: 'sn', maxFrame: 100, retry, airtime, maxQueued: 10 }] })
    world.send('r', say.connect('s', { clean: false }), say.subscribe('em/#', 1), say.disconnect())
    world.publish('em/cs', 'x')
    world.advance(10_000)
    world.sent('r')
    world.send('r', say.connect('s', { clean: false }), say.register('em/cs', 5))
    world.advance(9_000)
    expect(world.sent('r')).toEqual(['CONNACK', 'REGACK 0401 #5', 'PUBLISH 0401=x #1 q1'])
  })
})

describe('a REGISTER for the sake of the address', () => {
  test('goes on after SUBACK: only its REGACK proves the address', () => {
    const world = new TestGateway({ trustedNetworks: [] })
    const r = '192.0.2.1:1'
    world.send(r, say.connect('s', { clean: false }), say.subscribe('em/cs', 0))
    world.sent(r)
    world.publish('em/cs', 'x'.repeat(100), 0)
    expect(world.sent(r)).toEqual(['REGISTER 0401=em/cs #1'])
    world.send(r, say.subscribe('em/cs', 0))
    expect(world.sent(r)).toEqual(['SUBACK 0401 #9 q0'])
    world.send(r, say.regack(0x401, 1))
    expect(world.sent(r)).toEqual([`PUBLISH 0401=${'x'.repeat(100)} q0`])
  })

  test('goes on although the sensor says so much meanwhile that it may be sent the message: it has not answered', () => {
    const world = new TestGateway({ trustedNetworks: [] })
    const r = '192.0.2.1:1'
    world.send(r, say.connect('s', { clean: false }), say.subscribe('em/cs', 2))
    world.sent(r)
    world.publish('em/cs', 'x'.repeat(100), 2)
    const [register = ''] = world.sent(r)
    expect(register).toMatch(/^REGISTER 0401=em\/cs #\d+$/)
    world.send(r, say.publish(1, 'y'.repeat(500), 0, 0, 'predefined'))
    expect(world.sent(r)).toEqual([])
    world.send(r, say.regack(0x401, Number(register.split('#')[1])))
    expect(world.sent(r)).toEqual([`PUBLISH 0401=${'x'.repeat(100)} #1 q2`])
  })
})

test('an acknowledgement of a message whose topic is being registered again ends both', () => {
  for (const qos of [1, 2] as const) {
    const world = new TestGateway()
    world.send('r', say.connect('s', { clean: false }), say.subscribe('a', 2))
    world.publish('a', 'x', qos)
    world.send('r', say.connect('s', { clean: false }))
    expect(world.sent('r').at(-1)).toBe('REGISTER 0401=a #2')
    // It has crossed the CONNECT.
    world.send('r', qos === 1 ? say.puback(0x401, 1) : say.pubrec(1))
    expect(world.sent('r')).toEqual(qos === 1 ? [] : ['PUBREL #1'])
    if (qos === 2) world.send('r', say.pubcomp(1))
    isQuiet(world)
    world.publish('a', 'y')
    expect(world.sent('r')).toEqual([expect.stringMatching(/^REGISTER 0401=a #\d$/)])
  }
})

test('with register: eager a topic name that does not fit into a frame holds nothing up', () => {
  const world = new TestGateway({ register: 'eager', maxDatagram: 40 })
  const long = 'a/'.repeat(30)
  world.send('r', say.connect('s', { clean: false }), say.register(long), say.subscribe('b', 0))
  world.sent('r')
  world.send('r', say.connect('s', { clean: false }))
  expect(world.sent('r')).toEqual(['CONNACK', 'REGISTER 0402=b #1'])
  world.send('r', say.regack(0x402, 1))
  world.publish('b', 'x', 0)
  expect(world.sent('r')).toEqual(['PUBLISH 0402=x q0'])
})

test('several messages refused for one unknown topic id come after its REGACK in the order in which they were sent', () => {
  const world = new TestGateway({ inflightMessages: 3 })
  world.send('r', say.connect('s', { clean: false }), say.subscribe('a', 1))
  for (const text of ['x', 'y', 'z']) world.publish('a', text, 1)
  expect(world.sent('r').slice(2)).toEqual(['PUBLISH 0401=x #1 q1', 'PUBLISH 0401=y #2 q1', 'PUBLISH 0401=z #3 q1'])
  world.send('r', say.puback(0x401, 1, 2), say.puback(0x401, 2, 2), say.puback(0x401, 3, 2))
  const [register = ''] = world.sent('r')
  expect(register).toMatch(/^REGISTER 0401=a #\d+$/)
  world.send('r', say.regack(0x401, Number(register.split('#')[1])))
  expect(world.sent('r').map((line) => line.slice(0, 14))).toEqual(['PUBLISH 0401=x', 'PUBLISH 0401=y', 'PUBLISH 0401=z'])
})

import { describe, expect, test } from 'vitest'
import { connectSensor, pass } from '../harness.ts'
import { apiOf, codes, deafen, publisher, reason, sleep, subscribed } from './reason-harness.ts'

describe('what a sensor has not answered', () => {
  test('PUBLISH, sent again and again', () => {
    const api = apiOf()
    deafen(subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 3600 })))
    const publish = publisher(api)
    publish('site/valve')
    publish('site/valve')
    expect(reason(api, 's', 'not-acknowledged')).toMatchObject({
      text: 'it has not answered the message for site/valve: PUBACK is awaited, sent once',
      awaiting: 'PUBACK',
      topic: 'site/valve',
      retransmissions: 0,
      retransmissions_limit: 3,
    })
    pass(api, 20_000)
    expect(reason(api, 's', 'not-acknowledged')).toMatchObject({
      text: 'it has not answered the message for site/valve: PUBACK is awaited, sent again 2 of 3 times',
      retransmissions: 2,
      until: '2027-01-15T08:00:32Z',
    })
    expect(reason(api, 's', 'window-full')).toMatchObject({ messages: 1, limit: 1, option: 'sn_inflight_messages' })
  })

  test('REGISTER: REGACK is awaited', () => {
    const api = apiOf()
    const sensor = subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 3600 }), 'site/+')
    deafen(sensor)
    publisher(api)('site/valve')
    expect(reason(api, 's', 'not-acknowledged')).toMatchObject({
      text: 'it has not answered REGISTER of the topic id for site/valve: REGACK is awaited, sent once',
      awaiting: 'REGACK',
    })
    expect(reason(api, 's', 'topic-not-registered')).toMatchObject({ topic: 'site/valve' })
  })

  test('QoS 2: PUBREC, then PUBCOMP', () => {
    const api = apiOf()
    const sensor = subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 3600 }), 'site/valve', 2)
    deafen(sensor)
    publisher(api)('site/valve', 'x', { qos: 2 })
    const { msg_id: msgId } = reason(api, 's', 'not-acknowledged')
    expect(reason(api, 's', 'not-acknowledged')).toMatchObject({ awaiting: 'PUBREC' })
    sensor.say({ type: 0x0f, msgId: msgId as number })
    pass(api, 1000)
    expect(reason(api, 's', 'not-acknowledged')).toMatchObject({ awaiting: 'PUBCOMP' })
  })

  test('it has answered that it is congested', () => {
    const api = apiOf()
    const sensor = subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 3600 }))
    sensor.congested = true
    publisher(api)('site/valve')
    pass(api, 1000)
    expect(reason(api, 's', 'congested').text).toBe('it answered that it is congested: its messages are sent again later')
    pass(api, 301_000)
    expect(codes(api, 's')).toEqual([])
  })

  test('an awake period has delivered what it may', () => {
    const api = apiOf({ wakeMessages: 1 })
    const sensor = subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 3600 }))
    sleep(api, sensor, 600)
    const publish = publisher(api)
    for (let i = 0; i < 3; i++) publish('site/valve')
    const { receive } = sensor
    deafen(sensor)
    sensor.act((client, now) => client.wake(now))
    pass(api, 1000)
    expect(reason(api, 's', 'wake-limit')).toMatchObject({ messages: 2, option: 'wake_messages' })
    sensor.receive = receive
    pass(api, 30_000)
    expect(codes(api, 's')).toEqual(['asleep'])
  })
})

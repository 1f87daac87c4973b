import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { describeWithMosquitto, MosquittoSub, mosquittoPub } from './mosquitto.ts'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

let roost: StartedProcess
let sub: MosquittoSub | undefined
let sensor: RawSensor | undefined

beforeAll(async () => {
  roost = await StartedProcess.start('--memory')
})
afterAll(() => roost.stop())
afterEach(async () => {
  await sub?.stop()
  sensor?.close()
  sub = undefined
  sensor = undefined
})

describeWithMosquitto('mosquitto-clients and a raw MQTT-SN sensor', () => {
  test('mosquitto_sub sees what a sensor publishes, at every QoS', async () => {
    sub = await MosquittoSub.start(roost.mqttPort, '-t', 'sensors/#', '-t', 'ab', '-q', '2')
    sensor = await RawSensor.open(roost.snPort)
    expect(await sensor.ask('connect, keep alive 60 s, clean session')).toBe('030500')
    expect(await sensor.ask('register sensors/s1')).toBe('070b0401000100')
    sensor.say('publish 21.5 on id 0401, QoS 0')
    expect(await sub.next()).toBe('sensors/s1 21.5')
    expect(await sensor.ask('publish 21.6 on id 0401, QoS 1')).toBe('070d0401000200')
    expect(await sub.next()).toBe('sensors/s1 21.6')
    expect(await sensor.ask('publish 21.7 on id 0401, QoS 2')).toBe('040f0003')
    expect(await sensor.ask('release 3')).toBe('040e0003')
    expect(await sub.next()).toBe('sensors/s1 21.7')
    sensor.say('publish hi on the short topic ab, QoS -1')
    expect(await sub.next()).toBe('ab hi')
    expect(await sensor.ask('goodbye')).toBe('0218')
  })

  test('a sensor receives what mosquitto_pub publishes: REGISTER, then PUBLISH', async () => {
    sensor = await RawSensor.open(roost.snPort)
    await sensor.ask('connect, keep alive 60 s, clean session')
    expect(await sensor.ask('subscribe commands/#, QoS 1')).toBe('0813200000000400')
    await mosquittoPub(roost.mqttPort, '-t', 'commands/s1', '-m', 'open', '-q', '1')
    const register = await sensor.next()
    expect(register).toMatch(/^110a0401....636f6d6d616e64732f7331$/)
    sensor.sendHex(`070b0401${register.slice(8, 12)}00`)
    expect(await sensor.next()).toBe('0b0c20040100016f70656e')
    sensor.sendHex('070d0401000100')
    expect(await sensor.ask('goodbye')).toBe('0218')
  })

  test('a sensor that sleeps receives it when it wakes, and then PINGRESP', async () => {
    sensor = await RawSensor.open(roost.snPort)
    await sensor.ask('connect, keep alive 60 s, clean session')
    expect(await sensor.ask('subscribe commands/s1, QoS 1')).toBe('0813200401000500')
    expect(await sensor.ask('sleep 600 s')).toBe('0218')
    for (const text of ['one', 'two']) await mosquittoPub(roost.mqttPort, '-t', 'commands/s1', '-m', text, '-q', '1')
    expect(sensor.unread).toEqual([])
    expect(await sensor.ask('wake')).toBe('0a0c20040100016f6e65')
    sensor.sendHex('070d0401000100')
    expect(await sensor.next()).toBe('0a0c200401000274776f')
    sensor.sendHex('070d0401000200')
    expect(await sensor.next()).toBe('0217')
  })
})

describeWithMosquitto.each(['mqttv31', 'mqttv311', 'mqttv5'])('mosquitto_pub and mosquitto_sub with -V %s', (version) => {
  const flags = ['-V', version]

  test.each(['0', '1', '2'])('QoS %s', async (qos) => {
    sub = await MosquittoSub.start(roost.mqttPort, ...flags, '-t', `${version}/+`, '-q', qos)
    await mosquittoPub(roost.mqttPort, ...flags, '-t', `${version}/a`, '-m', `with QoS ${qos}`, '-q', qos)
    expect(await sub.next()).toBe(`${version}/a with QoS ${qos}`)
  })

  test('a retained message comes to those who subscribe later, and can be cleared', async () => {
    await mosquittoPub(roost.mqttPort, ...flags, '-t', `${version}/kept`, '-m', 'state', '-r', '-q', '1')
    sub = await MosquittoSub.start(roost.mqttPort, ...flags, '-t', `${version}/kept`)
    expect(await sub.next()).toBe(`${version}/kept state`)
    await mosquittoPub(roost.mqttPort, ...flags, '-t', `${version}/kept`, '-n', '-r')
    expect(await sub.next()).toBe(`${version}/kept (null)`)
    await sub.stop()
    sub = await MosquittoSub.start(roost.mqttPort, ...flags, '-t', `${version}/#`)
    await mosquittoPub(roost.mqttPort, ...flags, '-t', `${version}/kept`, '-m', 'live')
    expect(await sub.next()).toBe(`${version}/kept live`)
  })

  test('the will of a client that is killed', async () => {
    sub = await MosquittoSub.start(roost.mqttPort, ...flags, '-t', `${version}/will`)
    const will = ['--will-topic', `${version}/will`, '--will-payload', 'gone', '--will-qos', '1']
    const victim = await MosquittoSub.start(roost.mqttPort, ...flags, '-t', 'x', ...will)
    await victim.stop('SIGKILL')
    expect(await sub.next()).toBe(`${version}/will gone`)
  })

  test('a session that lasts gets what came while it was away', async () => {
    const lasting = [
      ...flags,
      '-c',
      '-i',
      `lasting-${version}`,
      '-t',
      `${version}/queue`,
      '-q',
      '1',
      ...(version === 'mqttv5' ? ['-x', '3600'] : []),
    ]
    const first = await MosquittoSub.start(roost.mqttPort, ...lasting)
    await first.stop()
    await mosquittoPub(roost.mqttPort, ...flags, '-t', `${version}/queue`, '-m', 'while away', '-q', '1')
    sub = await MosquittoSub.start(roost.mqttPort, ...lasting)
    expect(await sub.next()).toBe(`${version}/queue while away`)
  })
})

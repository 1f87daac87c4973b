import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

// Conversations as RIOT's emcute and asymcute have them, octet by octet, against a process with a durable store. emcute ignores REGISTER, keeps
// the topic ids of its SUBACKs, and reads nothing but the answer while it waits for one; asymcute sends several requests at once.

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
})

const started = async (...flags: string[]): Promise<StartedProcess> => {
  const dir = mkdtempSync(join(tmpdir(), 'roost-interop-'))
  cleanUp.push(() => rmSync(dir, { recursive: true }))
  const roost = await StartedProcess.start('--data-dir', join(dir, 'data'), ...flags)
  cleanUp.push(() => roost.stop('SIGKILL'))
  return roost
}

const sensorOf = async (roost: StartedProcess): Promise<RawSensor> => {
  const sensor = await RawSensor.open(roost.snPort)
  cleanUp.push(() => sensor.close())
  return sensor
}

const asks = async (sensor: RawSensor, hex: string): Promise<string> => {
  sensor.sendHex(hex)
  return sensor.next()
}

const hex = (text: string): string => Buffer.from(text).toString('hex')
const ACCEPTED = '030500'
const DISCONNECT = '0218'
const [PINGREQ, PINGRESP] = ['0216', '0217']
/** emcute's CONNECT: no clean session, keep alive 360 s, client id emCs. */
const EMCUTE_CONNECT = '0a0400010168656d4373'
/** Message id 0x1234, QoS 1, topic em/cs. */
const EMCUTE_SUBSCRIBE = '0a12201234656d2f6373'
const SUBACK = '08132004011234'

/** Another sensor, which has registered em/cs. */
const publisherOf = async (
  roost: StartedProcess,
  topic = 'em/cs',
): Promise<{ publish(flags: string, text: string): Promise<string> }> => {
  const publisher = await sensorOf(roost)
  expect(await asks(publisher, `0a0404010168${hex('othr')}`)).toBe(ACCEPTED)
  expect(await asks(publisher, `0b0a00000001${hex(topic)}`)).toBe('070b0401000100')
  let msgId = 1
  return {
    publish: (flags, text) => {
      msgId++
      const id = msgId.toString(16).padStart(4, '0')
      return asks(publisher, `${(7 + text.length).toString(16).padStart(2, '0')}0c${flags}0401${id}${hex(text)}`)
    },
  }
}

test('emcute: a message that waited for the session comes after SUBACK, although REGISTER is not answered', async () => {
  const roost = await started('--t-retry', '0.2', '--n-retry', '3')
  const emcute = await sensorOf(roost)
  expect(await asks(emcute, EMCUTE_CONNECT)).toBe(ACCEPTED)
  expect(await asks(emcute, EMCUTE_SUBSCRIBE)).toBe(`${SUBACK}00`)
  expect(await asks(emcute, DISCONNECT)).toBe(DISCONNECT)
  const publisher = await publisherOf(roost)
  expect(await publisher.publish('20', 'x')).toBe('070d0401000200')

  expect(await asks(emcute, EMCUTE_CONNECT)).toBe(ACCEPTED)
  expect(await emcute.next()).toMatch(/^0b0a0401....656d2f6373$/)
  emcute.sendHex(EMCUTE_SUBSCRIBE)
  let answer = await emcute.next()
  while (answer.startsWith('0b0a')) answer = await emcute.next()
  expect(answer).toBe(`${SUBACK}00`)
  const message = await emcute.next()
  expect(message).toMatch(/^080c.00401....78$/)
  emcute.sendHex(`070d0401${message.slice(10, 14)}00`)
  // Another sensor that falls silent shows when all retries are over.
  const silent = await sensorOf(roost)
  expect(await asks(silent, `0a0404010168${hex('slnt')}`)).toBe(ACCEPTED)
  expect(await asks(silent, `0812200001${hex('s/#')}`)).toBe('0813200000000100')
  const second = await sensorOf(roost)
  expect(await asks(second, `0a0404010168${hex('scnd')}`)).toBe(ACCEPTED)
  expect(await asks(second, `090a00000001${hex('s/x')}`)).toBe('070b0401000100')
  expect(await asks(second, '080c200401000278')).toBe('070d0401000200')
  await roost.logged(/client-lost.*slnt|slnt.*client-lost|no REGACK/)
  expect(emcute.unread.filter((each) => each === DISCONNECT)).toEqual([])
  expect(await asks(emcute, PINGREQ)).toBe(PINGRESP)
})

test('emcute: pings, and does not answer the REGISTER of a wildcard: it stays connected, and gets its other messages', async () => {
  const roost = await started('--t-retry', '0.1', '--n-retry', '3')
  const publisher = await publisherOf(roost, 'em/wc')
  // Retained.
  expect(await publisher.publish('30', 'old')).toBe('070d0401000200')
  const emcute = await sensorOf(roost)
  expect(await asks(emcute, EMCUTE_CONNECT)).toBe(ACCEPTED)
  expect(await asks(emcute, EMCUTE_SUBSCRIBE)).toBe(`${SUBACK}00`)
  expect(await asks(emcute, `0912201235${hex('em/+')}`)).toBe('0813200000123500')
  const heard: string[] = []
  while (!roost.log.some((line) => line.startsWith('message-dropped'))) {
    emcute.sendHex(PINGREQ)
    for (let answer = await emcute.next(); answer !== PINGRESP; answer = await emcute.next()) heard.push(answer)
  }
  expect(new Set(heard.map((each) => each.slice(0, 4)))).toEqual(new Set(['0b0a']))
  expect(roost.log.find((line) => line.startsWith('message-dropped'))).toContain('no REGACK after 3 retries: message on em/wc')
  const other = await sensorOf(roost)
  expect(await asks(other, `0a0404010168${hex('thrd')}`)).toBe(ACCEPTED)
  expect(await asks(other, `0b0a00000001${hex('em/cs')}`)).toBe('070b0401000100')
  expect(await asks(other, '080c200401000278')).toBe('070d0401000200')
  expect(await emcute.next()).toMatch(/^080c200401....78$/)
})

test('emcute: SUBACK of a short topic has its octets, and a repeated SUBSCRIBE the same answer', async () => {
  const roost = await started()
  const emcute = await sensorOf(roost)
  expect(await asks(emcute, EMCUTE_CONNECT)).toBe(ACCEPTED)
  expect(await asks(emcute, `0712220007${hex('ab')}`)).toBe(`081320${hex('ab')}000700`)
  emcute.sendHex(EMCUTE_SUBSCRIBE)
  emcute.sendHex('0a12a01234656d2f6373')
  expect([await emcute.next(), await emcute.next()]).toEqual([`${SUBACK}00`, `${SUBACK}00`])
})

test('asymcute: five QoS 1 messages at once are all taken, and each comes back behind its PUBACK', async () => {
  const roost = await started()
  const asymcute = await sensorOf(roost)
  expect(await asks(asymcute, `0a0404010168${hex('asym')}`)).toBe(ACCEPTED)
  expect(await asks(asymcute, `0b0a00000009${hex('as/ym')}`)).toBe('070b0401000900')
  expect(await asks(asymcute, `0a1220000a${hex('as/ym')}`)).toBe('0813200401000a00')
  const ids = ['000b', '000c', '000d', '000e', '000f']
  for (const id of ids) asymcute.sendHex(`080c200401${id}78`)
  const acknowledged: string[] = []
  for (let messages = 0; messages < ids.length; ) {
    const datagram = await asymcute.next()
    if (datagram.startsWith('070d')) acknowledged.push(datagram)
    else {
      expect(datagram).toMatch(/^080c200401....78$/)
      messages++
      expect(acknowledged.length).toBeGreaterThanOrEqual(messages)
      asymcute.sendHex(`070d0401${datagram.slice(10, 14)}00`)
    }
  }
  expect(acknowledged).toEqual(ids.map((id) => `070d0401${id}00`))
})

test('asymcute: an abandoned QoS 2 exchange does not keep QoS 1 from being taken', async () => {
  const roost = await started()
  const asymcute = await sensorOf(roost)
  expect(await asks(asymcute, `0a0404010168${hex('asym')}`)).toBe(ACCEPTED)
  expect(await asks(asymcute, `080c42${hex('ab')}000178`)).toBe('040f0001')
  expect(await asks(asymcute, `080c22${hex('ab')}000278`)).toBe(`070d${hex('ab')}000200`)
})

test('emcute outside trusted_networks: QoS 1 that is larger than what it has sent arrives at once, message after message', async () => {
  const roost = await started('--trusted-networks', '192.0.2.0/24', '--t-adv', '0')
  const publisher = await publisherOf(roost)
  const emcute = await sensorOf(roost)
  expect(await asks(emcute, EMCUTE_CONNECT)).toBe(ACCEPTED)
  expect(await asks(emcute, EMCUTE_SUBSCRIBE)).toBe(`${SUBACK}00`)
  for (let i = 0; i < 3; i++) {
    const text = `${i}${'x'.repeat(200)}`
    expect(await publisher.publish('20', text)).toMatch(/^070d0401....00$/)
    const message = await emcute.next()
    expect(message).toMatch(new RegExp(`^d00c200401....${hex(text)}$`))
    emcute.sendHex(`070d0401${message.slice(10, 14)}00`)
  }
  expect(await asks(emcute, PINGREQ)).toBe(PINGRESP)
  expect(roost.log.filter((line) => line.startsWith('limit-reached'))).toEqual([])
})

test('asymcute outside trusted_networks: five QoS 1 messages at once come back, one behind the other', async () => {
  const roost = await started('--trusted-networks', '192.0.2.0/24', '--t-adv', '0', '--sn-inflight-messages', '5')
  const asymcute = await sensorOf(roost)
  expect(await asks(asymcute, `0a0404010168${hex('asym')}`)).toBe(ACCEPTED)
  expect(await asks(asymcute, `0b0a00000009${hex('as/ym')}`)).toBe('070b0401000900')
  expect(await asks(asymcute, `0a1220000a${hex('as/ym')}`)).toBe('0813200401000a00')
  const ids = ['000b', '000c', '000d', '000e', '000f']
  for (const [i, id] of ids.entries()) asymcute.sendHex(`080c200401${id}3${i}`)
  const heard: string[] = []
  while (heard.length < ids.length) {
    const datagram = await asymcute.next()
    if (datagram.startsWith('070d')) continue
    heard.push(datagram.slice(14))
    asymcute.sendHex(`070d0401${datagram.slice(10, 14)}00`)
  }
  expect(heard).toEqual(ids.map((_, i) => `3${i}`))
  expect(await asks(asymcute, PINGREQ)).toBe(PINGRESP)
})

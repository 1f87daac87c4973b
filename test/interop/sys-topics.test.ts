import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { describeWithMosquitto, MosquittoSub, mosquittoPub } from './mosquitto.ts'
import { StartedProcess } from './started-process.ts'

const MOSQUITTO = readFileSync(new URL('../vectors/mosquitto-sys-topics.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('$SYS'))

let roost: StartedProcess
let sub: MosquittoSub | undefined

beforeAll(async () => {
  roost = await StartedProcess.start('--memory', '--sys-interval', '1')
})
afterAll(() => roost.stop())
afterEach(async () => {
  await sub?.stop()
  sub = undefined
})

/** Takes messages until one passes. */
async function find(pattern: RegExp): Promise<string> {
  for (;;) {
    const line = await sub!.next()
    if (pattern.test(line)) return line
  }
}

describeWithMosquitto("mosquitto_sub -t '$SYS/#'", () => {
  test('finds everything that Mosquitto tells, with values', async () => {
    sub = await MosquittoSub.start(roost.mqttPort, '-t', '$SYS/#')
    const missing = new Set(MOSQUITTO)
    const values = new Map<string, string>()
    while (missing.size > 0) {
      const line = await sub.next()
      const [, topic, value] = /^(\$SYS\/(?:broker\/retained messages\/count|[^ ]+)) (.+)$/.exec(line)!
      missing.delete(topic!)
      values.set(topic!, value!)
    }
    expect(values.get('$SYS/broker/version')).toMatch(/^roost version \d+\.\d+\.\d+/)
    expect(values.get('$SYS/broker/uptime')).toMatch(/^\d+ seconds$/)
    expect(Number(values.get('$SYS/broker/heap/current'))).toBeGreaterThan(1_000_000)
    expect(values.get('$SYS/broker/load/bytes/sent/15min')).toMatch(/^\d+\.\d\d$/)
  })

  test('hears of it when something changes', async () => {
    sub = await MosquittoSub.start(roost.mqttPort, '-t', '$SYS/broker/publish/bytes/received', '-t', '$SYS/broker/clients/active')
    await find(/^\$SYS\/broker\/clients\/active 1$/)
    await mosquittoPub(roost.mqttPort, '-t', 'a', '-m', '12345')
    await find(/^\$SYS\/broker\/publish\/bytes\/received 5$/)
    await mosquittoPub(roost.mqttPort, '-t', '$SYS/broker/clients/active', '-m', 'forged', '-r', '-q', '1')
    await mosquittoPub(roost.mqttPort, '-t', 'a', '-m', '1')
    // The forger's payload came in, and went nowhere.
    expect(await find(/forged|bytes\/received 12$/)).toBe('$SYS/broker/publish/bytes/received 12')
  })
})

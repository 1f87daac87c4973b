import { expect, test } from 'vitest'
import { SEED } from './runs.ts'
import { Ledger } from './sim/ledger.ts'
import { PERFECT } from './sim/network.ts'
import { bytes, textOf } from './sim/texts.ts'
import { World } from './sim/world.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const YEARS = 5
const END = YEARS * 365 * DAY
/** The longest sleep that MQTT-SN can say is 65,535 s: 18 hours. */
const SLEEP_SECONDS = 64_800
const WAKES_EVERY = 12 * HOUR

test(`${YEARS} years of a sensor that sleeps, on a bad network: every command once and in order, and every report`, () => {
  const world = new World(SEED)
  const { schedule } = world
  const ledger = new Ledger()
  const every = (ms: number, what: () => void): void => {
    for (let at = ms; at < END; at += ms) schedule.at(at, what)
  }

  // A crystal that loses 40 seconds a day.
  const sensor = world.addSensor({ clientId: 'meter', cleanSession: false, keepAliveSeconds: 3600 })
  sensor.rate = 0.9995
  const reports = new Map<number, string>()
  const comeBack = (): void => {
    sensor.act((sn, now) => {
      if (sn.state === 'disconnected') sn.connect(now)
      sn.sleep(now, SLEEP_SECONDS)
    })
  }
  sensor.onEvent = (event) => {
    if (event.event === 'message') ledger.receive('meter', textOf(event.message.data))
    else if (event.event === 'published' && event.returnCode === 0) {
      ledger.sent.get(reports.get(event.msgId) ?? '')!.acknowledged = true
    } else if (event.event === 'timedOut' || event.event === 'disconnected') {
      // A late copy of an answer may look like the end of its session.
      reports.clear()
      schedule.after(MINUTE, comeBack)
    }
  }
  const station = world.addTcpClient({
    clientId: 'station',
    cleanStart: false,
    keepAliveSeconds: 0,
    properties: { sessionExpiryInterval: 0xffffffff },
  })
  const commands = new Map<number, string>()
  station.onEvent = (event) => {
    if (event.event === 'message') ledger.receive('station', textOf(event.message.payload))
    else if (event.event === 'published') ledger.sent.get(commands.get(event.packetId) ?? '')!.acknowledged = true
    else if (event.event === 'disconnected') schedule.after(1000, () => station.connect())
  }
  // The network is bad from when both have subscribed on: neither does so again.
  const { faults } = world.network
  world.network.faults = PERFECT
  station.connect()
  schedule.runUntil(1000)
  station.act((mqtt, now) => mqtt.subscribe(now, [{ filter: 'meter/report', qos: 2 }]))
  sensor.act((sn, now) => {
    sn.connect(now)
    sn.subscribe(now, 'meter/command', 2)
  })
  schedule.runUntil(10 * MINUTE)
  world.network.faults = faults
  sensor.act((sn, now) => sn.sleep(now, SLEEP_SECONDS))

  every(7 * HOUR, () => {
    const sent = ledger.publish('station', 'meter/command', 2, ['meter'])
    station.act((mqtt, now) => {
      const packetId = mqtt.publish(now, { topic: sent.topic, payload: bytes(sent.text), qos: 2 })
      if (packetId !== undefined) commands.set(packetId, sent.text)
    })
  })
  every(WAKES_EVERY, () => {
    if (sensor.client.state === 'asleep') sensor.act((sn, now) => sn.wake(now))
  })
  // Once a week it tells what it has measured, and goes back to sleep.
  every(7 * DAY + HOUR, () => {
    const sent = ledger.publish('meter', 'meter/report', 2, ['station'])
    sensor.act((sn, now) => {
      sn.connect(now)
      reports.set(sn.publish(now, sent.topic, bytes(sent.text), 2), sent.text)
      sn.sleep(now, SLEEP_SECONDS)
    })
  })
  every(31 * DAY + 5 * HOUR, () => world.crash())
  schedule.runUntil(END + 2 * DAY)
  for (let wakes = 0; wakes < 4; wakes++) {
    sensor.act((sn, now) => (sn.state === 'asleep' ? sn.wake(now) : sn.connect(now)))
    schedule.runUntil(schedule.now + HOUR)
  }

  expect(ledger.received('meter').length).toBeGreaterThan(6000)
  expect(ledger.received('station').length).toBeGreaterThan(250)
  expect([...ledger.missing(), ...ledger.repeated(2), ...ledger.disordered()]).toEqual([])
})

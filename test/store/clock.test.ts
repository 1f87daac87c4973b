import { describe, expect, it } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { Notice } from '../../src/base/notice.ts'
import { type ClockReading, StoreClock } from '../../src/store/clock.ts'
import { wallTime } from '../../src/store/store.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const START = 1_800_000_000_000

/** One process after the other on one machine, whose wall clock is set. */
class Machine {
  store = new DelayedStore()
  notices: Notice[] = []
  /** Real time that has passed, and where the clocks stand. */
  time = 0
  wall = START
  bootId = 'first'
  booted = 0
  began = 0
  clock: StoreClock

  constructor() {
    this.clock = this.#started()
  }

  get reading(): ClockReading {
    return { wall: this.wall, bootId: this.bootId, uptime: this.time - this.booted }
  }

  /** The store's time. */
  get storeTime(): number {
    return wallTime(this.clock, this.time - this.began)
  }

  pass(ms: number): this {
    this.time += ms
    this.wall += ms
    return this
  }

  set(by: number): this {
    this.wall += by
    return this
  }

  look(): this {
    this.clock.look(this.time - this.began, this.reading)
    return this
  }

  reboot(): this {
    this.bootId += '+'
    this.booted = this.time
    return this
  }

  /** A new process, after so long without one. */
  restart(downMs = 0): this {
    this.pass(downMs)
    this.store = this.store.crash({ survivors: Number.POSITIVE_INFINITY })
    this.clock = this.#started()
    return this
  }

  codes(): string[] {
    return this.notices.map(({ code }) => code)
  }

  #started(): StoreClock {
    this.began = this.time
    const clock = new StoreClock(this.wall, this.store, (notice) => this.notices.push(notice))
    for (const record of this.store.replay()) clock.apply(record)
    clock.recover(0, this.reading)
    return clock
  }
}

describe("the store's time counts what has passed, and no jump", () => {
  it('makes dates by the last reading of the wall clock, although the time of the store does not follow it', () => {
    const machine = new Machine()
    expect(machine.clock.wallEpoch).toBe(START)
    machine.pass(HOUR).set(-10).look()
    expect([machine.clock.wallEpoch, machine.storeTime]).toEqual([START - 10, START + HOUR])
    machine.restart(HOUR)
    expect(machine.clock.wallEpoch + machine.time - machine.began).toBe(START + 2 * HOUR - 10)
  })

  for (const by of [30 * DAY, -30 * DAY, 10_000, -10_000]) {
    it(`set by ${by / 1000} s while running, then a restart, a crash before it was noticed, or a reboot`, () => {
      const noticed = new Machine().pass(HOUR).set(by).look().pass(MINUTE)
      expect(noticed.codes()).toEqual(['clock-jumped'])
      expect(noticed.storeTime).toBe(START + HOUR + MINUTE)
      expect(noticed.restart(MINUTE).storeTime).toBe(START + HOUR + 2 * MINUTE)
      expect(noticed.codes()).toEqual(['clock-jumped'])
      expect(noticed.reboot().restart(HOUR).storeTime).toBe(START + 2 * HOUR + 2 * MINUTE)

      const unnoticed = new Machine().pass(HOUR).set(by).restart(MINUTE)
      expect(unnoticed.storeTime).toBe(START + HOUR + MINUTE)
      expect(unnoticed.codes()).toEqual(['clock-jumped'])
    })
  }

  it('set between two processes of one boot', () => {
    const machine = new Machine().pass(HOUR)
    machine.time += 0
    machine.set(30 * DAY).restart(HOUR)
    expect(machine.storeTime).toBe(START + 2 * HOUR)
    expect(machine.notices[0]!.reason).toContain('went forward by 30 days since the last start')
    machine.set(-60 * DAY).restart(HOUR)
    expect(machine.storeTime).toBe(START + 3 * HOUR)
    // It knows where the wall clock is now: nothing to tell.
    expect(machine.restart(HOUR).codes()).toHaveLength(2)
  })

  it('another boot: forward counts as time, back as none, and is told', () => {
    expect(new Machine().pass(HOUR).reboot().set(DAY).restart(HOUR).storeTime).toBe(START + 2 * HOUR + DAY)
    const machine = new Machine().pass(HOUR)
    machine.store.append({ type: 'detached', key: 'mqtt:c', at: machine.storeTime, expirySeconds: DAY / 1000, will: false })
    machine
      .reboot()
      .set(-30 * DAY)
      .restart(HOUR)
    expect(machine.storeTime).toBe(START + HOUR)
    expect(machine.codes()).toEqual(['clock-backwards'])
    // A clock without a battery is set right once the network is up.
    machine
      .pass(MINUTE)
      .set(30 * DAY)
      .look()
      .restart(MINUTE)
    expect(machine.storeTime).toBe(START + HOUR + 2 * MINUTE)
  })

  it('a store that has no record of a clock yet has the time of the wall clock', () => {
    const machine = new Machine()
    machine.store = new DelayedStore()
    expect(machine.pass(DAY).restart().storeTime).toBe(START + DAY)
  })

  it('small differences, and looking without a jump, write nothing; a full store is asked again', () => {
    const machine = new Machine()
    const { appended } = machine.store
    for (let i = 0; i < 100; i++) machine.pass(1000).set(40).look()
    expect(machine.store.appended).toBe(appended)
    machine.store.refuse = true
    machine.set(DAY).look().pass(1000).look()
    machine.store.refuse = false
    machine.pass(1000).look().pass(1000).look()
    expect(machine.store.appended).toBe(appended + 1)
    expect(machine.codes()).toEqual(['clock-jumped'])
    expect(machine.restart().codes()).toEqual(['clock-jumped'])
  })
})

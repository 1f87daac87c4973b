// Grows whatever it can, at random: filters, topic names, retained messages, queues, half packets, wills, sessions, aliases, readers that do not read, logins
// and handshakes that wait, sensors that sleep; over every transport, from several addresses and users, so that shares alone do not stop it. Now and then
// most of it is given up, and grows once more. A victim's messages go on beside it.
import { Clients } from './fuzz-clients.mjs'
import { Dice } from './fuzz-dice.mjs'
import { Sensors } from './fuzz-sensors.mjs'
import { Strangers } from './fuzz-strangers.mjs'

const EBB_STEPS = 50_000

/**
 * For so many seconds, or until the process has ended. Over TLS and WebSocket too if it has the listeners of `transports`, and with passwords if it has the
 * `passwordFile` of these users.
 */
export async function fuzz(roost, seconds, seed = Date.now(), users = []) {
  const dice = new Dice(seed)
  const clients = new Clients(roost, dice, users)
  const sensors = new Sensors(roost, dice)
  const strangers = new Strangers(roost, dice, users)
  const until = performance.now() + seconds * 1000
  let steps = 0
  try {
    while (performance.now() < until && roost.ended === undefined) {
      const whose = dice.weighted([
        [77, clients],
        [22.5, sensors],
        [0.5, strangers],
      ])
      await whose.step()
      if (++steps % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 2))
      if (steps % EBB_STEPS === 0) for (const each of [clients, sensors]) await each.ebb()
    }
  } finally {
    for (const each of [clients, sensors, strangers]) each.end()
  }
  return { steps, seed }
}

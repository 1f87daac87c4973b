// What peers can make a process of 300 MB hold: each attack of ./memory-attacks.mjs beside a victim, restarts on what they left, and the fuzzer.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { grown, PROCESS_MAX, SMALL_HEAP } from './grown.mjs'
import { mib, ms, OPEN, seconds, sleep, wants } from './judge.mjs'
import * as attacks from './memory-attacks.mjs'
import { passwordFile, transports } from './sites.mjs'
import { Client, MIB, Started } from './started.mjs'

/** Runs an attack of ./memory-attacks.mjs beside a victim; `most` bytes of RSS may it come to. */
async function grows(attack, wanted, flags = [], lasts = false) {
  const roost = await Started.startWith(SMALL_HEAP, '--memory', ...OPEN, ...flags)
  try {
    const before = roost.rss
    const victim = await attacks.Victim.start(roost.port)
    await sleep(2000)
    const baseline = victim.percentiles()
    const started = performance.now()
    const { taken, refusals, clients } = await attack(roost)
    const took = seconds(started)
    wants(roost.ended === undefined, 'the process lives')
    const during = victim.percentiles()
    const lost = await victim.stop()
    for (const client of clients) client.end()
    const refused = [...refusals.values()].reduce((sum, count) => sum + count, 0)
    wants(lost === 0 && victim.refused === 0, `no message of the victim is lost or refused, not ${lost} and ${victim.refused}`)
    wants(!wanted || refused > 0, 'something is refused')
    wants(roost.peak < PROCESS_MAX, `RSS stays below 300 MiB, not ${mib(roost.peak)}`)
    await sleep(1500)
    const last = await Client.connected(roost.port, { clientId: 'last' })
    wants(lasts || last.connack?.reasonCode === 0, 'somebody else can connect at the end')
    last.end()
    const [p50, p99] = during.map((time, i) => `${ms(time)} (${ms(baseline[i])} before)`)
    const counts = `${taken.toLocaleString('en')} taken, ${refused.toLocaleString('en')} refused in ${took}`
    return `${counts}; RSS ${mib(before)}, at most ${mib(roost.peak)}; victim p50 ${p50}, p99 ${p99}, none lost`
  } finally {
    await roost.stop()
  }
}

async function manyHandshakes() {
  const { flags, remove } = transports()
  try {
    return await grows((to) => attacks.halfHandshakes(to, 3000), true, [...flags, '--connect-timeout-seconds', '30'])
  } finally {
    remove()
  }
}

/** Strangers' CONNECTs that wait for a hash, beside honest users who log in. */
async function manyLogins() {
  const users = 10
  const { flags, remove } = await passwordFile(users)
  let honest
  try {
    const told = await grows(
      async (to) => {
        const outcome = await attacks.pendingLogins(to, 8000, users, 9000)
        honest = outcome
        return { ...outcome, clients: [] }
      },
      true,
      flags,
    )
    wants(honest.taken === users, `all ${users} honest users are let in, not ${honest.taken}`)
    const [alone, ...beside] = honest.times
    beside.sort((a, b) => a - b)
    const [best, median, longest] = [beside[0], beside[Math.floor(beside.length / 2)], beside.at(-1)].map(ms)
    const figures = `honest first logins ${best}, ${median}, ${longest} (${ms(alone)} with nobody beside)`
    // What the machine does besides makes some late: the slowest are told, and not judged.
    wants(beside[0] < 2000, `an honest login within 2 s: ${figures}`)
    return `${told}; ${figures}`
  } finally {
    remove()
  }
}

/** The queues of 60 absent sessions, in a store, and the processes after it with less and less memory. */
async function restarts() {
  const dir = mkdtempSync(join(tmpdir(), 'roost-full-'))
  try {
    let roost = await Started.startWith(SMALL_HEAP, '--data-dir', dir, '--max-memory-per-address', String(70 * MIB))
    const { taken } = await attacks.queues(roost, 60, 8 * MIB)
    wants((await roost.stop()) === 0, 'exit code 0')
    const figures = []
    for (const limit of [80, 40, 10]) {
      roost = await Started.startWith(SMALL_HEAP, '--data-dir', dir, '--memory-limit', String(limit * MIB))
      await sleep(1000)
      figures.push(`with ${limit} MiB at ${mib(roost.peak)}`)
      wants(roost.peak < PROCESS_MAX, `RSS stays below 300 MiB, not ${mib(roost.peak)}`)
      for (let i = 0; limit === 10 && i < 60; i++) {
        const client = await Client.connected(roost.port, { clientId: `absent ${i}`, cleanStart: true })
        wants(client.connack?.reasonCode === 0, 'whoever has a session can end it')
        client.end()
      }
      if (limit === 10) {
        const client = await Client.connected(roost.port, { clientId: 'new' })
        wants(client.connack?.reasonCode === 0, 'then there is room again')
        client.end()
      }
      wants((await roost.stop()) === 0, 'exit code 0')
    }
    return `${taken} messages of 100 kB were taken in; the next processes come up ${figures.join(', ')}, and can be emptied`
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const CHECKS = [
  ['memory: filters of 65,000 octets', () => grows((to) => attacks.filters(to, 10_000), true)],
  ['memory: filters of 128 levels', () => grows((to) => attacks.deepFilters(to, 9900), true)],
  ['memory: shared subscriptions', () => grows((to) => attacks.sharedGroups(to, 10_000), false)],
  ['memory: REGISTERs of 65,000 octets', () => grows((to) => attacks.registers(to, 8, 1000), true)],
  ['memory: retained topics of 128 levels', () => grows((to) => attacks.retained(to, 8000), true)],
  ['memory: absent sessions with full queues', () => grows((to) => attacks.queues(to, 60, 8 * MIB), true)],
  ['memory: wills', () => grows((to) => attacks.wills(to, 4000), true)],
  ['memory: retained wills that fire', () => grows((to) => attacks.firedWills(to, 8000), false)],
  ['memory: wills that wait for 100 sessions', () => grows((to) => attacks.waitingWills(to, 100, 60_000), false)],
  ['memory: will topics of sensors', () => grows((to) => attacks.willTopics(to, 6000), true)],
  ['memory: wills that sensors leave behind', () => grows((to) => attacks.keptWills(to, 5000), true, [], true)],
  ['memory: sessions', () => grows((to) => attacks.sessions(to, 100_000), true)],
  ['memory: half packets', () => grows((to) => attacks.halfPackets(to, 100, 4 * MIB), true)],
  ['memory: routes', () => grows((to) => attacks.routes(to, 500, 16_000), false)],
  ['memory: wire forms', () => grows((to) => attacks.wireForms(to, 100), true)],
  ['memory: readers that do not read', () => grows((to) => attacks.outputs(to, 200, 40), false)],
  ['memory: readers that acknowledge nothing', () => grows((to) => attacks.unacknowledged(to, 100, 20), true)],
  ['memory: packet ids that are not released', () => grows((to) => attacks.receipts(to, 100), true)],
  ['memory: topic aliases and names', () => grows((to) => attacks.aliases(to, 2000), true)],
  ['memory: user names of 60,000 octets', () => grows((to) => attacks.userNames(to, 10_000), true)],
  ['memory: client ids of 60,000 octets', () => grows((to) => attacks.retainers(to, 10_000), true)],
  [
    'memory: topics that access rules answer for',
    () => grows((to) => attacks.answers(to, 40), false, ['--acl-file', join(import.meta.dirname, 'open.acl')]),
  ],
  ['memory: filters in one packet', () => grows((to) => attacks.manyFilters(to, 16 * MIB - 20), false)],
  ['memory: logins that wait', manyLogins],
  ['memory: TLS handshakes', manyHandshakes],
  ['memory: restarts', restarts],
]

/** The fuzzer takes so many minutes, half of them with the state in memory and half with a store on disk. */
export const memoryChecks = (minutes, seed) => [
  ...CHECKS,
  ['memory: whatever grows, in memory', () => grown(minutes / 2, seed, false)],
  ['memory: whatever grows, on disk', () => grown(minutes / 2, seed + 1, true)],
]

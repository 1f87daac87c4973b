// The fuzzer of memory against a process of 300 MB: it is never ended, stays below its bound, and loses nothing that it has acknowledged.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mib, ms, sleep, wants } from './judge.mjs'
import { Victim } from './memory-attacks.mjs'
import { fuzz } from './memory-fuzz.mjs'
import { passwordFile, transports } from './sites.mjs'
import { Client, MIB, Started } from './started.mjs'

/** A process that stays below 300 MB: V8 may use 198 MiB, of which memory_limit is 70 MiB. */
export const SMALL_HEAP = ['--max-old-space-size=150']
export const PROCESS_MAX = 300 * MIB
const USERS = 4
const EVERY_MS = 3000
/** A reader that gets nothing for so long has got everything, on a machine that is busy too. */
const SILENCE_MS = 30_000

/** A session that is absent all the time. What was acknowledged for it, it has to find when it comes back; with no memory left messages are refused. */
class Witness {
  static #WHO = { clientId: 'witness', cleanStart: false, properties: { sessionExpiryInterval: 0xffffffff } }
  acknowledged = []
  refused = 0

  static async start(port) {
    const witness = new Witness()
    const client = await Client.connected(port, Witness.#WHO)
    client.subscribe('witness')
    await client.next()
    client.end()
    witness.writer = await Client.connected(port, { clientId: 'writer of the witness' })
    await witness.#write()
    void witness.#writeOn()
    return witness
  }

  /** Returns once it is answered: only then is it clear which message an answer is about. */
  async #write() {
    const text = String(performance.now())
    this.writer.publish('witness', text, { qos: 1 })
    const puback = await this.writer.next()
    if (puback?.reasonCode === 0) this.acknowledged.push(text)
    else this.refused++
  }

  async #writeOn() {
    for (await sleep(EVERY_MS); !this.writer.socket.closed; await sleep(EVERY_MS)) await this.#write()
  }

  /** No more is written for it. */
  stop() {
    this.writer.end()
  }

  /** How many messages it does not find. */
  async lost(port) {
    const client = await Client.connected(port, Witness.#WHO)
    wants(client.connack?.sessionPresent === true, 'the session of the witness is there')
    const missing = new Set(this.acknowledged)
    while (missing.size > 0) {
      const packet = await Promise.race([client.next(), sleep(SILENCE_MS)])
      if (packet === undefined) break
      if (packet.type !== 3) continue
      missing.delete(Buffer.from(packet.payload).toString())
      client.send({ type: 4, packetId: packet.packetId, reasonCode: 0, properties: {} })
    }
    client.end()
    return missing.size
  }
}

/** Fuzzes for so many minutes; on disk the next process has to come up on what is there, within the same bound. */
export async function grown(minutes, seed, isOnDisk) {
  const sites = [transports(), await passwordFile(USERS)]
  const dir = mkdtempSync(join(tmpdir(), 'roost-grown-'))
  const flags = [...(isOnDisk ? ['--data-dir', dir] : ['--memory']), ...sites.flatMap((site) => site.flags)]
  const users = Array.from({ length: USERS }, (_, i) => `honest ${i}`)
  let roost = await Started.startWith(SMALL_HEAP, ...flags)
  try {
    const victim = await Victim.start(roost.port)
    const witness = await Witness.start(roost.port)
    const { steps } = await fuzz(roost, minutes * 60, seed, users)
    wants(roost.ended === undefined, `the process lives (seed ${seed}): ${roost.ended} ${roost.errors.join(' ')}`)
    const [p50, p99] = victim.percentiles().map(ms)
    const lost = await victim.stop()
    witness.stop()
    const told = roost.lines.filter(({ msg }) => msg.includes('victim')).map(({ msg }) => `\n  ${msg}`)
    const peaks = [roost.peak]
    if (isOnDisk) {
      wants((await roost.stop()) === 0, `exit code 0 (seed ${seed})`)
      roost = await Started.startWith(SMALL_HEAP, ...flags)
    }
    const missing = await witness.lost(roost.port)
    peaks.push(roost.peak)
    const [highest, next] = peaks.map(mib)
    const figures = [
      `${minutes} minutes, ${steps.toLocaleString('en')} steps (seed ${seed}): RSS at most ${highest}`,
      ...(isOnDisk ? [`${next} after a restart`] : []),
      `victim p50 ${p50}, p99 ${p99}, ${victim.sent.toLocaleString('en')} messages, ${lost} lost, ${victim.refused} refused`,
      `absent witness ${witness.acknowledged.length} messages, ${missing} lost, ${witness.refused} refused`,
    ].join('; ')
    const isServed = lost === 0 && victim.refused === 0 && missing === 0
    wants(isServed, `nothing is lost, and the victim is refused nothing: ${figures}${told.slice(-5).join('')}`)
    wants(Math.max(...peaks) < PROCESS_MAX, `RSS stays below 300 MiB: ${figures}`)
    return figures
  } finally {
    if (roost.ended === undefined) await roost.stop()
    for (const { remove } of sites) remove()
    rmSync(dir, { recursive: true, force: true })
  }
}

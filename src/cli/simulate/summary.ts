import type { Fleet } from './fleet.ts'

/** One line for what has happened so far. */
export function progressLine(fleet: Fleet, elapsedMs: number): string {
  const { tally } = fleet
  const { published, acknowledged, arrived, commands, retransmissions } = tally
  const p50 = ms(tally.wakeQuantile(0.5))
  return (
    `${Math.round(elapsedMs / 1000)} s: ${fleet.asleep} asleep, ${acknowledged} of ${published} readings acknowledged, ` +
    `${arrived} of ${commands} commands arrived, ${retransmissions} retransmissions, wake p50 ${p50}\n`
  )
}

/** What a run has shown, for people: one line for each figure. */
export function summaryLines({ tally, missing: { lost, unfetched } }: Fleet, elapsedMs: number): string[] {
  const { datagrams, bytes } = tally
  const messages = tally.acknowledged + tally.arrived
  const each = (total: number): string => (messages === 0 ? '-' : (total / messages).toFixed(0))
  const left = unfetched === 0 ? '' : `, ${unfetched} not fetched by sensors without an answer`
  const rows: [string, string][] = [
    ['time', `${(elapsedMs / 1000).toFixed(1)} s`],
    ['readings', `${tally.published} published, ${tally.acknowledged} acknowledged, ${tally.givenUp} given up`],
    ['commands', `${tally.commands} acknowledged, ${tally.arrived} arrived, ${lost} lost${left}, ${tally.duplicates} duplicates`],
    ['datagrams', `${datagrams.sent} sent, ${datagrams.received} received, ${datagrams.lost} lost on the way`],
    [
      'retransmissions',
      `${tally.retransmissions}, and ${tally.timeouts} exchanges without an answer, ${tally.refusals} refusals`,
    ],
    ['bytes on air', `${bytes.sent} sent, ${bytes.received} received, ${each(bytes.sent + bytes.received)} per message`],
    ['awake time', `${(tally.awakeMs / 1000).toFixed(1)} s of all sensors, ${each(tally.awakeMs)} ms per message`],
    [
      'wakes',
      `${tally.wakes}, from PINGREQ to PINGRESP: p50 ${ms(tally.wakeQuantile(0.5))}, p99 ${ms(tally.wakeQuantile(0.99))}`,
    ],
  ]
  return rows.map(([name, text]) => `${`${name}:`.padEnd(17)}${text}`)
}

const ms = (value: number | undefined): string => (value === undefined ? '-' : `${value.toFixed(value < 10 ? 1 : 0)} ms`)

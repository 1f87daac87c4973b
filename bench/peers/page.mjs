// docs/performance.md: everything between its two markers, and its charts.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chart, shortRatio } from './chart.mjs'
import { latencyOf, rowsOf } from './figures.mjs'
import { ALL, isSn } from './scenarios.mjs'

const BEGIN = '<!-- From here to the end marker: written by `npm run bench:peers`. -->'
const END = '<!-- End of what is generated. -->'
/** Roost counts as behind a peer below this. */
const LEVEL = 0.98

const titleOf = ({ title, version, setting }) =>
  [title, version].filter((each) => each !== undefined).join(' ') + (setting === undefined ? '' : `, ${setting}`)
const shortNumber = (value) =>
  value >= 1e6 ? `${(value / 1e6).toPrecision(3)} M` : value >= 1e4 ? `${(value / 1000).toPrecision(3)} k` : value.toFixed(0)
const cellOf = (ratio) => {
  if (ratio === undefined) return ''
  if (ratio.fail !== undefined) return 'failed'
  const marks = (ratio.waits ? ' \\*' : '') + (ratio.lost > 0 ? ` (lost ${ratio.lost})` : '')
  return `${shortRatio(ratio.median)} [${shortRatio(ratio.min)}..${shortRatio(ratio.max)}]${marks}`
}
const line = (cells) => `| ${cells.join(' | ')} |`
const table = (head, rows) => [line(head), `|${head.map(() => '---|').join('')}`, ...rows.map(line)].join('\n')

function ratioTable(rows, peers) {
  const head = ['scenario', 'figure', 'Roost', ...peers.map(titleOf)]
  return table(
    head,
    rows.map(({ scenario, figure, roost, ratios }) => [
      `\`${scenario}\``,
      figure.name,
      roost === undefined ? 'failed' : shortNumber(roost.median),
      ...peers.map(({ name }) => cellOf(ratios[name])),
    ]),
  )
}

function latencyTable(results, scenarios, systems) {
  const rows = []
  for (const scenario of scenarios) {
    const latencies = systems.map(({ name }) => latencyOf(results[scenario][name] ?? []))
    if (latencies[0] === undefined) continue
    const cell = (each) => (each === undefined ? '' : `${each.p50.toFixed(2)} / ${each.p99.toFixed(2)} (${each.used.toFixed(2)})`)
    rows.push([`\`${scenario}\``, ...latencies.map(cell)])
  }
  return rows.length === 0 ? '' : table(['scenario', ...systems.map(titleOf)], rows)
}

/** For each peer, the figures in which it beats Roost, the worst first. */
function losses(rows, peers) {
  return peers.map((peer) => {
    const behind = rows.filter(({ ratios }) => ratios[peer.name]?.median < LEVEL)
    const sorted = behind.toSorted((a, b) => a.ratios[peer.name].median - b.ratios[peer.name].median)
    const named = sorted.map(({ scenario, figure, ratios }) => {
      const what = figure.name === 'delivered' ? '' : ` ${figure.name}`
      return `\`${scenario}\`${what} ${shortRatio(ratios[peer.name].median)}`
    })
    return `- to ${titleOf(peer)}: ${named.length === 0 ? 'nowhere' : named.join(', ')}`
  })
}

/** Scenarios of one protocol with the systems that ran them. */
function parts({ systems, results }) {
  const scenarios = Object.keys(ALL).filter((name) => results[name] !== undefined)
  return [false, true].map((sn) => {
    const names = scenarios.filter((name) => isSn(name) === sn)
    const ran = systems.filter(({ name }) => names.some((scenario) => results[scenario][name] !== undefined))
    return { sn, names, systems: ran, peers: ran.slice(1), rows: rowsOf(results, names) }
  })
}

export function writeTables(all) {
  const used = parts(all).filter(({ names }) => names.length > 0)
  return used
    .map(({ names, systems, peers, rows }) => `${ratioTable(rows, peers)}\n\n${latencyTable(all.results, names, systems)}\n`)
    .join('\n')
}

/** The lowest and the highest load average; what is above 2 is other work on the machine. */
function loadOf({ results }) {
  const runs = Object.values(results).flatMap((bySystem) => Object.values(bySystem).flat())
  const loads = runs.map(({ load }) => load).filter((load) => load !== undefined)
  return `${Math.min(...loads).toFixed(1)} to ${Math.max(...loads).toFixed(1)}`
}

const isMessages = ({ figure }) => figure.name === 'delivered'

function generated(all) {
  const [mqtt, sn] = parts(all)
  const definitions = [...mqtt.names, ...sn.names].map((name) => `- \`${name}\`: ${ALL[name][1]}`)
  const failures = [...mqtt.names, ...sn.names].flatMap((name) =>
    Object.entries(all.results[name]).flatMap(([system, runs]) => {
      const failed = runs.filter((run) => run.fail !== undefined)
      return failed.length === 0
        ? []
        : [`- \`${name}\`, ${system}: ${failed.length} of ${runs.length} runs failed: ${failed[0].fail}`]
    }),
  )
  const section = (title, text) => `## ${title}\n\n${text}\n`
  return [
    `Measured on ${all.date}: ${all.machine}, Linux ${all.kernel}, Node.js ${all.node}; ${all.reps} runs of ${all.seconds} s for each
system and scenario. ${all.systems.map(titleOf).join('; ')}. Load average of the machine during the runs: ${loadOf(all)};
a system call took ${all.systemCallUs.toFixed(1)} us.\n`,
    '![How many times as many messages per CPU second as each MQTT broker](performance-mqtt.svg)\n',
    '![The same for connections and retained messages](performance-sessions.svg)\n',
    '![The same for MQTT-SN gateways](performance-sn.svg)\n',
    section('MQTT', ratioTable(mqtt.rows, mqtt.peers)),
    section('MQTT-SN', ratioTable(sn.rows, sn.peers)),
    section('Where Roost loses', losses([...mqtt.rows, ...sn.rows], [...mqtt.peers, ...sn.peers]).join('\n')),
    section(
      'Latency',
      `p50 / p99 in milliseconds, and in parentheses the part of its core that the system used. In all but the \`lat\` scenarios the
load is as high as the system accepts: where it used much less than its core, it waited, or other work on the machine had the
CPU, and then latencies say more about that work than about the system.\n\n${latencyTable(all.results, mqtt.names, mqtt.systems)}\n\n${latencyTable(all.results, sn.names, sn.systems)}`,
    ),
    section('Scenarios', definitions.join('\n')),
    ...(failures.length === 0 ? [] : [section('Runs that failed', failures.join('\n'))]),
  ].join('\n')
}

/** Rewrites what stands between the markers of docs/performance.md; the introduction before them is kept. */
export function writePage(all, root) {
  const path = join(root, 'docs/performance.md')
  const text = readFileSync(path, 'utf8')
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error(`${path} has lost its markers: ${BEGIN} and ${END}`)
  writeFileSync(path, `${text.slice(0, begin)}${BEGIN}\n\n${generated(all)}\n${text.slice(end)}`)
  const [mqtt, sn] = parts(all)
  const draw = (name, title, rows, peers) =>
    writeFileSync(
      join(root, `docs/performance-${name}.svg`),
      chart(
        title,
        rows,
        peers.map((peer) => ({ ...peer, title: titleOf(peer) })),
      ),
    )
  draw('mqtt', 'Messages per CPU second: Roost is this many times as fast as', mqtt.rows.filter(isMessages), mqtt.peers)
  draw(
    'sessions',
    'Connections, retained messages, bytes: Roost is this many times as good as',
    mqtt.rows.filter((row) => !isMessages(row)),
    mqtt.peers,
  )
  draw('sn', 'MQTT-SN: Roost is this many times as good as', sn.rows, sn.peers)
}

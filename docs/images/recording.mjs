// `npm run docs:recording`: runs the first commands of the README in a folder of their own, and draws what they print, when they print
// it, as docs/images/first-minute.svg. Needs mosquitto_sub, script (util-linux), and the ports 1883 to 1885 to be free.
import { spawn } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const COLUMNS = 108
/** Nobody wants to wait longer than this for the next line (ms). */
const LONGEST_PAUSE = 700
/** Pixels. */
const [WIDTH, LEFT, ROW, TOP] = [860, 16, 17, 40]

/** How a terminal is told of colours and of where to write. */
const CLEAR = '\x1b[0K'
const SEQUENCE = /(\p{Cc}\[[\d;]*[a-zA-Z])/u

/** What a terminal shows: lines, each with the time at which it was there (ms since the beginning). */
class Terminal {
  lines = []
  child
  #wake = () => {}
  #rest = ''

  constructor(title, cwd, startedAt) {
    Object.assign(this, { title, cwd, startedAt })
  }

  /** Starts a command as if it was typed. Programs see a terminal, and so use colours. */
  run(command) {
    this.#add(`\x1b[32m$\x1b[39m ${command}`)
    this.child = spawn('script', ['-qefc', command, '/dev/null'], {
      cwd: this.cwd,
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    })
    this.child.stdout.setEncoding('utf8').on('data', (text) => {
      const parts = (this.#rest + text).split(/\r?\n/)
      this.#rest = parts.pop()
      for (const part of parts) this.#add(part)
    })
    return new Promise((resolve) => this.child.once('close', resolve))
  }

  /** Resolves once a line has this text. */
  async shows(text) {
    while (!this.lines.some(({ line }) => line.includes(text))) {
      if (Date.now() - this.startedAt > 60_000) throw new Error(`${this.title}: did not show ${text}`)
      await Promise.race([sleep(1000), new Promise((resolve) => (this.#wake = resolve))])
    }
  }

  /** Ends what still runs in it. */
  close() {
    if (this.child.exitCode === null) process.kill(-this.child.pid, 'SIGTERM')
  }

  #add(printed) {
    // npm's spinner draws, goes to the first column, and clears the line.
    const line = printed.split(CLEAR).at(-1)
    if (line !== '') this.lines.push({ line, at: Date.now() - this.startedAt })
    this.#wake()
  }
}

async function record() {
  const dir = join(tmpdir(), 'roost')
  mkdirSync(dir)
  const now = Date.now()
  const [roost, subscriber, sensor] = ['First terminal: Roost', 'Second: an MQTT client', 'Third: a sensor'].map(
    (title) => new Terminal(title, dir, now),
  )
  try {
    for (const name of readdirSync(ROOT).filter((each) => !/^(\.|roost-data)/.test(each)))
      symlinkSync(join(ROOT, name), join(dir, name))
    void roost.run('npm start')
    await roost.shows('State is kept')
    void subscriber.run("mosquitto_sub -v -t '#'")
    await sleep(600)
    await sensor.run('node dist/main.js sn pub -t site/temperature -m 21.5')
    await subscriber.shows('21.5')
    await sensor.run('node dist/main.js status')
    return [roost, subscriber, sensor]
  } finally {
    for (const terminal of [roost, subscriber]) if (terminal.child !== undefined) terminal.close()
    rmSync(dir, { recursive: true })
  }
}

const CLASSES = { 31: 'red', 32: 'green', 33: 'yellow', 36: 'cyan', 90: 'soft' }
const inXml = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

/** The rows of a line with colours, as elements of SVG. */
function rowsOf(line) {
  const rows = [[]]
  let [used, color] = [0, '']
  for (const part of line.split(SEQUENCE)) {
    if (SEQUENCE.test(part)) {
      color = CLASSES[part.slice(2, -1)] ?? ''
      continue
    }
    for (let text = part; text !== ''; ) {
      if (used === COLUMNS) {
        rows.push([])
        used = 0
      }
      const piece = text.slice(0, COLUMNS - used)
      rows.at(-1).push(color === '' ? inXml(piece) : `<tspan class="${color}">${inXml(piece)}</tspan>`)
      used += piece.length
      text = text.slice(piece.length)
    }
  }
  return rows.map((pieces) => pieces.join(''))
}

/** When each moment of the recording is shown: long pauses are shortened. */
function timesOf(terminals) {
  const moments = [...new Set(terminals.flatMap(({ lines }) => lines.map(({ at }) => at)))].sort((a, b) => a - b)
  let [shown, before] = [400, moments[0]]
  return new Map(
    moments.map((at) => {
      shown += Math.min(at - before, LONGEST_PAUSE)
      before = at
      return [at, shown]
    }),
  )
}

function drawn(terminals) {
  const times = timesOf(terminals)
  let y = 0
  const panes = terminals.map(({ title, lines }) => {
    const top = y
    const rows = lines.flatMap(({ line, at }) => rowsOf(line).map((row) => ({ row, at })))
    const texts = rows.map(
      ({ row, at }, i) =>
        `<text x="${LEFT}" y="${top + TOP + 14 + i * ROW}" style="animation-delay:${times.get(at)}ms">${row}</text>`,
    )
    y = top + TOP + 12 + rows.length * ROW + 12
    return `<rect class="pane" x=".5" y="${top + 0.5}" width="${WIDTH - 1}" height="${y - top - 10}" rx="7"/>
<path class="line" d="M0 ${top + 28.5}H${WIDTH}"/>
<text class="title" x="${LEFT}" y="${top + 19}">${title}</text>
${texts.join('\n')}`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y - 8}" role="img" aria-labelledby="title">
<title id="title">npm start, and in two other terminals mosquitto_sub and a sensor that publishes: the message arrives</title>
<!-- Recorded by npm run docs:recording. -->
<style>
svg { --pane: #f6f8fa; --line: #d0d7de; --text: #1f2328; --soft: #656d76; --green: #1a7f37; --cyan: #0f6674; --yellow: #7d5a00; --red: #b3261e }
@media (prefers-color-scheme: dark) { svg { --pane: #161b22; --line: #3d444d; --text: #e6edf3; --soft: #9198a1; --green: #56d364; --cyan: #7fd1de; --yellow: #e3b341; --red: #ff8a80 } }
.pane { fill: var(--pane); stroke: var(--line) }
.line { stroke: var(--line) }
text { font: 12.6px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace; fill: var(--text); white-space: pre; animation: shown 1ms backwards }
.title { font: 600 12.5px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; animation: none }
.green { fill: var(--green) } .cyan { fill: var(--cyan) } .yellow { fill: var(--yellow) } .red { fill: var(--red) } .soft, .title { fill: var(--soft) }
@keyframes shown { from { visibility: hidden } }
@media (prefers-reduced-motion: reduce) { text { animation: none } }
</style>
${panes.join('\n')}
</svg>
`
}

writeFileSync(new URL('first-minute.svg', import.meta.url), drawn(await record()))

// Roost in memory, and forty simulated sensors that sleep: `npm run demo`, until Ctrl-C. Arguments are those of `roost simulate`.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const SERVE = ['serve', '--memory', '--log-format', 'json', '--port', '0', '--sn-port', '0', '--http-port', '0']

const roost = spawn(process.execPath, [MAIN, ...SERVE], { stdio: ['ignore', 'pipe', 'inherit'] })
/** Ctrl-C reaches all processes of a terminal; Roost has to outlive the sensors, which say goodbye to it. */
let fleet
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => (fleet ?? roost).kill(signal))

const found = {}
for await (const text of createInterface({ input: roost.stdout })) {
  const line = JSON.parse(text)
  for (const kind of ['mqtt', 'sn', 'http']) found[kind] ??= line[kind]
  if (line.level === 'error' || line.level === 'fatal') process.stderr.write(`${line.msg}\n`)
  if (fleet === undefined && line.msg.startsWith('State is kept')) begin()
}
if (fleet === undefined) process.exitCode = 2

function begin() {
  process.stdout.write(`console: ${found.http.url}
every message: mosquitto_sub -p ${found.mqtt.port} -t '#' -v
a command for a sensor: mosquitto_pub -p ${found.mqtt.port} -t simulated/sim-07/set -m hello -q 1
`)
  const argv = ['simulate', '-p', `${found.sn.port}`, '--sleep', '20s', ...process.argv.slice(2)]
  fleet = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'inherit', 'inherit'] })
  fleet.on('exit', (code) => {
    process.exitCode = code ?? 1
    roost.kill()
  })
}

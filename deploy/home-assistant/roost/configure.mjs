// Translates the options of the add-on to a configuration of Roost: `node configure.mjs FOLDER` reads FOLDER/options.json, and writes
// roost.yaml and the files with passwords there. What is wrong with the options is one line, and exit code 2.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** User of all sensors: MQTT-SN has no passwords, and no sensor becomes a user who has one. */
const SENSORS = 'sensors'

const [, , folder] = process.argv
const options = JSON.parse(readFileSync(join(folder, 'options.json'), 'utf8'))
const { logins, anonymous, sensors, serial_device, serial_baud_rate, discovery, log_level } = options

function refuse(line) {
  process.stderr.write(`options: ${line}\n`)
  process.exit(2)
}

if (logins.length === 0 && !anonymous) refuse('nobody could connect: add a login, or let clients connect without a password')
const names = logins.map(({ username }) => username)
const twice = names.find((name, at) => names.indexOf(name) < at)
if (twice !== undefined) refuse(`logins: ${twice} is there twice`)
if (names.includes(SENSORS)) refuse(`logins: ${SENSORS} is the user of the sensors; choose another name`)

/** Writes a password file, or removes it; returns its path. */
function passwordFile(name, users) {
  const path = join(folder, name)
  rmSync(path, { force: true })
  if (users.length === 0) return undefined
  for (const { username, password } of users)
    if (/[\r\n]/.test(password)) refuse(`logins: the password of ${username} has a line break`)
  writeFileSync(path, users.map(({ username, password }) => `${username}:${password}\n`).join(''), { mode: 0o600 })
  return path
}

const viewers = logins.filter(({ console = 'no' }) => console !== 'no')
const httpPasswordFile = passwordFile('console-passwords', viewers)
const radios = serial_device ? [{ device: serial_device, ...(serial_baud_rate && { baud_rate: serial_baud_rate }) }] : []
const config = {
  host: '0.0.0.0',
  data_dir: join(folder, 'store'),
  password_file: passwordFile('passwords', logins),
  allow_anonymous: anonymous,
  // Of the container alone where sensors must not connect.
  sn_listeners: sensors ? [{ host: '0.0.0.0', port: 1884 }, ...radios] : [{ host: '127.0.0.1', port: 1884 }],
  sn_username: sensors && !anonymous ? SENSORS : undefined,
  // Without a user there is the health check alone.
  http_host: httpPasswordFile === undefined ? '127.0.0.1' : '0.0.0.0',
  http_password_file: httpPasswordFile,
  http_managers:
    viewers
      .filter(({ console }) => console === 'manage')
      .map(({ username }) => username)
      .join(',') || undefined,
  home_assistant_discovery: discovery ? 'homeassistant' : undefined,
  log_level,
}
// JSON is YAML.
writeFileSync(join(folder, 'roost.yaml'), `${JSON.stringify(config, undefined, 2)}\n`)

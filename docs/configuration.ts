import { FIXED, fixedKeys } from '../src/config/fixed.ts'
import { OPTION_GROUPS } from '../src/config/options/kinds.ts'
import { type Option, options, snEntryKey } from '../src/config/options.ts'

/** The text of configuration.md, from the table of options: `npm run docs` writes it, and a test compares. */
export function configurationPage(): string {
  return [HEAD, ...OPTION_GROUPS.map(section), fixedValues(), LISTENERS, MOSQUITTO, TOPICS, SENSORS].join('\n')
}

const HEAD = `# Configuration

<!-- Written by \`npm run docs\` from src/config/options/: change it there. -->

Roost runs without any configuration. Every option is a flag of \`roost serve\`, and a key of the YAML file that \`--config\` names:

    # roost.yaml
    port: 1883
    max_queued_messages: 5000
    data_dir: /var/lib/roost

    roost serve --config roost.yaml --port 2883

Flags win over the file, and the file wins over the defaults. A key or a value that Roost does not know ends it with exit code 2 and one
line that names the flag, or the file, line and column, and the name that was probably meant. Keys are Mosquitto's names or those of the
MQTT-SN specification where they have one. Numbers are plain numbers: bytes, seconds, messages. Paths are relative to the working
directory when they come from a flag, and to the configuration file when they come from there.

\`roost serve --test-config\` with the same flags checks all of it, the files that it names, and that the data directory and sockets can be
written, without starting anything. Ports that others use, and a store that is damaged or in use, show at the start.

As long as nothing can verify who connects, Roost listens on loopback only (127.0.0.0/8, ::1, localhost, Unix sockets), and any program on
the machine may connect. To listen on anything else it needs a way to authenticate clients (\`password_file\`, one of the \`jwt_\` keys,
\`http_auth_url\`, or user names from client certificates), or \`--allow-anonymous\`.
`

const FIXED_HEAD = `## Fixed values

These were options until 0.2.0. Log lines and \`$SYS\` name them as they name options. A flag or a key for one of them that has the value in the
table is reported with a warning and changes nothing. With any other value Roost does not start (exit code 2); \`--test-config\` says so before
an upgrade.
`

const LISTENERS = `## More listeners

The options above describe one listener of the MQTT broker, the default one. \`listeners\` in the file describes any number of others:

    password_file: users
    listeners:
      - port: 1883
      - name: internet
        host: 0.0.0.0
        port: 8883
        certfile: tls/chain.pem
        keyfile: tls/key.pem
        max_connections: 500
      - port: 9001
        protocol: websockets
        allow_anonymous: true
        acl_file: guests.acl

They replace the default listener, unless \`host\`, \`port\` or \`socket_path\` is given too. Each needs \`port\` or \`socket_path\`, may have a
\`name\`, which is \`mqtt-<port>\` otherwise, and any of these keys of its own:

- ${keys('own')}
- ${keys('inherits')}; without its own, a listener has the global value.

## More ports for sensors

The options above describe one port, UDP or a serial device. \`sn_listeners\` in the file describes any number of others:

    sn_listeners:
      - port: 1884
        host: 0.0.0.0
      - name: field
        device: /dev/ttyUSB0
        baud_rate: 57600
        max_frame: 100
        t_retry: 30
        bytes_per_second: 680
        duty_cycle: 1
        t_adv: 3600

They replace the port of the flags, unless \`sn_port\`, \`sn_host\` or \`sn_device\` is given too. Each needs \`port\` or \`device\`, and may have
a \`name\`, which is \`sn-<port>\` or \`sn-<device>\` otherwise. Where a sensor was heard last is stored by that name: who renames a port makes
its sensors connect again. Keys of their own, without \`sn_\`:

- ${snKeys('own')}
- ${snKeys('inherits')}; without its own, a port has the global value, which has \`sn_\` in front where the flag has \`--sn-\`.
`

const MOSQUITTO = `## From Mosquitto

    roost config import /etc/mosquitto/mosquitto.conf -o roost.yaml

translates a configuration of Mosquitto 2.0, the files of its \`include_dir\` included. Each setting that has no counterpart is reported on
standard error with its reason, and stands in the file as a comment. Relative paths are relative to the directory of mosquitto.conf. Mosquitto's
saved state (\`mosquitto.db\`) is not imported. The report ends with a summary: carried over, needs attention, lost.

A listener that loses a setting which protects it, such as a plugin, or one that is unknown and may, is put on 127.0.0.1, and the exit code is
3, or 0 with \`--accept-losses\`. A listener on which Mosquitto accepts no client gets \`allow_anonymous: false\`, and accepts none here either.
An output file that exists is an error (exit code 2), unless \`--force\` is given.

Where Mosquitto takes 0 (or -1) for "no bound", so does Roost, for a large one. Differences by default: \`set_tcp_nodelay\` is true,
\`max_packet_size\`, \`max_queued_bytes\` and \`max_connections\` have a bound, and state is kept on disk. What else is different: [migrating.md](migrating.md).
`

const TOPICS = `## Predefined topics

\`predefined_topics\` names a YAML or JSON file. It says which topic ids, from 1 to 65534, sensors know without registering them:

    clients:
      "*":
        1: site/alarm
      sensor-*:
        2: site/temperature
        3: site/humidity
      sensor-17:
        3: lab/humidity

A key under \`clients\` is a client id, in which \`*\` stands for any number of any characters. Where several match a client and give the same
id, the last one counts: the general ones come first. Messages with QoS -1 have no client id: from the address of a connected sensor its ids
count, from anywhere else those of \`*\`.
`

const SENSORS = `## Users of sensors

MQTT-SN 1.2 has no passwords. While nobody has to authenticate, sensors need no user either. Where clients have to, a sensor connects as the user that
\`sn_users\` or \`sn_username\` gives it, or not at all; \`acl_file\` then says what that user may do. \`sn_users\` names a YAML or JSON file of rules, of which the
first that fits counts:

    - clients: sensor-*
      networks: [10.1.0.0/16, "fd00::/8"]
      username: sensors
    - clients: [test-1, "lab-*"]
      deny: true
    - networks: 192.0.2.0/24
      username: "%c"

\`clients\` are client ids, in which \`*\` stands for any number of any characters; \`networks\` say where the sensor is, or the forwarder in front of it; without
the one or the other a rule fits everybody. \`%c\` stands for the client id, and never makes a sensor a user who has
a password (\`password_file\`). \`deny: true\` refuses, also where nobody has to authenticate: a list of those who
may connect ends with \`- deny: true\`. A session belongs to its user. SIGHUP reads the file anew, and whoever may not stay is disconnected.

Messages with QoS -1 have no client id: they are published as \`qos_m1_username\`, and only rules without \`clients\` can deny them. UDP addresses can be forged
where the network lets them.
`

function keys(listener: 'own' | 'inherits'): string {
  return options
    .filter((option) => option.listener === listener)
    .map(({ key }) => `\`${key}\``)
    .join(', ')
}

function snKeys(snListener: 'own' | 'inherits'): string {
  return options
    .filter((option) => option.snListener === snListener)
    .map(({ key }) => `\`${snEntryKey(key)}\``)
    .join(', ')
}

function section(group: Option['group']): string {
  const rows = options.filter((option) => option.group === group).map(row)
  return `## ${group}\n\n| key | flag | default | values | |\n|---|---|---|---|---|\n${rows.join('\n')}\n`
}

function fixedValues(): string {
  const rows = fixedKeys.map((key) => `| \`${key}\` | ${FIXED[key].value} | ${FIXED[key].about} |`)
  return `${FIXED_HEAD}\n| name | value | |\n|---|---|---|\n${rows.join('\n')}\n`
}

function row({ key, flag, flagOnly, default: byDefault, expected, placeholder, about }: Option): string {
  const name = flagOnly === true ? '' : `\`${key}\``
  const usage = placeholder === undefined ? flag : `${flag} <${placeholder}>`
  return `| ${name} | ${code(usage)} | ${byDefault === undefined || byDefault === '' ? 'none' : code(String(byDefault))} | ${expected} | ${about} |`
}

/** A bar would end the cell of the table. */
const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``

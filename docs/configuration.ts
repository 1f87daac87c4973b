import { FIXED, fixedKeys } from '../src/config/fixed.ts'
import { BRIDGE_OPTIONS, bridgeKeys } from '../src/config/options/bridges.ts'
import { OPTION_GROUPS, type OptionGroup } from '../src/config/options/kinds.ts'
import { UPSTREAM_OPTIONS, upstreamKeys } from '../src/config/options/upstream.ts'
import { FIRST_OPTIONS, type Option, options, snEntryKey } from '../src/config/options.ts'

/** The text of configuration.md, from the table of options: `npm run docs` writes it, and a test compares. */
export function configurationPage(): string {
  const groups = keysOf(OPTION_GROUPS).map((group) => section(group) + (AFTER[group] ?? ''))
  return [HEAD, first(), contents(), ...groups, FILTERS, TYPES, bridges(), upstream(), MOSQUITTO, fixedValues()].join('\n')
}

const keysOf = <K extends string>(of: Readonly<Record<K, unknown>>): K[] => Object.keys(of) as K[]

const HEAD = `# Configuration

<!-- Written by \`npm run docs\` from src/config/: change it there. -->

Roost runs without any configuration. Every option is a key of the YAML file that \`--config\` names, and a flag of
\`roost serve\`, with hyphens:

    # roost.yaml
    port: 1883
    max_queued_messages: 5000
    data_dir: /var/lib/roost

    roost serve --config roost.yaml --port 2883

\`roost config example\` prints an annotated file of a typical site. \`roost serve --help\` shows the ten options that
everyone needs first, \`roost serve --help-all\` all of them. Options with the values "true or false" are flags without a
value (\`--memory\`); those with \`true|false\` take one (\`--http false\`).

Flags override the file, and the file overrides the defaults. Roost refuses to start with an unknown key or an invalid
value: exit code 2, and one line that names the flag, or the file, line and column, and suggests the name that was
probably meant. Keys are named as in Mosquitto or in the MQTT-SN specification where they exist there. Numbers are
written without a unit: bytes, seconds or messages, as the option says. Relative paths in flags are relative to the
working directory; those in the file are relative to the file.

\`roost serve --test-config\` with the same flags checks the configuration, the files that it names, and that the data
directory and sockets can be written, without starting anything. Ports that are in use, and a store that is damaged or
in use, are found only at the start.

As long as no authentication is configured, Roost listens on loopback only (127.0.0.0/8, ::1, localhost, Unix
sockets), and any program on the machine may connect. To listen on other addresses it needs a way to authenticate
clients (\`password_file\`, one of the \`jwt_\` keys, \`http_auth_url\`, or user names from client certificates), or
\`--allow-anonymous\`.
`

const FIXED_HEAD = `## Fixed values

These were options before 0.2.0. Log lines and \`$SYS\` name them by their former keys. A flag or a key that sets one
of them to the value in the table is reported with a warning and has no effect. With any other value Roost does not
start (exit code 2): the value was chosen for a reason, and ignoring it would change the behaviour of the site
silently. Run \`--test-config\` before an upgrade.
`

const LISTENERS = `
### More listeners

The options of this and the next section describe one listener of the MQTT broker, the default one. \`listeners\` in the file describes any
number of others:

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

They replace the default listener, unless \`host\`, \`port\` or \`socket_path\` is set as well. Each needs \`port\` or
\`socket_path\`. It can have a \`name\` (default: \`mqtt-<port>\`) and any of these keys:

${item(keys('own'))}
${item(`${keys('inherits')}; if not set, the global value applies.`)}
`

const PORTS = `
### More ports for sensors

The options above describe one port, UDP or a serial device. \`sn_listeners\` in the file describes any number of
others:

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

They replace the port of the flags, unless \`sn_port\`, \`sn_host\` or \`sn_device\` is set as well. Each needs
\`port\` or \`device\`, and can have a \`name\` (default: \`sn-<port>\` or \`sn-<device>\`). The route to a sensor is
stored with that name, so after a port is renamed its sensors have to connect again. Keys, without \`sn_\`:

${item(snKeys('own'))}
${item(`${snKeys('inherits')}; if not set, the global value applies, whose key begins with \`sn_\` if the flag begins with \`--sn-\`.`)}
`

const BRIDGES = `## Bridges

\`bridges\` in the file describes connections to other brokers, as the \`connection\` blocks of mosquitto.conf do;
[bridge.md](bridge.md) explains them:

    bridges:
      - name: head-office
        address: mqtts://broker.example.org
        remote_username: site-7
        password_file: head-office.password
        topics:
          - sensors/# out 1 "" sites/7/
          - commands/# in 1 "" sites/7/

Each needs \`name\`, \`addresses\` and \`topics\`. A topic is a text as in mosquitto.conf: topic filter, direction
(\`in\`, \`out\`, which is the default, or \`both\`), QoS (default: 0), prefix here and prefix at the remote broker, with
\`""\` for an empty one; or a map with the keys \`pattern\`, \`direction\`, \`qos\`, \`local_prefix\` and
\`remote_prefix\`. Keys may begin with \`bridge_\`, and Mosquitto's other names for them are accepted, too
(\`address\`, \`clientid\`, \`username\`, \`password\`, \`topic\`).
`

const UPSTREAM = `## In front of a cluster

With \`upstream\` in the file, the sessions, subscriptions and messages of sensors are at a cluster of other MQTT brokers, and
Roost is the gateway in front of it, as are any number of others:

    upstream:
      targets: [mqtts://a.example.org, mqtts://b.example.org]
      username: "%u"
      password_file: cluster.password
    gateway_id: 2
    gateway_topic_ids: 9001-17000

\`--upstream\`, which may be repeated, names the targets on the command line, in place of those of the file. There is no
listener for MQTT clients then unless \`port\`, \`host\`, \`socket_path\` or \`listeners\` asks for one; the embedded broker
behind it has \`$SYS\`, and the sessions of its own clients and of bridges, but nothing of the sensors. What the
cluster lets a sensor do is the cluster's decision: \`acl_file\`, \`types\`, \`filters\` and hooks do not apply to messages
of sensors.

Gateways between which sensors move need the same \`upstream\`, \`predefined_topics\` and \`sn_users\`, each its own
\`gateway_id\`, and ranges of \`gateway_topic_ids\` that do not overlap. With the default, all ids, one gateway may take an id that a
sensor has learnt at another for the topic that it has itself given this number, so the default is for one gateway.
A gateway makes the subscriptions of a sensor again when the cluster has lost its session, but it knows only those that were
made through it.

After the range of a gateway was changed, its sensors register their topics again; do not give a gateway a range that another one
has had while its sensors are still about.
`

const FILTERS = `## Filters by content

\`filters\` in the file gives subscriptions a condition, for clients that cannot ask for one themselves:

    filters:
      - client: display-*
        user: site
        topic: site/+/climate
        filter: json.temperature > 25

\`filter\` is the condition, in CEL. At least one of \`client\` (a client id, in which \`*\` matches any number of
characters), \`user\` and \`topic\` (a topic filter that covers that of the subscription) has to be there; the first
entry that fits counts. [filters.md](filters.md) describes conditions. SIGHUP does not read it again.
`

const MOSQUITTO = `## From Mosquitto

    roost config import /etc/mosquitto/mosquitto.conf -o roost.yaml

translates a configuration of Mosquitto 2.0, including the files of its \`include_dir\`. Each setting that has no
counterpart is reported on standard error with the reason, and appears in the file as a comment. Relative paths are
relative to the directory of mosquitto.conf. The report ends with a summary: carried
over, needs attention, lost; and with the command that brings over Mosquitto's saved state (\`roost import\`,
[migrating.md](migrating.md#saved-state)).

A listener that loses a setting that protects it, such as a plugin, or an unknown setting that may do so, is moved to
127.0.0.1, and the exit code is 3, or 0 with \`--accept-losses\`. A listener on which Mosquitto accepts no client gets
\`allow_anonymous: false\`, and accepts none here either. An output file that exists is an error (exit code 2), unless
\`--force\` is given.

Where 0 (or -1) means "no limit" in Mosquitto, it means a large limit in Roost. Different defaults:
\`set_tcp_nodelay\` is true, \`max_packet_size\`, \`max_queued_bytes\` and \`max_connections\` have a limit, and state
is kept on disk. All differences are listed in [migrating.md](migrating.md).
`

const TOPICS = `
### Predefined topics

\`predefined_topics\` names a YAML or JSON file of topic ids, from 1 to 65534, that sensors use without registering
them:

    clients:
      "*":
        1: site/alarm
      sensor-*:
        2: site/temperature
        3: site/humidity
      sensor-17:
        3: lab/humidity

A key under \`clients\` is a client id, in which \`*\` matches any number of characters. If several match a client and
define the same id, the last one wins, so put general ones first. Messages with QoS -1 have no client id: from the
address of a connected sensor, the ids of that sensor apply, and from elsewhere those of \`*\`.
`

const TYPES = `## Types of topics

\`types\` in the file says of which kind the messages of a topic are: their content type, and which payloads fit, by a
JSON Schema or by a binary layout. What does not fit is refused or marked ([types.md](types.md)):

    types:
      temperature:
        topics: site/+/temperature
        content_type: application/json
        schema: temperature.json
      soil:
        topics: field/+/soil
        layout:
          - { name: moisture, type: uint16, scale: 0.01 }
          - { name: valve, type: uint8, values: { 0: closed, 1: open } }
        invalid: mark
`

const SENSORS = `
### Users of sensors

MQTT-SN 1.2 has no passwords. While clients need not authenticate, sensors need no user either. Otherwise a sensor
connects as the user that \`sn_users\` or \`sn_username\` assigns to it, or not at all; \`acl_file\` then defines what
that user may do. \`sn_users\` names a YAML or JSON file of rules. The first one that matches applies:

    - clients: sensor-*
      networks: [10.1.0.0/16, "fd00::/8"]
      username: sensors
    - clients: [test-1, "lab-*"]
      deny: true
    - networks: 192.0.2.0/24
      username: "%c"

\`clients\` are client ids, in which \`*\` matches any number of characters. \`networks\` are the networks of the
sensor, or of the forwarder in front of it. A rule without one of them matches every client id, or every address.
\`%c\` stands for the client id, but no sensor becomes a user who has a password (\`password_file\`). \`deny: true\`
refuses a sensor, even if no authentication is configured; a list of the sensors that may connect ends with
\`- deny: true\`. A session belongs to its user. SIGHUP reloads the file and disconnects sensors that may no longer
connect.

Messages with QoS -1 have no client id. They are published as \`qos_m1_username\`, and only rules without \`clients\`
can deny them. UDP source addresses can be forged unless the network prevents it.
`

/** An item of a list, in lines of at most 118 characters. */
function item(text: string): string {
  const lines = ['-']
  for (const word of text.split(' '))
    if (lines.at(-1)!.length + word.length < 118) lines[lines.length - 1] += ` ${word}`
    else lines.push(`  ${word}`)
  return lines.join('\n')
}

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

/** What belongs below the table of a group. */
const AFTER: Partial<Readonly<Record<OptionGroup, string>>> = {
  Listeners: LISTENERS,
  'MQTT-SN gateway': SENSORS + TOPICS,
  'MQTT-SN ports': PORTS,
}

function upstream(): string {
  const rows = upstreamKeys.map((key) => {
    const { default: byDefault, expected, about } = UPSTREAM_OPTIONS[key]
    return `| \`${key}\` | ${byDefault === undefined ? 'none' : code(String(byDefault))} | ${expected} | ${about} |`
  })
  return `${UPSTREAM}\n| key | default | values | |\n|---|---|---|---|\n${rows.join('\n')}\n`
}

function section(group: OptionGroup): string {
  return `## ${group}\n\n${OPTION_GROUPS[group]}\n\n${table(options.filter((option) => option.group === group))}`
}

function first(): string {
  const rows = FIRST_OPTIONS.map((key) => options.find((option) => option.key === key)!)
  return `## The ten that everyone needs first\n\n${table(rows)}`
}

function table(rows: readonly Option[]): string {
  return `| key | default | values | |\n|---|---|---|---|\n${rows.map(row).join('\n')}\n`
}

/** The sections, with what is in each. */
function contents(): string {
  const groups = keysOf(OPTION_GROUPS).map((group) => `- ${link(group)}: ${OPTION_GROUPS[group]}`)
  return `## All options\n\n${[...groups, ...MORE].join('\n')}\n`
}

const link = (title: string): string => `[${title}](#${title.toLowerCase().replaceAll(' ', '-')})`

const MORE = [
  `- In the file only: ${link('More listeners')}, ${link('More ports for sensors')}, ${link('Users of sensors')},`,
  `  ${link('Predefined topics')}, ${link('Filters by content')}, ${link('Types of topics')}, ${link('Bridges')},`,
  `  ${link('In front of a cluster')}.`,
  `- ${link('From Mosquitto')}, and ${link('Fixed values')} that are no options any more.`,
]

function bridges(): string {
  const rows = bridgeKeys.map((key) => {
    const { default: byDefault, expected, about } = BRIDGE_OPTIONS[key]
    return `| \`${key}\` | ${byDefault === undefined ? 'none' : code(String(byDefault))} | ${expected} | ${about} |`
  })
  return `${BRIDGES}\n| key | default | values | |\n|---|---|---|---|\n${rows.join('\n')}\n`
}

function fixedValues(): string {
  const rows = fixedKeys.map((key) => `| \`${key}\` | ${FIXED[key].value} | ${FIXED[key].about} |`)
  return `${FIXED_HEAD}\n| name | value | |\n|---|---|---|\n${rows.join('\n')}\n`
}

function row({ key, flag, flagOnly, default: byDefault, expected, placeholder, about }: Option): string {
  const name = code(flagOnly !== true ? key : placeholder === undefined ? flag : `${flag} <${placeholder}>`)
  const values = placeholder === 'true|false' ? code(placeholder) : expected
  return `| ${name} | ${byDefault === undefined || byDefault === '' ? 'none' : code(String(byDefault))} | ${values} | ${about} |`
}

/** A bar would end the cell of the table. */
const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``

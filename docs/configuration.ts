import { OPTION_GROUPS } from '../src/base/options/kinds.ts'
import { type Option, options } from '../src/base/options.ts'

/** The text of configuration.md, from the table of options: `npm run docs` writes it, and a test compares. */
export function configurationPage(): string {
  return [HEAD, ...OPTION_GROUPS.map(section), TOPICS].join('\n')
}

const HEAD = `# Configuration

<!-- Written by \`npm run docs\` from src/base/options.ts: change it there. -->

Roost runs without any configuration. Every option is a flag of \`roost serve\`, and a key of the YAML file that \`--config\` names:

    # roost.yaml
    port: 1883
    max_queued_messages: 5000
    data_dir: /var/lib/roost

    npx roost serve --config roost.yaml --port 2883

Flags win over the file, and the file wins over the defaults. A key or a value that Roost does not know ends it with exit code 2 and one
line that names the flag, or the file, line and column, and the name that was probably meant. Keys are Mosquitto's names or those of the
MQTT-SN specification where they have one. Numbers are plain numbers: bytes, seconds, messages. Paths are relative to the working
directory when they come from a flag, and to the configuration file when they come from there.

Without passwords, Roost listens on loopback only (127.0.0.0/8, ::1, localhost). To listen on anything else it needs \`--allow-anonymous\`.
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
id, the last one counts: the general ones come first.
`

function section(group: Option['group']): string {
  const rows = options.filter((option) => option.group === group).map(row)
  return `## ${group}\n\n| key | flag | default | values | |\n|---|---|---|---|---|\n${rows.join('\n')}\n`
}

function row({ key, flag, flagOnly, default: byDefault, expected, placeholder, about }: Option): string {
  const name = flagOnly === true ? '' : `\`${key}\``
  const usage = placeholder === undefined ? flag : `${flag} <${placeholder}>`
  return `| ${name} | ${code(usage)} | ${byDefault === undefined ? 'none' : code(String(byDefault))} | ${expected} | ${about} |`
}

/** A bar would end the cell of the table. */
const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``

import { OPTIONS, type OptionKey } from './options.ts'

/** A key of the example with its value as written in the file. `off`: the line is commented out. */
type Line = readonly [key: OptionKey, value: string, off?: 'off']

/** A site with a few hundred clients and sensors on its own network. */
const SECTIONS: readonly (readonly [heading: string, ...Line[]])[] = [
  ['MQTT clients', ['host', '0.0.0.0'], ['port', '1883']],
  ['TLS for MQTT clients', ['certfile', 'tls/chain.pem', 'off'], ['keyfile', 'tls/key.pem', 'off']],
  ['Who may connect, and what clients may do', ['password_file', 'passwords'], ['acl_file', 'acl', 'off']],
  [
    'Sensors (MQTT-SN over UDP)',
    ['sn_host', '0.0.0.0'],
    ['sn_port', '1884'],
    ['sn_username', 'sensors'],
    ['sn_users', 'sensors.yaml', 'off'],
    ['predefined_topics', 'topics.yaml', 'off'],
  ],
  ['State', ['data_dir', '/var/lib/roost'], ['durability', 'fsync']],
  [
    'Metrics, health and API (HTTP)',
    ['http_port', '1885'],
    ['http_host', '0.0.0.0', 'off'],
    ['http_password_file', 'http-passwords', 'off'],
  ],
  ['Limits', ['memory_limit', '0'], ['max_queued_messages', '1000']],
  ['Log', ['log_level', 'info']],
]

const HEAD = `# An example for roost serve --config roost.yaml. Write it with
#   roost config example > roost.yaml
# and check it with
#   roost serve --config roost.yaml --test-config
# Every option: roost serve --help-all. Paths are relative to this file.
# Create the password file with: roost passwd -c passwords alice
`

/**
 * Returns the annotated file that `roost config example` prints. The notes are the descriptions in the options table.
 */
export function exampleConfig(): string {
  const sections = SECTIONS.map(([heading, ...lines]) =>
    [
      `### ${heading}`,
      ...lines.map(([key, value, off]) => `${note(OPTIONS[key].about)}\n${off ? '#' : ''}${key}: ${value}`),
    ].join('\n\n'),
  )
  return `${[HEAD, ...sections].join('\n')}\n`.replaceAll(/\n(###)/g, '\n\n$1').replaceAll(/\n{3,}/g, '\n\n')
}

const WIDTH = 78

/** Returns the text as lines of a comment. */
function note(text: string): string {
  const lines: string[] = ['#']
  for (const word of text.split(' ')) {
    const last = lines.at(-1)!
    if (last.length + 1 + word.length > WIDTH) lines.push(`# ${word}`)
    else lines[lines.length - 1] = `${last} ${word}`
  }
  return lines.join('\n')
}

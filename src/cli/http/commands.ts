import type { Command } from 'commander'
import type { Host } from '../serve.ts'
import { access } from './access.ts'
import { type ApiFlags, apiFlags } from './api-client.ts'
import { bridges } from './bridges.ts'
import { clients } from './clients.ts'
import { retained } from './retained.ts'
import { status } from './status.ts'
import { trace } from './trace.ts'
import { upstream } from './upstream.ts'
import { users } from './users.ts'

/** A command that asks a running Roost. */
interface ApiCommand {
  readonly name: string
  readonly about: string
  /** `[id]` if it may be left out, `<id>` if not. */
  readonly argument?: readonly [usage: string, about: string]
  readonly options: readonly (readonly [flags: string, about: string])[]
  readonly run: (flags: ApiFlags, host: Host, argument: string | undefined) => Promise<void>
}

const JSON_OPTION = ['--json', 'print JSON'] as const

const COMMANDS: readonly ApiCommand[] = [
  {
    name: 'status',
    about: 'show totals and sensors of a running Roost',
    options: [['--watch', 'again every two seconds, until Ctrl-C'], JSON_OPTION],
    run: status,
  },
  {
    name: 'clients',
    about: 'list sessions and sensors of a running Roost, or show one of them',
    argument: ['[id]', 'show everything that is known of this client: its client id, perhaps after mqtt: or sn:'],
    options: [
      ['-q, --query <text>', 'only those with this in client id or user name'],
      ['--state <state>', 'only those in this state: connected, disconnected, active, asleep, awake, lost'],
      ['--protocol <name>', 'only those of this protocol: mqtt, mqtt-sn'],
      ['--port <name>', 'only those of the listener or port with this name'],
      ['--topic <topic>', 'with a client id: also why this client gets no messages on this topic'],
      JSON_OPTION,
    ],
    run: clients,
  },
  {
    name: 'bridges',
    about: 'list the bridges of a running Roost to other brokers',
    options: [JSON_OPTION],
    run: bridges,
  },
  {
    name: 'upstream',
    about: 'show the cluster at which the sensors of a running Roost have their sessions',
    options: [JSON_OPTION],
    run: upstream,
  },
  {
    name: 'trace',
    about: 'show the packets of clients and sensors as they come and go, until Ctrl-C',
    options: [
      ['--client <pattern>', 'only those of clients whose id matches; * stands for any characters'],
      ['--topic <filter>', 'only those with a topic that this topic filter matches'],
      ['--payloads', 'show payloads, too; needs a user who may manage'],
      ['--pcap <file>', 'write a capture file for Wireshark instead'],
    ],
    run: trace,
  },
  {
    name: 'retained',
    about: 'list retained messages of a running Roost',
    argument: ['[filter]', 'only topics that this topic filter matches'],
    options: [
      ['-q, --query <text>', 'only topics with this in them'],
      ['--level <topic>', "list the levels below this topic instead; '' for the first ones"],
      JSON_OPTION,
    ],
    run: retained,
  },
  {
    name: 'users',
    about: 'list the users of a running Roost',
    options: [
      ['-q, --query <text>', 'only those with this in the name'],
      ['--kind <kind>', 'only users of MQTT clients (mqtt), of the HTTP service (http), or of sensors (sn)'],
      JSON_OPTION,
    ],
    run: users,
  },
  {
    name: 'access',
    about: 'show what a client of a running Roost may do, and by which lines of acl_file',
    argument: ['<client>', 'its client id; with mqtt: or sn: before it, also one that has never connected'],
    options: [
      ['--topic <topic>', 'answer whether it may do that on this topic (a topic filter to subscribe)'],
      ['--action <action>', 'publish, subscribe or receive'],
      ['--user <name>', 'as if it had logged in as this user'],
      ['--listener <name>', 'as if it were connected to this listener'],
      JSON_OPTION,
    ],
    run: access,
  },
]

/** Adds the commands that ask a running Roost. */
export function addHttpCommands(program: Command, host: Host): void {
  for (const { name, about, argument, options, run } of COMMANDS) {
    const command = program.command(name).description(about).allowExcessArguments(false)
    if (argument !== undefined) command.argument(...argument)
    for (const option of options) command.option(...option)
    for (const flag of apiFlags()) command.addOption(flag)
    // Commander passes the arguments, then the flags.
    command.action((...given: readonly unknown[]) =>
      argument === undefined
        ? run(given[0] as ApiFlags, host, undefined)
        : run(given[1] as ApiFlags, host, given[0] as string | undefined),
    )
  }
}

import type { Command } from 'commander'
import { didYouMean } from '../../base/nearest.ts'
import { StartError } from '../../base/start-error.ts'
import { describeDatagram } from '../../mqttsn/describe.ts'
import type { Host } from '../serve.ts'
import { addPing } from './ping.ts'
import { addPub } from './pub.ts'
import { addSleep, addSub } from './sub.ts'

/** Adds `roost sn`, the sensors on the command line. */
export function addSnCommand(program: Command, host: Host): void {
  const sn = program
    .command('sn')
    .description('act as a sensor: publish, subscribe, sleep, ping; decode datagrams')
    .allowExcessArguments(true)
    .action((_: unknown, command: Command) => {
      const [extra] = command.args
      if (extra === undefined) command.help()
      const names = command.commands.map((known) => known.name())
      throw new StartError(`${extra}: unknown command${didYouMean(extra!, names)}; see roost sn --help`)
    })
  addPub(sn, host)
  addSub(sn, host)
  addSleep(sn, host)
  addPing(sn, host)
  sn.command('decode')
    .description('decode a datagram')
    .argument('<hex...>', 'its bytes in hex; spaces, colons and 0x are ignored')
    .action((words: readonly string[]) => decode(words.join(''), host))
}

function decode(text: string, { stdout }: Host): void {
  const digits = text.replaceAll(/0x|[\s:,-]/gi, '')
  if (digits === '' || digits.length % 2 === 1 || !/^[\da-f]*$/i.test(digits))
    throw new StartError(`expected bytes of two hex digits each, got ${JSON.stringify(text.slice(0, 60))}`)
  const said = describeDatagram(Buffer.from(digits, 'hex'), { payloads: true })
  if (/^(FORWARDED node=\S+ radius=\d )?malformed: /.test(said)) throw new StartError(said)
  stdout.write(`${said}\n`)
}

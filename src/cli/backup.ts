import { resolve } from 'node:path'
import type { Command } from 'commander'
import { counted } from '../base/counted.ts'
import { defaultDir, type Host } from './serve.ts'
import { refusing } from './store.ts'

/** Adds `roost backup` and `roost restore`, which copy data directories. */
export function addBackupCommands(program: Command, host: Host): void {
  program
    .command('backup')
    .description('copy a data directory, while Roost runs or not')
    .argument('<dir>', 'the directory for the copy, which must be empty or not exist')
    .option('--data-dir <dir>', 'the data directory', defaultDir(host))
    .allowExcessArguments(false)
    .addHelpText(
      'after',
      '\nThe copy is the store as it was at one moment, has been read completely, and is a data directory\nthat Roost starts' +
        ' with. Run this as the user that Roost runs as. Exit codes: 0 if the copy is complete\nand on the disk, 2 if there is none.',
    )
    .action((to: string, { dataDir }: { dataDir: string }) => copy(host, 'backed up', dataDir, to))
  program
    .command('restore')
    .description('copy a backup to a data directory')
    .argument('<backup>', 'the directory that roost backup has written')
    .option('--data-dir <dir>', 'the data directory, with no store in it', defaultDir(host))
    .allowExcessArguments(false)
    .addHelpText(
      'after',
      '\nStop Roost first, and move the old data directory away. Exit codes: 0 if the backup was restored, 2\nif nothing was done.',
    )
    .action((backup: string, { dataDir }: { dataDir: string }) => copy(host, 'restored', backup, dataDir))
}

function copy({ cwd, stdout }: Host, done: string, from: string, to: string): Promise<void> {
  return refusing(resolve(cwd, to), async (path) => {
    const { backUpStore } = await import('../store/io/backup.ts')
    const { rows, commits, bytes } = backUpStore(resolve(cwd, from), path)
    const read = `${counted(rows, 'row')} and ${counted(commits, 'commit')}`
    stdout.write(`${done} ${from} to ${to}: ${read}, ${Math.ceil(bytes / 1024)} KiB\n`)
  })
}

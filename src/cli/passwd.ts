import {
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { DEFAULT_ITERATIONS, hashPassword } from '../access/io/password-hash.ts'
import { SCRAM_ITERATIONS, scramLine } from '../access/io/scram.ts'
import { parsePasswords } from '../access/password-file.ts'
import { StartError } from '../base/start-error.ts'
import { readTextFile, reasonOf } from '../config/io/text-file.ts'
import { readPassword } from './password-prompt.ts'
import type { Host } from './serve.ts'

interface Flags {
  readonly create?: true
  readonly batch?: true
  readonly delete?: true
  readonly upgrade?: true
  readonly scram?: true
  readonly iterations?: string
}

/** Adds `roost passwd`, with the flags of mosquitto_passwd. */
export function addPasswdCommand(program: Command, host: Host): void {
  program
    .command('passwd')
    .description('write the password file that --password-file names')
    .argument('<file>', 'the password file')
    .argument('[user]', 'the user whose password is set or deleted')
    .argument('[password]', 'with -b only; other users can see it in the list of processes')
    .option('-c, --create', 'create a new file; an existing one is replaced')
    .option('-b, --batch', 'take the password from the command line')
    .option('-D, --delete', 'delete the user')
    .option('-U, --upgrade', 'replace plain-text passwords in the file with hashes')
    .option('--scram', 'add the keys for SCRAM-SHA-256, besides the hash for ordinary logins')
    .option('-I, --iterations <number>', `rounds of the hash (default: ${DEFAULT_ITERATIONS}, with --scram ${SCRAM_ITERATIONS})`)
    .action((file: string, user: string | undefined, password: string | undefined, flags: Flags) =>
      passwd(resolve(host.cwd, file), user, password, flags, host),
    )
}

async function passwd(
  path: string,
  user: string | undefined,
  given: string | undefined,
  flags: Flags,
  host: Host,
): Promise<void> {
  if (flags.upgrade === true) {
    await upgrade(path, flags)
    return
  }
  const name = checkedUser(user)
  if (flags.batch === true && given === undefined) throw new StartError('-b: expected a user and a password')
  if (flags.batch !== true && given !== undefined) throw new StartError('a password on the command line needs -b')
  const isNew = flags.create === true || (flags.delete !== true && !existsSync(path))
  const lines = isNew ? [] : linesOf(path)
  if (flags.delete === true) {
    const left = lines.filter((line) => !isOf(line, name))
    if (left.length === lines.length) throw new StartError(`${path}: no user ${name}`)
    write(path, left)
    return
  }
  const password = given ?? (await readPassword(host, 'twice'))
  if (password === '') throw new StartError('the password is empty')
  const line = `${name}:${await hashOf(password, flags)}`
  const isScram = (old: string): boolean => old.slice(name.length + 1).startsWith('$scram-')
  const others = lines.filter((old) => !isOf(old, name) || isScram(old) !== (flags.scram === true))
  write(path, [...others, line])
}

const hashOf = (password: string, { scram, iterations }: Flags): Promise<string> =>
  scram === true
    ? scramLine(password, rounds(iterations, SCRAM_ITERATIONS))
    : hashPassword(Buffer.from(password), rounds(iterations, DEFAULT_ITERATIONS))

function rounds(given: string | undefined, byDefault: number): number {
  if (given === undefined) return byDefault
  const count = /^\d+$/.test(given) ? Number(given) : 0
  if (count < 1 || count > 10_000_000) throw new StartError(`-I: expected a whole number from 1 to 10000000, got ${given}`)
  return count
}

function checkedUser(user: string | undefined): string {
  if (user === undefined || user === '') throw new StartError('expected a user; see roost passwd --help')
  if (/[:\p{Cc}]/u.test(user))
    throw new StartError(`user ${JSON.stringify(user)}: a name contains no colon and no control character`)
  if (user.startsWith('#')) throw new StartError(`user ${user}: a line that starts with # is a comment`)
  if (Buffer.byteLength(user) > 65_535) throw new StartError('user: longer than MQTT allows')
  return user
}

const isOf = (line: string, user: string): boolean => line.startsWith(`${user}:`)

/** Returns the lines of a file. An invalid line is an error, so that no password is lost. */
function linesOf(path: string): string[] {
  const text = readTextFile(path, '/', 'roost passwd')
  const parsed = parsePasswords(text)
  if ('reason' in parsed) throw new StartError(`${path}:${String(parsed.line)}: ${String(parsed.reason)}`)
  return text.split('\n').filter((line) => line !== '')
}

async function upgrade(path: string, flags: Flags): Promise<void> {
  const lines: string[] = []
  for (const [i, line] of readTextFile(path, '/', 'roost passwd').split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) {
      if (line !== '') lines.push(line)
      continue
    }
    const colon = line.indexOf(':')
    const password = line.slice(colon + 1).replace(/\r$/, '')
    if (colon < 1 || password === '') throw new StartError(`${path}:${i + 1}: expected <user>:<password>`)
    if (/^\$(6|7|scram-sha-256)\$/.test(password)) lines.push(line)
    else lines.push(`${line.slice(0, colon)}:${await hashOf(password, flags)}`)
  }
  write(path, lines)
}

/**
 * Replaces the file atomically, with read permission for its owner only. The owner stays the same, so that setting a
 * password as root does not lock out the broker.
 */
function write(path: string, lines: readonly string[]): void {
  const target = existsSync(path) ? realpathSync(path) : path
  const temporary = `${target}.new-${process.pid}`
  try {
    const file = openSync(temporary, 'wx', 0o600)
    try {
      if (existsSync(target)) {
        const { uid, gid } = statSync(target)
        fchownSync(file, uid, gid)
      }
      writeSync(file, lines.map((line) => `${line}\n`).join(''))
      fchmodSync(file, 0o600)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, target)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw new StartError(`cannot write ${path}: ${reasonOf(error)}`)
  }
}

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { hashPassword } from '../access/io/password-hash.ts'
import { editPasswordFile } from '../access/io/password-writer.ts'
import { scramLine } from '../access/io/scram.ts'
import { userNameError, withHash, withoutUser } from '../access/password-edit.ts'
import { DEFAULT_ITERATIONS, parsePasswords, SCRAM_ITERATIONS } from '../access/password-file.ts'
import { StartError } from '../base/start-error.ts'
import { readTextFile } from '../config/io/text-file.ts'
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
  if (flags.delete === true) {
    check(path, read(path))
    await editPasswordFile(path, (text) => edited(without(path, check(path, text), name)), { origin: ORIGIN })
    return
  }
  const isNew = flags.create === true || !existsSync(path)
  // Before anyone types a password for it.
  if (!isNew) check(path, read(path))
  const password = given ?? (await readPassword(host, 'twice'))
  if (password === '') throw new StartError('the password is empty')
  const hash = await hashOf(password, flags)
  const file = flags.create === true ? 'is-replaced' : 'may-be-missing'
  await editPasswordFile(path, (text) => edited(withHash(check(path, text), name, hash)), { origin: ORIGIN, file })
}

const ORIGIN = 'roost passwd'
const read = (path: string): string => readTextFile(path, '/', ORIGIN)
const edited = (text: string): { text: string; value: undefined } => ({ text, value: undefined })

function without(path: string, text: string, name: string): string {
  const left = withoutUser(text, name)
  if (left === text) throw new StartError(`${path}: no user ${name}`)
  return left
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
  const wrong = userNameError(user)
  if (wrong !== '') throw new StartError(wrong)
  return user
}

/** Returns the text. An invalid line is an error, so that no password is lost. */
function check(path: string, text: string): string {
  const parsed = parsePasswords(text)
  if ('reason' in parsed) throw new StartError(`${path}:${String(parsed.line)}: ${String(parsed.reason)}`)
  return text
}

async function upgrade(path: string, flags: Flags): Promise<void> {
  const hashed = new Map<string, string>()
  for (const [i, line] of read(path).split('\n').entries()) {
    if (!isPlain(line)) continue
    const colon = line.indexOf(':')
    const password = line.slice(colon + 1).replace(/\r$/, '')
    if (colon < 1 || password === '') throw new StartError(`${path}:${i + 1}: expected <user>:<password>`)
    hashed.set(line, `${line.slice(0, colon)}:${await hashOf(password, flags)}`)
  }
  await editPasswordFile(
    path,
    (text) => {
      const lines = text.split('\n').map((line) => hashed.get(line) ?? line)
      if (lines.some(isPlain)) throw new StartError(`${path}: changed meanwhile; nothing was written`)
      return edited(lines.join('\n'))
    },
    { origin: ORIGIN },
  )
}

/** Whether a line has something else than a hash. */
const isPlain = (line: string): boolean =>
  line.trim() !== '' && !line.startsWith('#') && !/^[^:]+:\$(6|7|scram-sha-256)\$/.test(line)

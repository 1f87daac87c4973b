import { StartError } from '../base/start-error.ts'
import { readTextFile } from '../config/io/text-file.ts'

/** Returns the first line of a password file. @throws StartError that begins with `origin` */
export function firstLineOf(path: string, origin: string): string {
  const [password = ''] = readTextFile(path, '.', origin).split(/\r?\n/, 1)
  if (password === '') throw new StartError(`${origin}: the first line of ${path} is empty`)
  return password
}

import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { getSystemErrorMap } from 'node:util'
import { readRegularFile } from '../../base/io/regular-file.ts'
import { StartError } from '../../base/start-error.ts'

/** Reads a UTF-8 text file, or a pipe. @throws StartError that begins with `origin`, the place that named the file */
export const readTextFile = (path: string, cwd: string, origin: string): string =>
  textOf(path, origin, () => readFileSync(resolve(cwd, path)))

/** Reads a UTF-8 text file as `readRegularFile` does. @throws StartError as `readTextFile` */
export const readRegularTextFile = (path: string, origin: string, bytesMax: number): string =>
  textOf(path, origin, () => readRegularFile(path, bytesMax))

function textOf(path: string, origin: string, read: () => Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(read())
  } catch (error) {
    throw cannotRead(path, origin, error instanceof TypeError ? 'not UTF-8 text' : reasonOf(error))
  }
}

/**
 * Checks that a file can be read, without reading it: it is read later, and may be a pipe that can be read only once.
 * @throws StartError as `readTextFile`
 */
export function checkReadable(path: string, cwd: string, origin: string): void {
  try {
    accessSync(resolve(cwd, path), constants.R_OK)
  } catch (error) {
    throw cannotRead(path, origin, reasonOf(error))
  }
  if (statSync(resolve(cwd, path)).isDirectory()) throw cannotRead(path, origin, 'it is a directory')
}

const cannotRead = (path: string, origin: string, reason: string): StartError =>
  new StartError(`${origin}: cannot read ${path}: ${reason}`)

/** Returns the text of a system error: `no such file or directory`. */
export function reasonOf(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException
  return (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]) ?? message
}

import { dirname, join, resolve } from 'node:path'
import { StartError } from '../../base/start-error.ts'

/** One line of a mosquitto.conf: `listener 8883 192.168.0.1`. */
export interface Setting {
  readonly name: string
  /** The rest of the line, trimmed. */
  readonly value: string
  readonly file: string
  readonly line: number
}

/** File system access for `readConf`. Both methods throw a StartError that begins with `origin`. */
export interface ConfFiles {
  read(path: string, origin: string): string
  /** Returns the names of the files in a directory. */
  list(dir: string, origin: string): string[]
}

/** Returns the settings in the text of one file, in order. */
export function parseConf(text: string, file: string): Setting[] {
  return text.split('\n').flatMap((raw, index) => {
    const [, name = '', value = ''] = /^(\S+)(.*)$/.exec(raw.trim()) ?? []
    return name === '' || name.startsWith('#') ? [] : [{ name, value: value.trim(), file, line: index + 1 }]
  })
}

/**
 * Returns the settings of a file, with those of the included files in place of each `include_dir` [mosquitto.conf(5)].
 * @throws StartError
 */
export function readConf(path: string, files: ConfFiles): Setting[] {
  return parseConf(files.read(path, path), path).flatMap((setting) => {
    if (setting.name !== 'include_dir') return [setting]
    const origin = placeOf(setting)
    if (setting.value === '') throw new StartError(`${origin}: expected the path of a directory, got nothing`)
    const dir = resolve(dirname(path), setting.value)
    const names = files.list(dir, origin).filter((name) => name.endsWith('.conf'))
    return names.sort(asMosquitto).flatMap((name) => parseConf(files.read(join(dir, name), origin), join(dir, name)))
  })
}

/** Alphabetical order, ignoring case; for names that differ only in case, upper case comes first. */
const asMosquitto = (a: string, b: string): number => {
  const [lowerA, lowerB] = [a.toLowerCase(), b.toLowerCase()]
  if (lowerA !== lowerB) return lowerA < lowerB ? -1 : 1
  return a < b ? -1 : 1
}

/** Returns the place of a setting: `/etc/mosquitto/mosquitto.conf:12: include_dir`. */
export const placeOf = ({ file, line, name }: Setting): string => `${file}:${line}: ${name}`

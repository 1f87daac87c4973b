import { dirname, join, resolve } from 'node:path'
import { StartError } from '../../base/start-error.ts'

/** One line of a mosquitto.conf: `listener 8883 192.168.0.1`. */
export interface Setting {
  readonly name: string
  /** The rest of the line without blanks around it. */
  readonly value: string
  readonly file: string
  readonly line: number
}

/** What `readConf` needs of the file system. Both throw a StartError that starts with `origin`. */
export interface ConfFiles {
  read(path: string, origin: string): string
  /** Names of the files in a directory. */
  list(dir: string, origin: string): string[]
}

/** The settings of one file, in order. */
export function parseConf(text: string, file: string): Setting[] {
  return text.split('\n').flatMap((raw, index) => {
    const [, name = '', value = ''] = /^(\S+)(.*)$/.exec(raw.trim()) ?? []
    return name === '' || name.startsWith('#') ? [] : [{ name, value: value.trim(), file, line: index + 1 }]
  })
}

/** The settings of a file and, where it says `include_dir`, of the files there [mosquitto.conf(5)]. @throws StartError */
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

/** Alphabetical, and of the same letter the upper case first. */
const asMosquitto = (a: string, b: string): number => {
  const [lowerA, lowerB] = [a.toLowerCase(), b.toLowerCase()]
  if (lowerA !== lowerB) return lowerA < lowerB ? -1 : 1
  return a < b ? -1 : 1
}

/** `/etc/mosquitto/mosquitto.conf:12: include_dir` */
export const placeOf = ({ file, line, name }: Setting): string => `${file}:${line}: ${name}`

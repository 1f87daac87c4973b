import { readdirSync, readFileSync } from 'node:fs'

const ROOT = new URL('../../', import.meta.url)

/** A line with nothing but ids, such as `// [MQTT-3.3.1-5] [3.1.1 MQTT-3.3.1-5]`. An id without a version is one of 5.0. */
const PIN = /^ *\/\/(?: \[(?:3\.1\.1 )?MQTT-\d+(?:\.\d+)+-\d+\])+\n/gm

/** The first line that is no comment, and those after it that are indented further or go on with what it opened: src/ is formatted. */
const STATEMENT = /^( *)(?!\/\/)\S.*\n(?:(?:\1(?: |[)\]}]|else\b).*)?\n)*/m

/** The ids in src/, with the file and the position of the comment. The statement after it is what satisfies them. */
export function pins() {
  const names = readdirSync(new URL('src', ROOT), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
  return names.sort().flatMap((name) => {
    const file = `src/${name}`
    return [...readFileSync(new URL(file, ROOT), 'utf8').matchAll(PIN)].flatMap(({ 0: line, index: at }) =>
      [...line.matchAll(/\[(.+?)\]/g)].map(([, id]) => ({ id: id.startsWith('MQTT') ? `5.0 ${id}` : id, file, at })),
    )
  })
}

/** The text of a file where the statement after the comment at `at` is removed, or only has what a row says replaced. */
export function disabled(text, at, { replace, with: replacement }) {
  const [statement] = STATEMENT.exec(text.slice(at))
  const parts = statement.split(replace ?? statement)
  if (parts.length !== 2) throw new Error(`"${replace}" is not once in\n${statement}`)
  return text.slice(0, at) + text.slice(at).replace(statement, () => parts.join(replacement ?? ''))
}

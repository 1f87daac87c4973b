import { readdirSync, readFileSync } from 'node:fs'
import { parse } from 'yaml'

export const VERSIONS = ['3.1.1', '5.0']

const read = (name) => readFileSync(new URL(name, import.meta.url), 'utf8')

/** All ids of the normative statements of a version, as its text has them. */
export const idsOf = (version) => JSON.parse(read('ids.json'))[version]

/**
 * What is known of each statement of a version, by its id, from the files of its chapters:
 * - `binds`: `server`, or `client` where nothing is asked of a server;
 * - `test`, `title`: the test file, and a part of the title, that fails without the code that satisfies the statement (see pins.mjs);
 * - `replace`, `with`: a part of that code, and what takes its place to disable it, where removing all of it would show something else;
 * - `same`: in place of these four, the id (with its version, `5.0 MQTT-...`) of the statement that says the same;
 * - `by`: in place of all that, why no line of ours can be disabled (the kernel does it, or nothing has to be done).
 */
export function tableOf(version) {
  const folder = `mqtt-${version}`
  const files = readdirSync(new URL(folder, import.meta.url)).filter((name) => name.endsWith('.yaml'))
  return new Map(files.sort().flatMap((name) => Object.entries(parse(read(`${folder}/${name}`)) ?? {})))
}

/** Every row with a test, with the id that it stands for. */
export function mutations() {
  return VERSIONS.flatMap((version) =>
    [...tableOf(version)].filter(([, row]) => row.test !== undefined).map(([id, row]) => ({ id: `${version} ${id}`, ...row })),
  )
}

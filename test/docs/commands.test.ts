import { expect, test } from 'vitest'
import { run } from '../../src/cli/cli.ts'
import { StubHost } from '../cli/stub-host.ts'
import { PAGES, read, textBlocks } from './blocks.ts'

interface Shown {
  readonly place: string
  readonly command: string
}

const START = /^(?:\$ )?(?:sudo (?:-u \S+ )?)?(?:roost|node dist\/main\.js|npm start --) (.+)$/

/** Commands of Roost in the blocks of a page, and in its text between backquotes. */
function commandsOf(page: string): Shown[] {
  const inBlocks = textBlocks(page).flatMap(({ place, text }) =>
    text
      .replaceAll('\\\n', ' ')
      .split('\n')
      .map((command) => ({ place, command })),
  )
  const inText = Array.from(read(page).matchAll(/`((?:roost|node dist\/main\.js) [^`]+)`/g), ([, command]) => ({
    place: page,
    command: command!.replaceAll('\n', ' '),
  }))
  return [...inBlocks, ...inText].flatMap(({ place, command }) => {
    const [, words] = START.exec(command) ?? []
    if (words === undefined || !/^(?!version )[a-z-]/.test(words)) return []
    const isServe = command.includes('npm start --')
    // Up to the next command of the line, without what is in quotes.
    const own = words.replaceAll(/"[^"]*"|'[^']*'/g, 'QUOTED').split(/ [|&>#;]|;|&&| {3}/)[0]!
    return [{ place, command: isServe ? `serve ${own}` : own }]
  })
}

const helps = new Map<string, Promise<string>>()
function helpOf(path: readonly string[]): Promise<string> {
  const key = path.join(' ')
  let help = helps.get(key)
  if (help === undefined) {
    const host = new StubHost()
    help = run([...path, key === 'serve' ? '--help-all' : '--help'], host).then(() => host.out)
    helps.set(key, help)
  }
  return help
}

const subcommandsOf = (help: string): string[] =>
  Array.from((/\nCommands:\n([\s\S]*)/.exec(help)?.[1] ?? '').matchAll(/^ {2}([a-z-]+)/gm), ([, name]) => name!)

/** What Roost does not know in a command. */
async function unknownIn(command: string): Promise<string[]> {
  const words = command.trim().split(/\s+/)
  const path: string[] = []
  let help = await helpOf(path)
  while (words[0] !== undefined && subcommandsOf(help).includes(words[0])) {
    path.push(words.shift()!)
    help = await helpOf(path)
  }
  if (path.length === 0 && !words[0]!.startsWith('-')) return [words[0]!]
  const known = new Set(help.match(/(?<![\w-])--?[a-zA-Z0-9][\w-]*/g) ?? [])
  for (const always of ['--help', '-h']) known.add(always)
  return words
    .filter((word) => /^--?[a-zA-Z]/.test(word))
    .filter((word) => !known.has(word.split('=')[0]!.replace(/[.,)]+$/, '')))
}

test.each(PAGES)('%s names commands and flags that exist', async (page) => {
  const faults: string[] = []
  for (const { place, command } of commandsOf(page))
    for (const unknown of await unknownIn(command)) faults.push(`${place}: ${unknown} in "${command}"`)
  expect(faults).toEqual([])
})

test('commands are found, and what is wrong in them', async () => {
  expect(PAGES.flatMap(commandsOf).length).toBeGreaterThan(80)
  expect(await unknownIn('sn pub -t te --retained -m 1')).toEqual(['--retained'])
  expect(await unknownIn('serv --port 1')).toEqual(['serv'])
  expect(await unknownIn('serve --port 1 --sn-username alice')).toEqual([])
})

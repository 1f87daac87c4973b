import { createInterface } from 'node:readline'
import { StartError } from '../base/start-error.ts'
import type { Host } from './serve.ts'

/**
 * Reads a password: without echo from a terminal, otherwise one line. `twice`: a new one, which has to be repeated at a terminal.
 * @throws StartError
 */
export async function readPassword({ stdin, stderr }: Host, times: 'once' | 'twice'): Promise<string> {
  if (stdin.isTTY !== true) return firstLine(stdin)
  const typed = typedLines(stdin)
  stdin.setRawMode?.(true)
  try {
    stderr.write('Password: ')
    const first = await nextLine(typed, times)
    if (times === 'once') return first
    stderr.write('\nOnce more: ')
    const second = await nextLine(typed, times)
    if (first !== second) throw new StartError('the two passwords differ; nothing was written')
    return first
  } finally {
    stderr.write('\n')
    stdin.setRawMode?.(false)
    await typed.return(undefined)
  }
}

async function firstLine(stdin: NodeJS.ReadableStream): Promise<string> {
  for await (const line of createInterface({ input: stdin })) return line
  return ''
}

async function nextLine(typed: AsyncGenerator<string>, times: 'once' | 'twice'): Promise<string> {
  const { value, done } = await typed.next()
  if (done === true) throw new StartError(times === 'once' ? 'no password was typed' : 'nothing was written')
  return value
}

/**
 * Reads lines from a terminal in raw mode, however they are split into chunks. Backspace deletes a character; Ctrl-C
 * and Ctrl-D end the input.
 */
async function* typedLines(stdin: NodeJS.ReadableStream): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder()
  let typed: string[] = []
  for await (const chunk of stdin) {
    for (const character of typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true })) {
      if (character === '\x03' || character === '\x04') return
      if (character === '\r' || character === '\n') {
        const line = typed.join('')
        typed = []
        yield line
      } else if (character === '\x7f' || character === '\b') typed.pop()
      else typed.push(character)
    }
  }
}

import { setImmediate as nextTurn } from 'node:timers/promises'
import { Composer, type CST, type Document, isAlias, isMap, isNode, isScalar, isSeq, Lexer, LineCounter, Parser } from 'yaml'
import { YAML_BYTES_MAX } from '../../base/io/regular-file.ts'
import { StartError } from '../../base/start-error.ts'
import { inWords } from '../config.ts'
import { readRegularTextFile, readTextFile } from './text-file.ts'

/** A key and its value, each with its position: `roost.yaml:3:7`. */
export interface YamlPair {
  readonly key: string
  readonly keyAt: string
  readonly value: YamlValue
}

export interface YamlValue {
  readonly at: string
  /** The value of a scalar. For maps and lists see `pairs` and `items`. */
  readonly plain: unknown
  readonly node: unknown
}

/**
 * Levels of maps and lists within each other. The library composes them by recursion, and where the stack ends while a regular
 * expression is compiled, V8 ends the process.
 */
const DEPTH_MAX = 100

/** About five milliseconds of work. */
const LEXEMES_PER_TURN = 2000

interface Tokens {
  readonly lines: LineCounter
  readonly tokens: CST.Token[]
}

/** Reads tokens, and yields now and then, so that a large file can be read in several turns. @throws StartError */
function* tokensOf(path: string, text: string): Generator<void, Tokens> {
  const lines = new LineCounter()
  const parser = new Parser(lines.addNewLine)
  const tokens: CST.Token[] = []
  let lexemes = 0
  lines.addNewLine(0)
  for (const lexeme of new Lexer().lex(text)) {
    tokens.push(...parser.next(lexeme))
    if (parser.stack.length > DEPTH_MAX)
      throw new StartError(`${placeIn(path, lines, parser.offset)}: more than ${DEPTH_MAX} levels within each other`)
    if (++lexemes % LEXEMES_PER_TURN === 0) yield
  }
  tokens.push(...parser.end())
  return { lines, tokens }
}

function tokensAtOnce(path: string, text: string): Tokens {
  const reading = tokensOf(path, text)
  for (;;) {
    const { done, value } = reading.next()
    if (done === true) return value
  }
}

const placeIn = (path: string, lines: LineCounter, offset: number): string => {
  const { line, col } = lines.linePos(offset)
  return `${path}:${Math.max(1, line)}:${Math.max(1, col)}`
}

/** A YAML file (or a JSON file, which is valid YAML). Errors name file, line and column. */
export class YamlFile {
  readonly path: string
  readonly #lines: LineCounter
  readonly #document: Document.Parsed

  /** @throws StartError for the first syntax error */
  constructor(path: string, text: string, { lines, tokens } = tokensAtOnce(path, text)) {
    this.path = path
    this.#lines = lines
    // The library compares each key with all before it, which takes seconds for 20,000 users; `pairs` looks them up.
    const composer = new Composer({ prettyErrors: false, uniqueKeys: false })
    // With `true` there is always a document, even without any text.
    const [document, another] = [...composer.compose(tokens, true, text.length)] as [Document.Parsed, Document.Parsed?]
    this.#document = document
    const error = document.errors[0] ?? document.warnings[0]
    if (error !== undefined) throw new StartError(`${this.#at(error.pos[0])}: ${error.message.replaceAll(/\s+/g, ' ')}`)
    if (another !== undefined) throw new StartError(`${this.#at(another.range[0])}: another document begins here`)
  }

  /**
   * Reads and parses a file that is read only once, at the start, and may be a pipe.
   * @throws StartError that begins with `origin`, the place that named the file
   */
  static read(path: string, cwd: string, origin: string): YamlFile {
    return new YamlFile(path, readTextFile(path, cwd, origin))
  }

  /** Reads and parses a file that is read again at each reload. @throws StartError as `read` */
  static readRegular(path: string, origin: string): YamlFile {
    return new YamlFile(path, readRegularTextFile(path, origin, YAML_BYTES_MAX))
  }

  /** As `readRegular`, in several turns of the event loop. */
  static async readInTurns(path: string, origin: string): Promise<YamlFile> {
    const text = readRegularTextFile(path, origin, YAML_BYTES_MAX)
    const reading = tokensOf(path, text)
    for (;;) {
      const { done, value } = reading.next()
      await nextTurn()
      if (done === true) return new YamlFile(path, text, value)
    }
  }

  /** The root of the document. An empty file is an empty map. */
  get root(): YamlValue {
    const { contents } = this.#document
    return contents === null ? { at: this.#at(0), plain: {}, node: undefined } : this.#value(contents, this.#at(0))
  }

  /** Returns the pairs of a map, whose keys must differ. @throws StartError `...: expected <expected>, got ...` */
  pairs(value: YamlValue, expected: string): YamlPair[] {
    if (value.node === undefined) return []
    if (!isMap(value.node)) throw new StartError(`${value.at}: expected ${expected}, got ${inWords(value.plain)}`)
    const keys = new Set<string>()
    return value.node.items.map((pair) => {
      const { key: keyNode, value: node } = pair
      if (!isScalar(keyNode)) throw new StartError(`${value.at}: expected ${expected}, got a map or a list in place of a key`)
      const key = keyNode.source ?? String(keyNode.value)
      const keyAt = this.#at(keyNode.range?.[0] ?? 0)
      if (keys.has(key)) throw new StartError(`${keyAt}: Map keys must be unique`)
      keys.add(key)
      return { key, keyAt, value: this.#value(node, keyAt) }
    })
  }

  /** Returns the items of a list. @throws StartError `...: expected <expected>, got ...` */
  items(value: YamlValue, expected: string): YamlValue[] {
    if (isSeq(value.node)) return value.node.items.map((item) => this.#value(item, value.at))
    throw new StartError(`${value.at}: expected ${expected}, got ${inWords(value.plain)}`)
  }

  /**
   * Returns the texts of a scalar or of a list. Numbers are accepted, because client ids may look like numbers.
   * @throws StartError as `items`
   */
  texts(value: YamlValue, expected: string): string[] {
    const isText = typeof value.plain === 'string' || typeof value.plain === 'number'
    const items = isText ? [value] : this.items(value, expected)
    return items.map(({ at, plain }) => {
      if ((typeof plain !== 'string' && typeof plain !== 'number') || plain === '')
        throw new StartError(`${at}: expected ${expected}, got ${inWords(plain)}`)
      return String(plain)
    })
  }

  /** Returns a value with all that is in it as plain data. @throws StartError if a key comes twice, or aliases expand without bound */
  dataOf(value: YamlValue): unknown {
    if (!isNode(value.node)) return value.plain
    this.#refuseTwins(value)
    try {
      return value.node.toJS(this.#document, { maxAliasCount: 100 })
    } catch (error) {
      throw new StartError(`${value.at}: ${(error as Error).message}`)
    }
  }

  /** `pairs` looks for keys that come twice. */
  #refuseTwins(value: YamlValue): void {
    if (isMap(value.node)) for (const pair of this.pairs(value, 'a map')) this.#refuseTwins(pair.value)
    else if (isSeq(value.node)) for (const item of this.items(value, 'a list')) this.#refuseTwins(item)
  }

  /** Returns the value that a JSON pointer names within another, or the one around it that is there. */
  find(value: YamlValue, pointer: string): YamlValue {
    let found = value
    for (const token of pointer.split('/').slice(1)) {
      const key = token.replaceAll('~1', '/').replaceAll('~0', '~')
      const next = isMap(found.node)
        ? this.pairs(found, 'a map').find((pair) => pair.key === key)?.value
        : isSeq(found.node)
          ? this.items(found, 'a list')[Number(key)]
          : undefined
      if (next === undefined) break
      found = next
    }
    return found
  }

  #value(given: unknown, parentAt: string): YamlValue {
    const node = isAlias(given) ? given.resolve(this.#document) : given
    const start = (given as { range?: [number, number, number] | null } | null)?.range?.[0]
    const at = start === undefined ? parentAt : this.#at(start)
    if (isAlias(given) && node === undefined) throw new StartError(`${at}: no anchor &${given.source} above`)
    return { at, plain: isScalar(node) ? node.value : isMap(node) ? {} : node === null || node === undefined ? null : [], node }
  }

  #at(offset: number): string {
    return placeIn(this.path, this.#lines, offset)
  }
}

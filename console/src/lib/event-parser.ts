export interface StreamEvent {
  readonly name: string
  readonly data: string
}

/** Lines of an event stream [WHATWG HTML section 9.2.6], as far as Roost uses them. */
export class EventParser {
  readonly #onEvent: (event: StreamEvent, id: string) => void
  #rest = ''
  #name = 'message'
  #data: string[] = []
  #id = ''

  constructor(onEvent: (event: StreamEvent, id: string) => void) {
    this.#onEvent = onEvent
  }

  add(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) this.#line(line)
  }

  #line(line: string): void {
    if (line === '') {
      if (this.#data.length > 0) this.#onEvent({ name: this.#name, data: this.#data.join('\n') }, this.#id)
      this.#name = 'message'
      this.#data = []
      return
    }
    const [, field = '', value = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? []
    if (field === 'event') this.#name = value
    else if (field === 'data') this.#data.push(value)
    else if (field === 'id') this.#id = value
  }
}

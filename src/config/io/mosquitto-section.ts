import type { OptionKey } from '../options.ts'
import type { YamlLine } from './yaml-lines.ts'

export type Plain = string | number | boolean

/** The settings of the broker, or of one listener. */
export class Section {
  readonly lines: YamlLine[] = []
  /** A setting that protected it in Mosquitto is missing. */
  exposed = false
  /** Only clients whose user name Roost cannot take from their certificate could connect. */
  closed = false
  readonly #at = new Map<OptionKey, number>()

  get(key: OptionKey): Plain | undefined {
    return this.#line(key)?.value
  }

  /** Returns the line that sets the option, `mosquitto.conf:12: certfile`; `undefined` if no line does. */
  place(key: OptionKey): string | undefined {
    return this.#line(key)?.place
  }

  set(key: OptionKey, value: Plain, more: { readonly note?: string; readonly place?: string } = {}): void {
    this.delete(key)
    this.#at.set(key, this.lines.length)
    this.lines.push({ key, value, ...more })
  }

  delete(key: OptionKey): void {
    const at = this.#at.get(key)
    if (at !== undefined) this.lines[at] = {}
    this.#at.delete(key)
  }

  #line(key: OptionKey): YamlLine | undefined {
    return this.lines[this.#at.get(key) ?? -1]
  }
}

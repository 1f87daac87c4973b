import type { ComponentChildren } from 'preact'
import type { ApiError } from '../lib/api.ts'
import { Icon } from './icons.tsx'

/** The heading of a page, with what can be done on the whole of it. */
export function PageHead({
  title,
  about,
  children,
}: {
  title: ComponentChildren
  about?: ComponentChildren
  children?: ComponentChildren
}) {
  return (
    <header class="page-head">
      <div>
        <h1>{title}</h1>
        {about !== undefined && <p class="about">{about}</p>}
      </div>
      {children !== undefined && <div class="actions">{children}</div>}
    </header>
  )
}

export function Card({
  title,
  aside,
  children,
  class: more = '',
}: {
  title?: ComponentChildren
  aside?: ComponentChildren
  children: ComponentChildren
  class?: string
}) {
  return (
    <section class={`card ${more}`}>
      {title !== undefined && (
        <header>
          <h2>{title}</h2>
          {aside !== undefined && <div class="aside">{aside}</div>}
        </header>
      )}
      {children}
    </section>
  )
}

/** Where there is nothing to show: what would be here, and what to do next. */
export function Empty({ title, children }: { title: ComponentChildren; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children !== undefined && <div>{children}</div>}
    </div>
  )
}

/** A request has failed. What was fetched before may still be shown below. */
export function Failed({ error, retry }: { error: ApiError | undefined; retry?: () => void }) {
  if (error === undefined) return null
  return (
    <div class="failed" role="alert">
      <Icon name="warning" />
      <p>{error.detail}</p>
      {retry !== undefined && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  )
}

export const Loading = () => (
  <p class="loading" role="status">
    Loading …
  </p>
)

/** Names and values, one below the other. Values that are undefined or null are left out. */
export function Fields({
  children,
}: {
  children: readonly (readonly [name: ComponentChildren, value: ComponentChildren] | false)[]
}) {
  return (
    <dl class="fields">
      {children.map((each, i) => {
        if (each === false || each[1] === undefined || each[1] === null) return null
        return (
          // The fields of a page are always the same.
          <div key={i}>
            <dt>{each[0]}</dt>
            <dd>{each[1]}</dd>
          </div>
        )
      })}
    </dl>
  )
}

/** One figure, large. */
export function Figure({
  label,
  value,
  unit,
  tone = '',
  children,
}: {
  label: string
  value: ComponentChildren
  unit?: string
  tone?: string
  children?: ComponentChildren
}) {
  return (
    <div class={`figure ${tone}`}>
      <span class="figure-label">{label}</span>
      <span class="figure-value">
        {value}
        {unit !== undefined && <small> {unit}</small>}
      </span>
      {children !== undefined && <span class="figure-more">{children}</span>}
    </div>
  )
}

/** A choice among a few. */
export function Select<T extends string>({
  label,
  value,
  options,
  onChange,
}: {
  label: string
  value: T
  options: readonly (readonly [value: T, text: string])[]
  onChange: (value: T) => void
}) {
  return (
    <label class="field">
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value as T)}>
        {options.map(([each, text]) => (
          <option key={each} value={each}>
            {text}
          </option>
        ))}
      </select>
    </label>
  )
}

/** `/` focuses the first one of a page. */
export function Search({
  label,
  value,
  placeholder,
  onInput,
}: {
  label: string
  value: string
  placeholder?: string
  onInput: (value: string) => void
}) {
  return (
    <label class="field search">
      <span>{label}</span>
      <Icon name="search" />
      <input
        type="search"
        value={value}
        placeholder={placeholder}
        data-search
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
    </label>
  )
}

import { signal } from '@preact/signals'

const said = signal('')
let timer: ReturnType<typeof setTimeout> | undefined

/** Says for a few seconds that something is done; read out by screen readers. */
export function say(text: string): void {
  said.value = text
  clearTimeout(timer)
  timer = setTimeout(() => {
    said.value = ''
  }, 6000)
}

export const Said = () => (
  <div class={said.value === '' ? 'said' : 'said is-shown'} role="status" aria-live="polite">
    {said.value}
  </div>
)

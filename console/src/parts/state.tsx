/** States of clients and sensors: each has a colour, a shape and a word. */
export type State = 'connected' | 'disconnected' | 'active' | 'asleep' | 'awake' | 'lost'

export const ABOUT_STATE: Readonly<Record<State, string>> = {
  connected: 'connected now',
  active: 'does not sleep',
  asleep: 'its messages wait until it wakes',
  awake: 'is fetching its messages, and then sleeps again',
  lost: 'silent for longer than its keep alive or its sleep allows',
  disconnected: 'has left; its session is kept',
}

const SHAPES: Readonly<Record<State, string>> = {
  connected: 'M6 1.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9z',
  active: 'M6 1.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9z',
  asleep: 'M9.8 7.8A4.6 4.6 0 0 1 4.6 1.7a4.7 4.7 0 1 0 5.2 6.1z',
  awake: 'M6 .8 7.4 4.3 11.2 4.6 8.3 7 9.2 10.8 6 8.7 2.8 10.8 3.7 7 .8 4.6 4.6 4.3z',
  lost: 'M6 .9 11.4 10.6H.6z',
  disconnected: 'M6 1.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zm0 1.8a2.7 2.7 0 1 1 0 5.4 2.7 2.7 0 0 1 0-5.4z',
}

export function StateMark({ state }: { readonly state: State }) {
  return (
    <span class={`state is-${state}`} title={ABOUT_STATE[state]}>
      <svg viewBox="0 0 12 12" aria-hidden="true">
        <path d={SHAPES[state]} fill-rule="evenodd" />
      </svg>
      {state}
    </span>
  )
}

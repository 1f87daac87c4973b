/** Outlines of 20 by 20. */
const PATHS = {
  overview: 'M3 10h3l2-6 4 12 2-6h3',
  sensors: 'M10 12v5M6.5 15.5h7M7 10a4 4 0 0 1 6 0M4.5 7.5a7.5 7.5 0 0 1 11 0M10 12.2v0',
  clients: 'M3 5h14v8H3zM7 17h6M10 13v4',
  topics: 'M4 4v10a2 2 0 0 0 2 2h3M4 8h5M9 6h7v4H9zM9 14h7v4H9z',
  trace: 'M4 5h12M4 9h8M4 13h10M4 17h6',
  publish: 'M17 3 3 9l5 2.5L10.5 17zM8 11.5 17 3',
  notices: 'M10 3a4.5 4.5 0 0 0-4.5 4.5c0 4-1.5 5-1.5 6h12c0-1-1.5-2-1.5-6A4.5 4.5 0 0 0 10 3zM8.5 16.5a1.6 1.6 0 0 0 3 0',
  configuration: 'M4 6h6M14 6h2M4 14h2M10 14h6M12 4v4M8 12v4',
  users: 'M7.5 4a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM2.5 16.5a5 5 0 0 1 10 0M13 4.5a3 3 0 0 1 0 5.4M15 12.5a5 5 0 0 1 2.5 4',
  more: 'M4 6h12M4 10h12M4 14h12',
  close: 'M5 5l10 10M15 5L5 15',
  search: 'M9 4a5 5 0 1 0 0 10A5 5 0 0 0 9 4zM13 13l4 4',
  system: 'M3 4h14v9H3zM7 17h6M10 13v4',
  light:
    'M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 2v2M10 16v2M2 10h2M16 10h2M4.5 4.5l1.4 1.4M14.1 14.1l1.4 1.4M15.5 4.5l-1.4 1.4M5.9 14.1l-1.4 1.4',
  dark: 'M16 12A7 7 0 0 1 8 4a7 7 0 1 0 8 8z',
  logout: 'M8 4H4v12h4M12 7l3 3-3 3M15 10H8',
  up: 'M5 12l5-5 5 5',
  down: 'M5 8l5 5 5-5',
  right: 'M8 5l5 5-5 5',
  warning: 'M10 3 2.5 16.5h15zM10 8.5v4M10 14.6v0',
  check: 'M4 10.5l4 4 8-9',
  download: 'M10 3v9M6.5 9 10 12.5 13.5 9M4 16.5h12',
  copy: 'M7 7h9v10H7zM4 13V3h9',
  pause: 'M7 5v10M13 5v10',
  reload: 'M15.5 8A6 6 0 1 0 16 11M16 4v4h-4',
  undo: 'M4 8h8a4 4 0 0 1 0 8H8M7 5 4 8l3 3',
  play: 'M7 4.5v11l8-5.5z',
} as const

export type IconName = keyof typeof PATHS

/** Drawn beside a text that says the same. */
export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  )
}

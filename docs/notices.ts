import { NOTICES, type NoticeCode } from '../src/base/notice.ts'

/** The text of notices.md, from the table of notices: `npm run docs` writes it, and a test compares. */
export function noticesPage(): string {
  const codes = Object.keys(NOTICES) as NoticeCode[]
  return `${HEAD}\n${codes.map(row).join('\n')}\n`
}

const HEAD = `# Notices

<!-- Written by \`npm run docs\` from src/base/notice.ts: change it there. -->

A notice is one event that Roost reports: a limit reached, an error of a client, a change in the life of a session.
Each is a line in the log that begins with its code; with \`--log-format json\` its fields are fields of the line.
\`$SYS/broker/roost/notices/<code>\` counts them, and \`$SYS/broker/roost/limits/<limit>\` counts how often each limit
was reached.

In any 10 seconds at most \`log_rate\` lines of one code are written (at least 1000 of \`address-banned\`), followed by one line that
counts the rest, in all and for up to eight clients.

Fields: \`client\` is \`mqtt:<client id>\` or \`sn:<client id>\`; \`user\` is the user name that the client gave,
which may be unverified; \`peer\` is its network address; \`reason\` says what happened in plain words; \`limit\` is
the limit that was reached, by its key in [configuration.md](configuration.md); \`count\` says how many occurrences
one line stands for.

| code | level | fields | meaning | what to do |
|---|---|---|---|---|`

function row(code: NoticeCode): string {
  const { levels, fields, about, action } = NOTICES[code]
  return `| \`${code}\` | ${levels.join(', ')} | ${fields.join(', ')} | ${about} | ${action} |`
}

/** A configuration file with one bridge, `far`. `lines`: more of its settings. */
export const bridgeYaml = (address: string, topics: readonly string[], lines: readonly string[] = []): string =>
  [
    'bridges:',
    '  - name: far',
    `    address: ${address}`,
    '    topics:',
    ...topics.map((topic) => `      - '${topic}'`),
    ...lines.map((line) => `    ${line}`),
    '',
  ].join('\n')

/** Configuration of a gateway in front of a cluster at these ports. `lines`: more settings of `upstream`. */
export const gatewayYaml = (ports: readonly number[], lines: readonly string[] = []): string =>
  [
    'upstream:',
    `  targets: [${ports.map((port) => `mqtt://127.0.0.1:${port}`).join(', ')}]`,
    ...lines.map((line) => `  ${line}`),
    '',
  ].join('\n')

/** Topic ids of the gateway with this number, out of so many: no two gateways share one. */
export function topicIdsOf(i: number, gateways: number): string {
  const each = Math.floor(60_000 / gateways)
  return `${i * each + 1}-${(i + 1) * each}`
}

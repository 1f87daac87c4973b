import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { describeWithPromtool, promtool } from './promtool.ts'

const DEPLOY = fileURLToPath(new URL('../../deploy/prometheus/', import.meta.url))
const LABELS = 'instance="one", job="roost"'

/** By alert: what is measured every minute for an hour, and for which it fires at the end of it. */
const FIRING: Readonly<Record<string, readonly (readonly [metric: string, values: string])[]>> = {
  RoostDown: [['up{LABELS}', '1x30 0x30']],
  RoostStoreFailing: [['roost_notices_total{LABELS, code="store-full"}', '0x56 1x4']],
  RoostLimitNear: [
    ['roost_client_memory_bytes{LABELS, kind="sessions"}', '45x60'],
    ['roost_client_memory_bytes{LABELS, kind="messages"}', '50x60'],
    ['roost_client_memory_limit_bytes{LABELS}', '100x60'],
    ['roost_store_bytes{LABELS}', '85x60'],
    ['roost_store_max_bytes{LABELS}', '100x60'],
  ],
  RoostEventLoopLate: [
    ['roost_event_loop_delay_seconds_bucket{LABELS, le="0.1"}', '0+90x60'],
    ['roost_event_loop_delay_seconds_bucket{LABELS, le="0.5"}', '0+95x60'],
    ['roost_event_loop_delay_seconds_bucket{LABELS, le="+Inf"}', '0+100x60'],
  ],
  RoostSensorsLost: [
    ['roost_sensors{LABELS, state="lost"}', '5x60'],
    ['roost_sensors{LABELS, state="asleep"}', '35x60'],
  ],
  RoostBridgeDown: [
    ['roost_bridge_connected{LABELS, bridge="head"}', '1x30 0x30'],
    ['roost_bridge_wanted{LABELS, bridge="head"}', '1x60'],
  ],
  RoostUpstreamAway: [
    ['roost_upstream_away{LABELS, target="mqtt://one:1883"}', '0x30 1x30'],
    ['roost_upstream_away{LABELS, target="mqtt://two:1883"}', '1x60'],
  ],
  RoostMessagesDropped: [['roost_notices_total{LABELS, code="queue-full"}', '3x50 4x10']],
  RoostDatagramsDropped: [['roost_datagrams_dropped_total{LABELS, port="sn"}', '0x55 7x5']],
  RoostCertificateExpires: [['roost_certificate_expiry_timestamp_seconds{LABELS, listener="http"}', `${20 * 86_400}x60`]],
}

/** Each limit alone. */
const LIMITS: Readonly<Record<string, readonly (readonly [metric: string, values: string])[]>> = {
  max_data_bytes: [
    ['roost_store_bytes{LABELS}', '95x60'],
    ['roost_store_max_bytes{LABELS}', '100x60'],
  ],
  open_files: [
    ['process_open_fds{LABELS}', '950x60'],
    ['process_max_fds{LABELS}', '1000x60'],
  ],
}

/** A failure is reported once, and lasts. */
const LASTING: readonly (readonly [metric: string, values: string])[] = [
  ['roost_notices_total{LABELS, code="store-failed"}', '0x30 1x30'],
  ['roost_ready{LABELS}', '1x30 0x30'],
]

/** The same where nothing is wrong. */
const QUIET: readonly (readonly [metric: string, values: string])[] = [
  ['up{LABELS}', '1x60'],
  // It has been restarted, and restores its state.
  ['roost_ready{LABELS}', '1x54 _ 0x3'],
  ['roost_notices_total{LABELS, code="store-full"}', '4x60'],
  ['roost_notices_total{LABELS, code="client-lost"}', '0+1x60'],
  ['roost_notices_total{LABELS, code="queue-full"}', '3x60'],
  ['roost_store_bytes{LABELS}', '85x60'],
  ['roost_store_max_bytes{LABELS}', '100x60'],
  ['roost_client_memory_bytes{LABELS, kind="sessions"}', '45x60'],
  ['roost_client_memory_limit_bytes{LABELS}', '100x60'],
  ['roost_sensors{LABELS, state="lost"}', '3x60'],
  ['roost_sensors{LABELS, state="asleep"}', '1x60'],
  ['roost_upstream_away{LABELS, target="mqtt://one:1883"}', '0x60'],
  ['roost_upstream_away{LABELS, target="mqtt://two:1883"}', '1x60'],
  ['roost_datagrams_dropped_total{LABELS, port="sn"}', '7x60'],
  ['roost_event_loop_delay_seconds_bucket{LABELS, le="0.1"}', '0+100x60'],
  ['roost_event_loop_delay_seconds_bucket{LABELS, le="+Inf"}', '0+100x60'],
  ['roost_certificate_expiry_timestamp_seconds{LABELS, listener="http"}', `${40 * 86_400}x60`],
  ['process_open_fds{LABELS}', '850x60'],
  ['process_max_fds{LABELS}', '1000x60'],
]

/** Whether Prometheus fires the alert; the answer is in an error of promtool if it should not. */
function check(alert: string, series: readonly (readonly [string, string])[], isFiring: boolean): string {
  const dir = mkdtempSync(join(tmpdir(), 'roost-alerts-'))
  try {
    const inputs = series.map(([metric, values]) => ({ series: metric.replace('LABELS', LABELS), values: `${values}` }))
    const tests = [
      {
        interval: '1m',
        input_series: inputs,
        promql_expr_test: [
          {
            expr: `count(ALERTS{alertname="${alert}", alertstate="firing"}) or vector(0)`,
            eval_time: '1h',
            exp_samples: [{ labels: '{}', value: isFiring ? 1 : 0 }],
          },
        ],
      },
    ]
    // JSON is YAML.
    const file = { rule_files: [join(DEPLOY, 'alerts.yml')], evaluation_interval: '1m', tests }
    writeFileSync(join(dir, 'test.yml'), JSON.stringify(file))
    const { status, output } = promtool(['test', 'rules', join(dir, 'test.yml')])
    return status === 0 ? '' : output
  } finally {
    rmSync(dir, { recursive: true })
  }
}

describeWithPromtool('alerts', () => {
  test('promtool accepts the rules, and the configuration that names them', () => {
    expect(promtool(['check', 'config', join(DEPLOY, 'prometheus.yml')])).toMatchObject({
      status: 0,
      output: expect.stringContaining(`${Object.keys(FIRING).length} rules found`),
    })
  })

  test.each(Object.entries(FIRING))('%s fires', (alert, series) => {
    expect(check(alert, series, true)).toBe('')
  })

  test.each(Object.entries(LIMITS))('RoostLimitNear fires for %s alone', (_, series) => {
    expect(check('RoostLimitNear', series, true)).toBe('')
  })

  test('RoostStoreFailing fires as long as a failure lasts', () => {
    expect(check('RoostStoreFailing', LASTING, true)).toBe('')
  })

  test.each(Object.keys(FIRING))('%s does not fire where nothing is wrong', (alert) => {
    expect(check(alert, QUIET, false)).toBe('')
  })
})

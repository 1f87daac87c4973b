import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RoostEnd } from '../bridge/ends.ts'
import { OddBroker } from '../bridge/odd-broker.ts'
import { MqttJs } from '../interop/mqttjs.ts'
import { axe, PHONE, TestBrowser } from './browser.ts'

const WAITING = 12

const ends: (() => unknown)[] = []
let browser: TestBrowser
let url = ''
beforeAll(async () => {
  const far = await RoostEnd.start()
  ends.push(() => far.stop())
  const strict = await OddBroker.start({ connack: () => ({ reasonCode: 0x86 }) })
  ends.push(() => strict.stop())
  const yaml = `
bridges:
  - {name: head-office, address: "mqtt://127.0.0.1:${far.port}", topics: ["sensors/# out 1"]}
  - {name: refused, address: "mqtt://127.0.0.1:${strict.port}", username: u, password: wrong, topics: ["a/# out 1"]}
  - {name: unreachable-with-a-rather-long-name, address: "mqtt://127.0.0.1:1", topics: ["backlog/# out 1"]}
  - {name: modem, address: "mqtt://127.0.0.1:1", start_type: lazy, threshold: 3, topics: ["lazy/# out 1"]}
`
  const roost = await RoostEnd.start(yaml, '--http', 'true', '--http-port', '0')
  ends.push(() => roost.stop())
  url = `http://127.0.0.1:${roost.process!.httpPort}/#/overview`
  const js = await MqttJs.connect(roost.port, {})
  for (let i = 0; i < WAITING; i++) await js.client.publishAsync('backlog/a', 'waits', { qos: 1 })
  await js.client.endAsync()
  browser = await TestBrowser.launch()
}, 120_000)
afterAll(async () => {
  await browser?.close()
  for (const end of ends.splice(0).reverse()) await end()
})

/** The text of the card, bridge by bridge, once all have been tried. */
async function card(page: Page): Promise<string[]> {
  const lines = page.locator('section.card', { has: page.getByText('Bridges', { exact: true }) }).locator('li')
  await expect
    .poll(async () => (await lines.allTextContents()).join('\n'), { timeout: 20_000 })
    .toMatch(/user ?name or password/i)
  return lines.allTextContents()
}

test.for([
  ['light', { theme: 'light' }],
  ['dark', { theme: 'dark' }],
  ['on a phone', { theme: 'light', size: PHONE }],
] as const)('which bridges are connected, why the others are not, and what waits (%s)', { timeout: 60_000 }, async ([, view]) => {
  const page = await browser.open(url, view)
  const [office, refused, unreachable, modem] = await card(page)
  expect(office).toMatch(/^head-office.*connected.*MQTT 5\.0.*1 attempt to connect.*nothing waits/)
  expect(refused).toMatch(/^refused.*not connected.*last error: CONNECT is refused/)
  expect(unreachable).toMatch(new RegExp(`^unreachable.*not connected.*${WAITING} messages.*the oldest for.*ECONNREFUSED`))
  expect(modem).toMatch(/^modem.*idle.*0 attempts to connect/)
  expect(await axe(page)).toEqual([])
  expect(await page.evaluate('document.documentElement.scrollWidth > innerWidth')).toBe(false)
  expect(browser.faults).toEqual([])
  await page.close()
})

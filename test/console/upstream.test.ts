import { afterAll, beforeAll, expect, test } from 'vitest'
import { RoostEnd } from '../bridge/ends.ts'
import { OddBroker } from '../bridge/odd-broker.ts'
import { gatewayYaml } from '../cluster/gateway-yaml.ts'
import { ScriptedSensor } from '../cluster/scripted-sensor.ts'
import { axe, TestBrowser } from './browser.ts'

const ends: (() => unknown)[] = []
let browser: TestBrowser
let url = ''
let snPort = 0
beforeAll(async () => {
  const cluster = await OddBroker.start()
  ends.push(() => cluster.stop())
  const yaml = gatewayYaml([1, cluster.port])
  const gateway = await RoostEnd.start(yaml, '--http', 'true', '--http-port', '0')
  ends.push(() => gateway.stop())
  snPort = gateway.snPort
  const sensor = await ScriptedSensor.open(gateway.snPort, { clientId: 'valve' })
  ends.push(() => sensor.close())
  await sensor.connectAtLast()
  url = `http://127.0.0.1:${gateway.process!.httpPort}/#/`
  browser = await TestBrowser.launch()
}, 120_000)
afterAll(async () => {
  await browser?.close()
  for (const end of ends.splice(0).reverse()) await end()
})

test('which targets can be reached, and where the session of a sensor is', { timeout: 60_000 }, async () => {
  const page = await browser.open(`${url}overview`)
  const card = page.locator('section.card', { has: page.getByText('Cluster', { exact: true }) })
  await expect.poll(() => card.textContent()).toMatch(/Cluster1 connection.*Sensors: 1 connected, 0 connecting/)
  const [nobody, there] = await card.locator('li').allTextContents()
  expect(nobody).toMatch(/^mqtt:\/\/127\.0\.0\.1:1(cannot be reached|away).*0 connections.*ECONNREFUSED/)
  expect(there).toMatch(/^mqtt:\/\/127\.0\.0\.1:\d+up for .*MQTT 5\.0.*1 connection;/)
  expect(await axe(page)).toEqual([])
  await page.goto(`${url}sensors/sn%3Avalve`)
  await expect.poll(() => page.locator('body').textContent()).toMatch(/Clusterconnected, mqtt:\/\/127\.0\.0\.1:\d{2,}/)
  expect(browser.faults).toEqual([])
})

test('a clean sensor is disconnected, and its session ends with that', { timeout: 60_000 }, async () => {
  const sensor = await ScriptedSensor.open(snPort, { clientId: 'pump', cleanSession: true })
  ends.push(() => sensor.close())
  await sensor.connectAtLast()
  const page = await browser.open(`${url}sensors/sn%3Apump`)
  const dialog = page.getByRole('dialog')
  await page.getByRole('button', { name: 'Disconnect' }).click()
  await expect.poll(() => dialog.textContent()).toContain('Its session ends with the connection.')
  await dialog.getByRole('button', { name: /^Disconnect/ }).click()
  await sensor.until('disconnected')
  await expect.poll(() => page.locator('body').textContent()).toContain('pump is disconnected')
  expect(browser.faults).toEqual([])
})

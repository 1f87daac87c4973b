import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const DEMO = fileURLToPath(new URL('../../../deploy/demo.mjs', import.meta.url))

test('npm run demo: the console answers, sensors report, and everything ends together', async () => {
  const flags = ['--sensors', '3', '--sleep', '1s', '--loss', '0', '--duration', '2s']
  const demo = spawn(process.execPath, [DEMO, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  let err = ''
  let page: Promise<string> | undefined
  demo.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
    const url = /^console: (\S+)$/m.exec(out)?.[1]
    if (url !== undefined) page ??= fetch(url).then((response) => response.text())
  })
  demo.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  const [code] = await once(demo, 'close')
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(await page).toContain('<title>Roost')
  expect(out).toMatch(/^every message: mosquitto_sub -p \d+ /m)
  expect(out).toMatch(/^readings: {8}\d+ published, [1-9]\d* acknowledged, 0 given up$/m)
}, 30_000)

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'vitest'
import { PHONE, TestBrowser } from './browser.ts'
import { Site } from './site.ts'

const FOLDER = process.env.OUT ?? 'screenshots'

/** Pages, by the name of the picture. */
const PAGES = {
  overview: '#/overview',
  sensors: '#/sensors',
  sensor: '#/sensors/sn%3Asensor-07',
  clients: '#/clients',
  client: '#/clients/mqtt%3Ahome-assistant',
  topics: '#/topics',
  message: '#/topics?topic=site%2Fvalve%2F1',
  trace: '#/trace',
  publish: '#/publish',
  notices: '#/notices',
  users: '#/users',
  configuration: '#/configuration',
} as const
/** Milliseconds until charts have something to show. */
const WATCHED_MS = Number(process.env.WATCHED_MS ?? 8000)

// Not a test, but it needs what the tests need: `npm run console:screenshots`.
test('a screenshot of each page, in both themes and at the width of a phone', { timeout: 600_000 }, async () => {
  mkdirSync(FOLDER, { recursive: true })
  const site = await Site.open()
  const browser = await TestBrowser.launch()
  try {
    const stop = site.live()
    const views = { light: {}, dark: { theme: 'dark' }, phone: { size: PHONE } } as const
    for (const [view, settings] of Object.entries(views)) {
      const page = await browser.open(`${site.url}/`, settings)
      await page.waitForTimeout(WATCHED_MS)
      for (const [name, hash] of Object.entries(PAGES)) {
        await page.goto(`${site.url}/${hash}`)
        await page.waitForTimeout(1500)
        if (name === 'topics') await page.getByRole('treeitem').first().press('ArrowRight')
        await page.waitForTimeout(500)
        await page.screenshot({ path: join(FOLDER, `${name}-${view}.png`), fullPage: view === 'phone' })
      }
      await page.close()
    }
    stop()
  } finally {
    await browser.close()
    await site.close()
  }
})

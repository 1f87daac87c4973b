import { test } from 'vitest'
import { PHONE, TestBrowser } from './browser.ts'
import { Site } from './site.ts'

const SENSORS = Number(process.env.SENSORS ?? 10_000)
const SCROLLS = 40

// Not a test, but it needs what the tests need: `npm run bench:console`.
test(`the console with ${SENSORS} sensors`, { timeout: 300_000 }, async () => {
  const site = await Site.open()
  const browser = await TestBrowser.launch()
  try {
    await site.crowd(SENSORS)
    for (const [name, view] of Object.entries({ desktop: {}, phone: { size: PHONE } })) {
      const page = await browser.open(`${site.url}/`, view)
      await page.locator('.figure-value').first().waitFor()
      // By the page's own clock: the first figures are drawn in the frame after this.
      const firstMs = await page.evaluate<number>('performance.now()')
      await page.goto(`${site.url}/#/sensors`)
      await page.locator('tbody tr[data-row]').first().waitFor()
      for (let i = 0; i < SCROLLS; i++) {
        await page.mouse.wheel(0, 6000)
        await page.waitForTimeout(50)
      }
      await page.locator('[data-search]').fill(`crowd-${String(SENSORS - 1).padStart(5, '0')}`)
      await page.locator('tbody tr[data-row]').nth(1).waitFor({ state: 'detached' })
      const longTasks = await page.evaluate<number[]>('window.longTasks')
      const heap = await page.evaluate<number>('performance.memory.usedJSHeapSize')
      process.stdout.write(
        `${name}: first figures after ${Math.round(firstMs)} ms; ${longTasks.length} long tasks, the longest ${Math.max(0, ...longTasks)} ms; heap ${(heap / 2 ** 20).toFixed(1)} MiB\n`,
      )
      await page.close()
    }
  } finally {
    await browser.close()
    await site.close()
  }
})

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
      const firstMs = await page.evaluate<number>('window.firstFigures')
      const marks: string[] = []
      const mark = async (name: string) =>
        marks.push(`${name} until ${Math.round(await page.evaluate<number>('performance.now()'))}`)
      await mark('overview')
      await page.goto(`${site.url}/#/sensors`)
      await page.locator('tbody tr[data-row]').first().waitFor()
      await page
        .getByText(String(SENSORS + 42).replace(/(?=\d{3}$)/, ','))
        .first()
        .waitFor()
      await page.waitForTimeout(2000)
      await mark('list')
      for (let i = 0; i < SCROLLS; i++) {
        await page.mouse.wheel(0, 6000)
        await page.waitForTimeout(50)
      }
      await mark('scrolling')
      await page.locator('[data-search]').fill(`crowd-${String(SENSORS - 1).padStart(5, '0')}`)
      await page.locator('tbody tr[data-row]').nth(1).waitFor({ state: 'detached' })
      await mark('search')
      const longTasks = await page.evaluate<{ startTime: number; duration: number }[]>('window.longTasks')
      const heap = await page.evaluate<number>('performance.memory.usedJSHeapSize')
      const longest = longTasks.toSorted((a, b) => b.duration - a.duration).slice(0, 8)
      process.stdout.write(
        `${name}: first figures after ${Math.round(firstMs)} ms; ${longTasks.length} long tasks, the longest ${longest
          .map(({ startTime, duration }) => `${duration} ms at ${Math.round(startTime)}`)
          .join(', ')} (${marks.join(', ')}); heap ${(heap / 2 ** 20).toFixed(1)} MiB\n`,
      )
      await page.close()
    }
  } finally {
    await browser.close()
    await site.close()
  }
})

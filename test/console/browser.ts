import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'

const PROGRAM = process.env.CHROMIUM ?? '/usr/bin/chromium'
/** Nothing of what a browser asks the network for by itself. */
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync']
const QUIET = ['--disable-background-networking', '--disable-component-update']
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Runs in each page before its own scripts: keeps long tasks and the time of the first figures in milliseconds, and what the Content Security Policy has refused. */
const WATCH = `
  window.longTasks = []
  window.refused = []
  new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map(({ startTime, duration }) => ({ startTime, duration }))))
    .observe({ entryTypes: ['longtask'] })
  new MutationObserver((_, observer) => {
    if (document.querySelector('.figure-value') === null) return
    window.firstFigures = performance.now()
    observer.disconnect()
  }).observe(document, { childList: true, subtree: true })
  addEventListener('securitypolicyviolation', (event) => window.refused.push(event.violatedDirective + ' ' + event.blockedURI))
`

export const DESKTOP = { width: 1280, height: 800 }
export const PHONE = { width: 375, height: 740 }

export interface View {
  readonly theme?: 'light' | 'dark'
  readonly size?: { readonly width: number; readonly height: number }
}

/** Chromium, and what went wrong in its pages. */
export class TestBrowser {
  readonly #browser: Browser
  readonly #contexts: BrowserContext[] = []
  /** Errors of scripts, violations of the Content Security Policy, and requests that left the machine. */
  readonly faults: string[] = []

  private constructor(browser: Browser) {
    this.#browser = browser
  }

  static async launch(): Promise<TestBrowser> {
    return new TestBrowser(await chromium.launch({ executablePath: PROGRAM, args: [...FLAGS, ...QUIET] }))
  }

  /** Opens an address in a profile of its own. */
  async open(url: string, { theme = 'light', size = DESKTOP }: View = {}): Promise<Page> {
    const context = await this.#browser.newContext({ colorScheme: theme, viewport: size, reducedMotion: 'reduce' })
    this.#contexts.push(context)
    await context.addInitScript(WATCH)
    const page = await context.newPage()
    const { origin } = new URL(url)
    page.on('pageerror', (error) => this.faults.push(`${page.url()}: ${error.message}`))
    page.on('console', (message) => {
      if (message.type() === 'error') this.faults.push(`${page.url()}: ${message.text()}`)
    })
    page.on('request', (request) => {
      if (!request.url().startsWith(origin) && !request.url().startsWith('data:') && !request.url().startsWith('blob:'))
        this.faults.push(`${page.url()}: request to ${request.url()}`)
    })
    await page.goto(url)
    return page
  }

  async close(): Promise<void> {
    await this.#browser.close()
  }
}

interface Found {
  readonly id: string
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[]
}

/** What axe-core finds on the page: its rule, and the element. */
export async function axe(page: Page): Promise<string[]> {
  await page.evaluate(AXE)
  const found = await page.evaluate<readonly Found[]>('axe.run().then(({ violations }) => violations)')
  return found.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`))
}

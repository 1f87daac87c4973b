import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'

const PROGRAM = process.env.CHROMIUM ?? '/usr/bin/chromium'
/** Nothing of what a browser asks the network for by itself. */
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync']
const QUIET = ['--disable-background-networking', '--disable-component-update']
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

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
    // Long tasks, and what the policy has kept from happening.
    await context.addInitScript(() => {
      Object.assign(window, { longTasks: [] as number[], refused: [] as string[] })
      const { longTasks, refused } = window as unknown as { longTasks: number[]; refused: string[] }
      new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((task) => task.duration))).observe({
        entryTypes: ['longtask'],
      })
      addEventListener('securitypolicyviolation', (event) => refused.push(`${event.violatedDirective} ${event.blockedURI}`))
    })
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

/** What axe-core finds on the page: its rule, and the elements. */
export async function axe(page: Page): Promise<string[]> {
  await page.evaluate(AXE)
  return page.evaluate(async () => {
    interface Found {
      readonly id: string
      readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[]
    }
    const { axe } = window as unknown as { axe: { run(): Promise<{ readonly violations: readonly Found[] }> } }
    const { violations } = await axe.run()
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`))
  })
}

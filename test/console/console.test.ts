import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hashPassword } from '../../src/access/io/password-hash.ts'
import { MqttJs } from '../interop/mqttjs.ts'
import { StartedProcess } from '../interop/started-process.ts'
import { axe, PHONE, TestBrowser } from './browser.ts'
import { MARKUP, MARKUP_ID, Site } from './site.ts'

const PAGES = ['overview', 'sensors', 'clients', 'topics', 'trace', 'publish', 'notices', 'users', 'configuration'] as const
const DETAILS = [
  'sensors/sn%3Asensor-07',
  `sensors/${encodeURIComponent(`sn:${MARKUP_ID}`)}`,
  `clients/${encodeURIComponent(`mqtt:${MARKUP}`)}`,
  'clients/mqtt%3Ahome-assistant',
  'topics?topic=site%2Fplan',
  'topics?topic=site%2Fimage',
]

let site: Site
let browser: TestBrowser
beforeAll(async () => {
  site = await Site.open()
  browser = await TestBrowser.launch()
}, 120_000)
afterAll(async () => {
  await browser?.close()
  await site?.close()
})

/** Goes to a page of the console, and waits until it shows more than its frame. */
async function visit(page: Page, hash: string, url = site.url): Promise<void> {
  await page.goto(`${url}/#/${hash}`)
  await page.locator('main h1').waitFor()
  await expect.poll(() => page.locator('main .loading').count()).toBe(0)
}

describe.each([
  ['light', { theme: 'light' }],
  ['dark', { theme: 'dark' }],
  ['on a phone', { theme: 'light', size: PHONE }],
] as const)('every page, %s', (_, view) => {
  test('shows what it has, without a finding of axe-core, a fault, or a row that is too wide', { timeout: 180_000 }, async () => {
    const page = await browser.open(`${site.url}/`, view)
    for (const hash of [...PAGES, ...DETAILS]) {
      await visit(page, hash)
      expect({ hash, found: await axe(page) }).toEqual({ hash, found: [] })
      const tooWide = await page.evaluate('document.documentElement.scrollWidth > innerWidth')
      expect({ hash, tooWide }).toEqual({ hash, tooWide: false })
    }
    const { broken, refused } = await page.evaluate<Record<string, unknown>>(
      '({ broken: window.broken, refused: window.refused })',
    )
    expect({ broken, refused }).toEqual({ broken: undefined, refused: [] })
    expect(browser.faults).toEqual([])
    await page.close()
  })
})

describe('five questions', () => {
  let page: Page
  beforeAll(async () => {
    page = await browser.open(`${site.url}/`)
  })
  afterAll(() => page.close())

  test('which sensors are lost', async () => {
    await visit(page, 'sensors')
    await page
      .getByRole('link', { name: /^lost/ })
      .or(page.getByRole('button', { name: /^lost/ }))
      .first()
      .click()
    const names = page.locator('tbody tr[data-row] a.row-link')
    const lost = ['sensor-04', 'sensor-09', 'sensor-14', 'sensor-19', 'sensor-24', 'sensor-29', 'sensor-34', 'sensor-39']
    await expect.poll(async () => (await names.allTextContents()).toSorted(), { timeout: 10_000 }).toEqual(lost)
  })

  test('what waits for sensor 7, and why it does not get it', async () => {
    await visit(page, 'sensors/sn%3Asensor-07')
    const text = page.locator('main')
    await expect.poll(() => text.textContent()).toContain('asleep: 20 messages wait until it wakes')
    expect(await text.textContent()).toContain('queue is full')
    expect(await page.getByRole('link', { name: 'site/sensor-07/command' }).count()).toBeGreaterThan(5)
  })

  test('why would a sensor not get a message on a topic', async () => {
    await visit(page, 'sensors/sn%3Asensor-05')
    const field = page.getByLabel('Why not those on this topic?')
    await field.fill('site/valve/1')
    await field.press('Enter')
    await expect.poll(() => page.locator('.reasons').textContent()).toContain('No subscription matches site/valve/1')
    await page.getByRole('button', { name: 'All topics' }).click()
    await expect.poll(() => page.locator('.reasons').textContent()).not.toContain('site/valve/1')
    expect(await axe(page)).toEqual([])
  })

  test('is the radio full', async () => {
    await visit(page, 'overview')
    await expect.poll(() => page.locator('main').textContent()).toMatch(/field.*full.*% used/)
    await visit(page, 'sensors/sn%3Afar-01')
    await expect.poll(() => page.locator('main').textContent()).toMatch(/airtime/)
  })

  test('who changed that retained message', async () => {
    await visit(page, 'topics')
    const tree = page.getByRole('tree')
    await tree.getByRole('treeitem').first().focus()
    // By keyboard alone: open `site`, and go to `valve` and its first message.
    await page.keyboard.press('ArrowRight')
    await tree.getByRole('treeitem', { name: /valve/ }).waitFor()
    await page.keyboard.press('End')
    await page.keyboard.press('ArrowRight')
    await expect.poll(() => tree.getByRole('treeitem').count()).toBe(7)
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Enter')
    await expect.poll(() => page.locator('main').textContent()).toMatch(/open/)
    expect(await page.locator('main').textContent()).toContain('home-assistant')
  })
})

describe('what one can do', () => {
  let page: Page
  beforeAll(async () => {
    page = await browser.open(`${site.url}/`)
  })
  afterAll(() => page.close())

  test('/ goes to the search field, and a search leaves what matches', async () => {
    await visit(page, 'sensors')
    await page.keyboard.press('/')
    await page.keyboard.type('sensor-3')
    await expect.poll(() => page.locator('tbody tr[data-row]').count()).toBe(10)
  })

  test('publish, read it in the tree, delete it, and undo that', async () => {
    await visit(page, 'publish')
    await page.getByLabel('Topic', { exact: true }).fill('site/lamp')
    await page.locator('textarea').first().fill('on')
    await page.getByLabel('Retain').check()
    await page.getByRole('button', { name: 'Publish', exact: true }).click()
    await page.locator('.done').waitFor()
    await visit(page, 'topics?topic=site%2Flamp')
    await expect.poll(() => page.locator('main').textContent()).toContain('on')
    await page
      .getByRole('button', { name: /^Delete/ })
      .first()
      .click()
    await page
      .getByRole('dialog')
      .getByRole('button', { name: /^Delete/ })
      .click()
    await expect.poll(async () => (await fetch(`${site.url}/api/v1/retained/site%2Flamp`)).status).toBe(404)
    await page.getByRole('button', { name: /^Undo/ }).click()
    await expect.poll(async () => (await fetch(`${site.url}/api/v1/retained/site%2Flamp`)).status).toBe(200)
  })

  test('disconnect a client: it says first what that does', async () => {
    await site.client('to-be-disconnected')
    await visit(page, 'clients/mqtt%3Ato-be-disconnected')
    await page.getByRole('button', { name: 'Disconnect' }).click()
    const dialog = page.getByRole('dialog')
    expect(await dialog.textContent()).toMatch(/connection ends now/)
    await dialog.getByRole('button', { name: 'Cancel' }).click()
    expect((await fetch(`${site.url}/api/v1/clients/to-be-disconnected`)).status).toBe(200)
    await page.getByRole('button', { name: 'Disconnect' }).click()
    await dialog.getByRole('button', { name: /^Disconnect/ }).click()
    await expect.poll(async () => (await fetch(`${site.url}/api/v1/clients/to-be-disconnected`)).status).toBe(404)
  })

  test('a sensor is seen as it reports, falls asleep and wakes, without a reload', async () => {
    await visit(page, 'sensors/sn%3Asensor-05')
    await page.getByRole('button', { name: 'Show packets as they come' }).click()
    await page.getByText('Waiting for a packet').waitFor()
    const member = site.sensors.get('sensor-05')!
    await member.report('25.5')
    await expect.poll(() => page.locator('main').textContent(), { timeout: 10_000 }).toMatch(/PUBLISH.*PUBACK/)
    await member.sleep(600)
    await expect.poll(() => page.locator('main').textContent(), { timeout: 10_000 }).toMatch(/sensor-05\s*asleep/)
  })

  test('a trace of all clients is filtered, paused, and saved as pcap', async () => {
    await visit(page, 'trace?id=sensor-10')
    const member = site.sensors.get('sensor-10')!
    await expect
      .poll(
        async () => {
          await member.report('21.0')
          return page.locator('main').textContent()
        },
        { timeout: 10_000 },
      )
      .toMatch(/sensor-10.*PUBLISH/)
    await page.getByRole('button', { name: 'Pause' }).click()
    const download = page.waitForEvent('download')
    await page.getByRole('button', { name: 'Save pcap' }).click()
    expect((await download).suggestedFilename()).toMatch(/\.pcap$/)
  })
})

test('one event stream for each page', async () => {
  const page = await browser.open('about:blank')
  const streams: string[] = []
  page.on('request', (request) => {
    if (new URL(request.url()).pathname === '/api/v1/events') streams.push(request.url())
  })
  await visit(page, 'overview')
  for (const hash of ['sensors', 'notices', 'sensors/sn%3Asensor-07', 'overview']) await visit(page, hash)
  expect(streams).toHaveLength(1)
  await page.close()
})

test('a foreign Host or Origin gets nothing', async () => {
  const statusOf = (headers: Record<string, string>): Promise<number> =>
    new Promise((resolve, reject) => {
      request(`${site.url}/`, { headers }, (answer) => {
        answer.resume()
        resolve(answer.statusCode!)
      })
        .on('error', reject)
        .end()
    })
  expect(await statusOf({})).toBe(200)
  expect(await statusOf({ host: 'evil.example' })).toBeGreaterThanOrEqual(400)
  expect(await statusOf({ origin: 'https://evil.example' })).toBeGreaterThanOrEqual(400)
})

describe('markup is text', () => {
  const [client, sensor, topic] = [`mqtt:${MARKUP}`, `sn:${MARKUP_ID}`, `site/${MARKUP}`].map(encodeURIComponent)

  test.each([
    ['as a client id and a user name', 'clients', MARKUP, 2],
    ['on the page of a client', `clients/${client}`, MARKUP, 2],
    ['as the name of a sensor', 'sensors', MARKUP_ID, 1],
    ['on the page of a sensor', `sensors/${sensor}`, MARKUP_ID, 1],
    ['as a topic and a payload', `topics?topic=${topic}`, MARKUP, 3],
    ['in JSON', 'topics?topic=site%2Fplan', '<img src=x onerror=\\"window.broken=1\\">', 1],
    ['as a topic that is searched', `topics?q=${encodeURIComponent('<img')}`, MARKUP, 1],
    ['in notices', `notices?client=${encodeURIComponent(MARKUP)}`, MARKUP, 2],
    ['in a search that finds nothing', `sensors?q=${encodeURIComponent(MARKUP)}`, 'No sensor matches', 1],
    ['in a question about access', `users?client=${client}&topic=${topic}`, 'What may a client do?', 1],
  ])('%s', async (_, hash, text, times) => {
    const page = await browser.open(`${site.url}/`)
    await visit(page, hash)
    const timesShown = async (): Promise<number> => ((await page.locator('main').textContent()) ?? '').split(text).length - 1
    await expect.poll(timesShown, { timeout: 10_000 }).toBeGreaterThanOrEqual(times)
    expect(await page.locator('main img').count()).toBe(0)
    expect(await page.evaluate('window.broken')).toBeUndefined()
    await page.close()
  })

  test('in a trace', async () => {
    const page = await browser.open(`${site.url}/`)
    await visit(page, 'trace')
    const hub = await site.client('writer')
    const shown = async (): Promise<string | null> => {
      await hub.client.publishAsync(`site/${MARKUP}`, MARKUP)
      return page.locator('main').textContent()
    }
    await expect.poll(shown, { timeout: 10_000 }).toContain('<img src=x onerror=')
    await page.locator('.packet').last().click()
    expect(await page.locator('main img').count()).toBe(0)
    expect(await page.evaluate('window.broken')).toBeUndefined()
    await page.close()
  })
})

describe('users', () => {
  /** Buttons and links that would change something, by their names. */
  const CHANGING = /^(disconnect|end session|delete.*|publish here|reload files|add a user|set password)$/i
  const folder = mkdtempSync(join(tmpdir(), 'roost-console-users-'))
  let roost: StartedProcess
  let url: string
  let hub: MqttJs
  beforeAll(async () => {
    const lines = ['view', 'manage'].map(async (user) => `${user}:${await hashPassword(Buffer.from(`${user}-secret`), 1)}\n`)
    writeFileSync(join(folder, 'users'), (await Promise.all(lines)).join(''), { mode: 0o600 })
    roost = await StartedProcess.start(
      ...['--sn-port', '0', '--http-port', '0', '--memory'],
      ...['--http-password-file', join(folder, 'users'), '--http-managers', 'manage'],
    )
    url = `http://127.0.0.1:${roost.httpPort}`
    hub = await MqttJs.connect(roost.mqttPort, { clientId: 'pump' })
    await hub.client.publishAsync('site/valve', 'a secret payload', { qos: 1, retain: true })
  }, 60_000)
  afterAll(async () => {
    await hub?.client.endAsync(true)
    await roost?.stop()
    rmSync(folder, { recursive: true })
  })

  async function logIn(page: Page, user: string, password: string): Promise<void> {
    await page.getByLabel('User').fill(user)
    await page.getByLabel('Password').fill(password)
    await page.getByRole('button', { name: 'Log in', exact: true }).click()
  }

  /** What could be changed on a page. */
  async function changing(page: Page, hash: string): Promise<string[]> {
    await visit(page, hash, url)
    const names = await page.locator('main').locator('button, a.button').allTextContents()
    return names.map((name) => name.trim()).filter((name) => CHANGING.test(name))
  }

  test('a wrong password is refused, and a right one lets in, until the user logs out', { timeout: 30_000 }, async () => {
    const page = await browser.open(`${url}/#/sensors`)
    await logIn(page, 'view', 'wrong')
    const alert = page.getByRole('alert')
    await alert.waitFor()
    expect(await alert.textContent()).not.toBe('')
    expect(await axe(page)).toEqual([])
    await logIn(page, 'view', 'view-secret')
    // Where the address wanted to go.
    await page.getByRole('heading', { name: 'Sensors', level: 1 }).waitFor()
    expect(await page.locator('.who').textContent()).toContain('view')
    await page.reload()
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByLabel('Password').waitFor()
    await page.reload()
    await page.getByLabel('Password').waitFor()
    await page.close()
  })

  test('those who may view see no payload, and nothing that changes anything', { timeout: 30_000 }, async () => {
    const page = await browser.open(url)
    await logIn(page, 'view', 'view-secret')
    await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor()
    for (const hash of ['clients', 'clients/mqtt%3Apump', 'topics?topic=site%2Fvalve', 'publish', 'users', 'configuration'])
      expect({ hash, found: await changing(page, hash) }).toEqual({ hash, found: [] })
    expect(await page.locator('form, textarea').count()).toBe(0)
    await visit(page, 'topics?topic=site%2Fvalve', url)
    const text = page.locator('main')
    await expect.poll(() => text.textContent()).toContain('pump')
    expect(await text.textContent()).not.toContain('secret payload')
    await visit(page, 'trace', url)
    const traced = async (): Promise<string | null> => {
      await hub.client.publishAsync('site/level', 'a secret payload', { qos: 1 })
      return text.textContent()
    }
    await expect.poll(traced, { timeout: 10_000 }).toContain('site/level')
    expect(await text.textContent()).not.toContain('secret payload')
    expect(await text.getByLabel('Payloads').count()).toBe(0)
    expect(await axe(page)).toEqual([])
    await page.close()
  })

  test('those who may manage do', { timeout: 30_000 }, async () => {
    const page = await browser.open(url)
    await logIn(page, 'manage', 'manage-secret')
    await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor()
    expect(await changing(page, 'topics?topic=site%2Fvalve')).toEqual(['Publish here', 'Delete'])
    await expect.poll(() => page.locator('main').textContent()).toContain('a secret payload')
    expect(await changing(page, 'clients/mqtt%3Apump')).toEqual(['Disconnect', 'End session'])
    expect(await changing(page, 'configuration')).toEqual(['Reload files'])
    expect(await changing(page, 'users')).toContain('Add a user')
    await page.close()
  })
})

test('a banner says that the connection is lost, and goes when Roost is back', { timeout: 60_000 }, async () => {
  const flags = ['--sn-port', '0', '--memory']
  let roost = await StartedProcess.start(...flags, '--http-port', '0')
  const { httpPort } = roost
  const page = await browser.open(`http://127.0.0.1:${httpPort}/#/clients`)
  await page.getByText('No MQTT client has connected yet').waitFor()
  const banner = page.getByText('Connection lost, retrying.')
  expect(await banner.count()).toBe(0)
  await roost.stop()
  await banner.waitFor({ timeout: 15_000 })
  roost = await StartedProcess.start(...flags, '--http-port', String(httpPort))
  const js = await MqttJs.connect(roost.mqttPort, { clientId: 'returned' })
  await banner.waitFor({ state: 'detached', timeout: 20_000 })
  // What came meanwhile is shown without a reload.
  await page.getByRole('link', { name: 'returned' }).waitFor({ timeout: 10_000 })
  await page.close()
  await js.client.endAsync(true)
  await roost.stop()
})

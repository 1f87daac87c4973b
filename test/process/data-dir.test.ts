import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { defaultDataDir } from '../../src/process/data-dir.ts'

const dir = mkdtempSync(join(tmpdir(), 'roost-data-dir-'))
const [checkout, installed] = [join(dir, 'checkout'), join(dir, 'installed')]
mkdirSync(join(checkout, 'src'), { recursive: true })
mkdirSync(join(installed, 'dist'), { recursive: true })
afterAll(() => rmSync(dir, { recursive: true }))

const home = () => '/home/ann'
const of = (root: string, env: Record<string, string>, uid: number | undefined = 1000) => defaultDataDir({ root, env, uid, home })

describe('the data directory where no option names one', () => {
  test('a checkout keeps it in the working directory, for every user', () => {
    expect(of(checkout, {})).toBe('roost-data')
    expect(of(checkout, { XDG_STATE_HOME: '/state' }, 0)).toBe('roost-data')
  })

  test('installed: that of the machine for root, that of the user for others', () => {
    expect(of(installed, { XDG_STATE_HOME: '/state' }, 0)).toBe('/var/lib/roost')
    expect(of(installed, {})).toBe('/home/ann/.local/state/roost')
    expect(of(installed, { XDG_STATE_HOME: '/state' })).toBe('/state/roost')
    expect(of(installed, { XDG_STATE_HOME: 'relative' })).toBe('/home/ann/.local/state/roost')
    expect(of(installed, {}, undefined)).toBe('/home/ann/.local/state/roost')
  })

  test("systemd's StateDirectory comes first", () => {
    const env = { STATE_DIRECTORY: '/var/lib/one:/var/lib/two' }
    for (const root of [checkout, installed]) expect(of(root, env)).toBe('/var/lib/one')
    expect(of(installed, { STATE_DIRECTORY: '' }, 0)).toBe('/var/lib/roost')
  })
})

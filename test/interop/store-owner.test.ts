import { cpSync, existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { expectMessages, NumberedPublisher, publishAll, type ServedStore, StoreSite } from './store-site.ts'

vi.setConfig({ testTimeout: 60_000 })

let site: StoreSite
beforeEach(() => {
  site = new StoreSite()
})
afterEach(() => site.end())

const path = (name: string): string => join(site.dir, name)

let other: NumberedPublisher

/** A process with a session that is away, and two publishers; what the first one has sent is acknowledged. */
async function startWithMessages(count = 20): Promise<[ServedStore, NumberedPublisher]> {
  const roost = await site.start()
  await site.subscribeAway(roost, 'away')
  const publisher = new NumberedPublisher(await site.connect(roost, 'publisher'))
  other = new NumberedPublisher(await site.connect(roost, 'other'))
  await publishAll(publisher, count)
  return [roost, publisher]
}

describe('one owner', () => {
  test('a second process is refused with the pid of the first, whatever became of it but its end', async () => {
    const [roost, publisher] = await startWithMessages()
    const refused = `store ${site.dir}: process ${roost.child.pid} uses it (--data-dir)`
    expect(await site.refused()).toBe(refused)
    rmSync(path('roost.lock'))
    expect(await site.refused()).toBe(refused)
    roost.child.kill('SIGSTOP')
    expect(await site.refused()).toBe(refused)
    roost.child.kill('SIGCONT')
    await publishAll(publisher, 20)
    expect(roost.storeLines).toEqual([])
    await roost.stop('SIGKILL')
    await expectMessages(site, await site.start(), publisher.acknowledged)
  })

  test('of several processes that start at the same time one gets the store', async () => {
    for (const _time of ['a new one', 'one whose process was killed']) {
      const started = await Promise.all(Array.from({ length: 3 }, () => site.tryStart()))
      const running = started.filter((each) => typeof each !== 'string')
      expect(running).toHaveLength(1)
      const refused = `store ${site.dir}: (another process|process ${running[0]!.child.pid}) uses it \\(--data-dir\\)`
      for (const each of started) if (typeof each === 'string') expect(each).toMatch(new RegExp(`^${refused}$`))
      await running[0]!.stop('SIGKILL')
    }
  })
})

/** Reason code of a refused publication. */
const QUOTA_EXCEEDED = 0x97

/** Publishes a message that is not acknowledged: one line of the log has to say why. Returns its answer, which may come later. */
async function publishLost(
  roost: ServedStore,
  publisher: NumberedPublisher,
  reason: string,
): Promise<{ answer: Promise<number> }> {
  const { size } = publisher.acknowledged
  const before = roost.storeLines
  const answer = publisher.publish()
  const line = `error store-failed: ${reason} while it was in use; nothing is acknowledged until it works again`
  await roost.logged(line)
  expect(await other.publish()).toBe(QUOTA_EXCEEDED)
  expect(publisher.acknowledged.size).toBe(size)
  expect(roost.storeLines).toEqual([...before, line])
  return { answer }
}

const move = (from: string, to: string): (() => void) => {
  renameSync(from, to)
  return () => renameSync(to, from)
}

describe('files of a running store', () => {
  test('nothing is acknowledged while one of them is moved away or replaced, and work goes on when it is back', async () => {
    const [roost, publisher] = await startWithMessages()
    cpSync(path('roost.db'), path('older'))
    await publishAll(publisher, 20)
    const lose: [reason: string, lose: () => () => void][] = [
      [`${site.dir} has been removed`, () => move(site.dir, `${site.dir}.away`)],
      [`${path('roost.db')} has been removed`, () => move(path('roost.db'), path('away'))],
      [`${path('roost.db-wal')} has been removed`, () => move(path('roost.db-wal'), path('away'))],
      [
        `${path('roost.db')} has been replaced`,
        () => {
          const back = move(path('roost.db'), path('newer'))
          renameSync(path('older'), path('roost.db'))
          return back
        },
      ],
    ]
    for (const [i, [reason, away]] of lose.entries()) {
      const back = away()
      const { answer } = await publishLost(roost, publisher, reason)
      back()
      expect(await answer).toBe(0)
      await roost.until(() => roost.storeLines.length === 2 * (i + 1))
      expect(roost.storeLines.at(-1)).toBe('warn store-recovered: the store works again')
      await publishAll(publisher, 20)
    }
    await roost.stop('SIGKILL')
    await expectMessages(site, await site.start(), publisher.acknowledged)
  })

  test('the database is removed: the next start is refused, because it would be empty', async () => {
    const [roost, publisher] = await startWithMessages()
    rmSync(path('roost.db'))
    await publishLost(roost, publisher, `${path('roost.db')} has been removed`)
    await roost.stop()
    expect(await site.refused()).toMatch(/: roost.db is missing, and roost.db-(wal|shm) is there\. .* see roost store check/)
  })

  test('the WAL is removed: what was acknowledged before is in the database', async () => {
    const [roost, publisher] = await startWithMessages()
    rmSync(path('roost.db-wal'))
    const { size } = publisher.acknowledged
    await publishLost(roost, publisher, `${path('roost.db-wal')} has been removed`)
    await roost.stop('SIGKILL')
    expect(size).toBe(20)
    // The one that was not acknowledged is there as well, which it may be.
    await expectMessages(site, await site.start(), [...publisher.acknowledged, size + 1])
  })

  test('another directory is put in its place', async () => {
    const [roost, publisher] = await startWithMessages()
    cpSync(site.dir, `${site.dir}.copy`, { recursive: true })
    renameSync(site.dir, `${site.dir}.away`)
    renameSync(`${site.dir}.copy`, site.dir)
    await publishLost(roost, publisher, `${site.dir} has been replaced`)
    await roost.stop()
    expect(existsSync(path('roost.db-wal'))).toBe(true)
    await expectMessages(site, await site.start(), publisher.acknowledged)
  })
})

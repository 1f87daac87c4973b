import { cpSync, existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { expectMessages, NumberedPublisher, publishAll, type ServedStore, StoreSite } from './store-site.ts'

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
})

/** Quality: congestion or a full store. */
const QUOTA_EXCEEDED = 0x97

/** Publishes a message that is not acknowledged, because the files are lost: one line of the log says why. Resolves when it is acknowledged. */
async function publishLost(
  roost: ServedStore,
  publisher: NumberedPublisher,
  reason: string,
): Promise<{ answer: Promise<number> }> {
  const { size } = publisher.acknowledged
  const answer = publisher.publish()
  const line = `error store-failed: ${reason} while it was in use; nothing is acknowledged until it works again`
  expect(await roost.logged(/ store-/)).toBe(line)
  expect(await other.publish()).toBe(QUOTA_EXCEEDED)
  expect(publisher.acknowledged.size).toBe(size)
  expect(roost.storeLines).toEqual([line])
  return { answer }
}

describe('files of a running store', () => {
  test.each([
    [
      'the directory is moved away',
      '',
      () => renameSync(site.dir, `${site.dir}.away`),
      () => renameSync(`${site.dir}.away`, site.dir),
    ],
    [
      'the database is moved away',
      'roost.db',
      () => renameSync(path('roost.db'), path('away')),
      () => renameSync(path('away'), path('roost.db')),
    ],
    [
      'the WAL is moved away',
      'roost.db-wal',
      () => renameSync(path('roost.db-wal'), path('away')),
      () => renameSync(path('away'), path('roost.db-wal')),
    ],
  ])('%s: nothing is acknowledged until it is back', async (_title, name, away, back) => {
    const [roost, publisher] = await startWithMessages()
    away()
    const { answer } = await publishLost(roost, publisher, `${join(site.dir, name)} has been removed`)
    back()
    expect(await answer).toBe(0)
    expect(await roost.logged(/store-recovered/)).toBe('warn store-recovered: the store works again')
    await publishAll(publisher, 20)
    expect(roost.storeLines).toHaveLength(2)
    await roost.stop('SIGKILL')
    await expectMessages(site, await site.start(), publisher.acknowledged)
  })

  test('the database is replaced by an older copy: nothing is acknowledged until it is back', async () => {
    const [roost, publisher] = await startWithMessages()
    cpSync(path('roost.db'), path('older'))
    await publishAll(publisher, 20)
    renameSync(path('roost.db'), path('newer'))
    renameSync(path('older'), path('roost.db'))
    const { answer } = await publishLost(roost, publisher, `${path('roost.db')} has been replaced`)
    renameSync(path('newer'), path('roost.db'))
    expect(await answer).toBe(0)
    await publishAll(publisher, 20)
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

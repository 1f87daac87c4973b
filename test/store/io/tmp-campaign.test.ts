import { afterAll, beforeAll, expect, test } from 'vitest'
import { Random } from '../../../fuzz/sim/random.ts'
import { Copies, type Fixture, linesIn, makeFixture, PAGE } from './damage.ts'

let fixture: Fixture
let copies: Copies
beforeAll(async () => {
  fixture = await makeFixture()
  copies = new Copies()
})
afterAll(() => copies.end())
const pageOf = (bytes: Buffer, page: number): Buffer => bytes.subarray((page - 1) * PAGE, page * PAGE)
const without = (some: readonly string[], others: readonly string[]): string[] => {
  const found = new Set(others)
  return some.filter((line) => !found.has(line))
}
test('campaign', async () => {
  const seed = Number(process.env.SEED ?? 1)
  const random = new Random(seed)
  const n = fixture.whole.length / PAGE
  const all = fixture.ledger.linesWithout()
  const fails: unknown[] = []
  const stats = { sound: 0, complete: 0, partial: 0, wrong: 0 }
  const end = Date.now() + Number(process.env.SECONDS ?? 60) * 1000
  for (let round = 0; Date.now() < end; round++) {
    const bytes = Buffer.from(fixture.whole)
    const kind = random.pick(['flip', 'flip', 'flip-head', 'flips', 'sector', 'swap', 'stale', 'dup', 'zero2'])
    const damaged: number[] = []
    const pick = () => {
      const p = random.between(1, n)
      damaged.push(p)
      return p
    }
    if (kind === 'flip') {
      const p = pick()
      pageOf(bytes, p)[random.between(0, PAGE - 1)]! ^= 1 << random.between(0, 7)
    }
    if (kind === 'flip-head') {
      const p = pick()
      pageOf(bytes, p)[random.between(0, p === 1 ? 130 : 40)]! ^= 1 << random.between(0, 7)
    }
    if (kind === 'flips') {
      for (let i = 0; i < 5; i++) {
        const p = pick()
        pageOf(bytes, p)[random.between(0, PAGE - 1)]! ^= 1 << random.between(0, 7)
      }
    }
    if (kind === 'sector') {
      const p = pick()
      const s = random.between(0, 7) * 512
      for (let i = 0; i < 512; i++) pageOf(bytes, p)[s + i] = random.between(0, 255)
    }
    if (kind === 'swap') {
      const p = pick(),
        q = pick()
      const t = Buffer.from(pageOf(bytes, p))
      pageOf(bytes, q).copy(pageOf(bytes, p))
      t.copy(pageOf(bytes, q))
    }
    if (kind === 'dup') {
      const p = pick(),
        q = random.between(1, n)
      pageOf(Buffer.from(bytes), q).copy(pageOf(bytes, p))
    }
    if (kind === 'stale') {
      const p = random.between(1, fixture.database.length / PAGE)
      damaged.push(p)
      pageOf(fixture.database, p).copy(pageOf(bytes, p))
    }
    if (kind === 'zero2') {
      pageOf(bytes, pick()).fill(0)
      pageOf(bytes, pick()).fill(0)
    }
    try {
      copies.put(bytes)
      const problems = copies.check()
      if (problems.length === 0) {
        stats.sound++
        expect(linesIn(copies.dir)).toEqual(all)
      }
      copies.put(bytes)
      const { missing } = copies.recover()
      const found = linesIn(copies.recovered)
      const lost = new Set(damaged.flatMap((page) => [...(fixture.namesOn.get(page) ?? [])]))
      const l = without(fixture.ledger.linesWithout(lost), found)
      const w = without(found, [...all, ...fixture.ledger.linesEndedBy(lost)])
      if (missing.length === 0) {
        stats.complete++
        expect(found).toEqual(all)
      } else stats.partial++
      if (l.length > 0 || w.length > 0)
        fails.push({
          round,
          kind,
          damaged,
          lost: l.length,
          l: l.slice(0, 3),
          wrong: w.length,
          w: w.slice(0, 3),
          problems: problems.slice(0, 3),
          missing: missing.slice(0, 6),
        })
      if (round % 20 === 0) expect(await copies.replayed()).toEqual(found)
    } catch (error) {
      fails.push({ round, kind, damaged, error: String((error as Error).stack).slice(0, 1500) })
    }
    if (fails.length > 6) break
    if (Date.now() > end) console.log(round)
  }
  console.log(stats, JSON.stringify(fails, undefined, 1))
}, 1000000)

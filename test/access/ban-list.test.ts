import { expect, test } from 'vitest'
import { BanList, parseBans } from '../../src/access/ban-list.ts'

test('networks, addresses and client ids, with comments', () => {
  const bans = parseBans(
    '# all of it\n192.0.2.0/24   # the office\r\n 2001:db8::/32\n\n198.51.100.7#x\nid:robot # 1\nid:a\n',
  ) as BanList
  for (const peer of ['192.0.2.9:1', '[::ffff:192.0.2.9]:1', '[2001:db8:1::1]:1', '198.51.100.7:5', '192.0.2.1:5@field/node:0a'])
    expect(bans.hasPeer(peer)).toBe(true)
  for (const peer of ['192.0.3.1:1', '[2001:db9::1]:1', '198.51.100.8:5', 'unix:/192.0.2.1:1', 'unknown:0', ''])
    expect(bans.hasPeer(peer)).toBe(false)
  expect(['robot # 1', 'a', 'robot', 'A', 'id:a'].map((id) => bans.hasId(id))).toEqual([true, true, false, false, false])
})

test.each([
  ['192.0.2.0/33', 1],
  ['\nalice', 2],
  ['id:', 1],
  ['10.0.0.0/8\n#\n10.0.0.0/8 192.0.2.1', 3],
  ['user:bob', 1],
  ['ID:x', 1],
])('%j is wrong in line %i', (text, line) => {
  expect(parseBans(text)).toEqual({ line, reason: expect.stringMatching(/^(expected a network like|id: needs)/) })
})

test('an empty list bans nobody', () => {
  for (const bans of [new BanList(), parseBans('') as BanList])
    expect([bans.hasPeer('192.0.2.1:1'), bans.hasId('')]).toEqual([false, false])
})

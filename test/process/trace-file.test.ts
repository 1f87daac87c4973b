import { execFileSync } from 'node:child_process'
import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { createLog } from '../../src/process/log.ts'
import { TraceFile } from '../../src/process/trace-file.ts'
import { PcapWriter } from '../../src/trace/pcap.ts'

const dir = mkdtempSync(join(tmpdir(), 'roost-capture-'))
afterAll(() => rmSync(dir, { recursive: true }))

function capture(path: string): void {
  const file = new TraceFile(
    { path, maxBytes: 2 ** 20, payloads: false },
    createLog({ logLevel: 'info', logFormat: 'json' }, { write: () => {} }, false),
  )
  file.close()
}
const modeOf = (path: string): number => statSync(path).mode & 0o777

test.each([0o644, 0o666, 0o600])('a capture file that was there with mode %o is replaced, and only for its owner', (mode) => {
  const path = join(dir, 'before.pcap')
  writeFileSync(path, 'x'.repeat(1000))
  chmodSync(path, mode)
  capture(path)
  expect(modeOf(path)).toBe(0o600)
  expect(readFileSync(path)).toEqual(Buffer.from(new PcapWriter(false).header()))
})

test('a pipe keeps its mode', () => {
  const path = join(dir, 'pipe')
  execFileSync('mkfifo', ['-m', '644', path])
  // Without a reader, opening it would wait for one.
  const reader = openSync(path, 'r+')
  capture(path)
  closeSync(reader)
  expect(modeOf(path)).toBe(0o644)
})

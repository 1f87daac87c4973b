// What an attack needs to find: a password file, listeners for TLS and WebSocket. `flags` for `roost serve`; `remove` once it has ended.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hashPassword } from '../../../dist/access/io/password-hash.js'
import { DEFAULT_ITERATIONS } from '../../../dist/access/password-file.js'

/** A password file with `honest 0`, `honest 1`, ..., whose passwords take as long to check as they do by default. */
export async function passwordFile(users) {
  const dir = mkdtempSync(join(tmpdir(), 'roost-passwords-'))
  const path = join(dir, 'passwords')
  const line = async (_, i) => `honest ${i}:${await hashPassword(Buffer.from('right'), DEFAULT_ITERATIONS)}\n`
  const lines = await Promise.all(Array.from({ length: users }, line))
  writeFileSync(path, lines.join(''), { mode: 0o600 })
  return { flags: ['--password-file', path, '--allow-anonymous'], remove: () => rmSync(dir, { recursive: true }) }
}

/** Beside plain TCP a listener `tls` and a listener `ws`, as `Started.ports` knows them. */
export function transports() {
  const dir = mkdtempSync(join(tmpdir(), 'roost-transports-'))
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const files = ['-keyout', 'server.key', '-out', 'server.crt']
  execFileSync('openssl', ['req', '-x509', ...key, ...files, '-days', '1', '-subj', '/CN=localhost'], {
    cwd: dir,
    stdio: 'ignore',
  })
  const tls = '  - { name: tls, port: 0, certfile: server.crt, keyfile: server.key }'
  const ws = '  - { name: ws, port: 0, protocol: websockets }'
  writeFileSync(join(dir, 'roost.yaml'), `listeners:\n${tls}\n${ws}\n`)
  return { flags: ['--config', join(dir, 'roost.yaml')], remove: () => rmSync(dir, { recursive: true }) }
}

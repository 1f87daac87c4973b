import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Keys and certificates in a directory of their own, made by the `openssl` program. */
export class Certificates {
  readonly dir = mkdtempSync(join(tmpdir(), 'roost-tls-'))

  constructor() {
    this.#openssl('req', '-x509', ...KEY, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=Test CA')
    writeFileSync(this.path('server.ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1')
    writeFileSync(this.path('client.ext'), 'extendedKeyUsage=clientAuth')
    writeFileSync(this.path('ca.ext'), 'basicConstraints=critical,CA:TRUE')
  }

  path(name: string): string {
    return join(this.dir, name)
  }

  read(name: string): string {
    return readFileSync(this.path(name), 'utf8')
  }

  write(name: string, text: string): string {
    writeFileSync(this.path(name), text)
    return this.path(name)
  }

  /** `<name>.pem` and `<name>.key`, signed by our CA, or by another that it has issued; `key` says of which kind, for `openssl req`. */
  issue(
    name: string,
    subject: string,
    kind: 'server' | 'client' | 'ca',
    by = 'ca',
    key: readonly string[] = KEY,
  ): { certfile: string; keyfile: string } {
    this.#openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject)
    const ca = ['-CA', `${by}.pem`, '-CAkey', `${by}.key`, '-CAcreateserial', '-days', '2']
    this.#openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...ca, '-extfile', `${kind}.ext`)
    return { certfile: this.path(`${name}.pem`), keyfile: this.path(`${name}.key`) }
  }

  /** `<name>.pem` and `<name>.key`, signed by itself. */
  selfSigned(name: string, subject: string): void {
    this.#openssl('req', '-x509', ...KEY, '-keyout', `${name}.key`, '-out', `${name}.pem`, '-days', '2', '-subj', subject)
  }

  /** A list of our CA that revokes these certificates. */
  revoke(file: string, ...names: string[]): string {
    return this.revokeBy('ca', file, names)
  }

  /** A list of any CA. */
  revokeBy(by: string, file: string, names: readonly string[], { more = [], extensions = '' }: RevokeOptions = {}): string {
    this.write('index.txt', '')
    this.write(
      'crl.cnf',
      `[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\ndefault_md=default\ndefault_crl_days=2\n[x]\n${extensions}\n`,
    )
    const ca = ['-config', 'crl.cnf', '-cert', `${by}.pem`, '-keyfile', `${by}.key`]
    for (const name of names) this.#openssl('ca', ...ca, '-revoke', `${name}.pem`)
    this.#openssl('ca', ...ca, '-gencrl', '-out', file, ...more, ...(extensions === '' ? [] : ['-crlexts', 'x']))
    return this.path(file)
  }

  rehash(dir: string): void {
    this.#openssl('rehash', dir)
  }

  remove(): void {
    rmSync(this.dir, { recursive: true })
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.dir, stdio: 'pipe' })
  }
}

interface RevokeOptions {
  /** For `openssl ca -gencrl`. */
  readonly more?: readonly string[]
  readonly extensions?: string
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A certificate authority of an hour, with a server's and a client's certificate, in a directory of their own. */
export class Certificates {
  readonly directory = mkdtempSync(join(tmpdir(), 'roost-certificates-'))

  constructor() {
    this.#openssl('req', '-x509', ...KEY, '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '1', '-subj', '/CN=Test CA')
    this.#issue('server', '/CN=localhost', 'subjectAltName=DNS:localhost,IP:127.0.0.1')
    this.#issue('client', '/CN=sensor-7', 'extendedKeyUsage=clientAuth')
  }

  path(name: 'ca.crt' | 'server.crt' | 'server.key' | 'client.crt' | 'client.key'): string {
    return join(this.directory, name)
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }

  #issue(name: string, subject: string, extension: string): void {
    writeFileSync(join(this.directory, `${name}.ext`), extension)
    this.#openssl('req', ...KEY, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject)
    const signing = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '1', '-extfile', `${name}.ext`]
    this.#openssl('x509', '-req', '-in', `${name}.csr`, ...signing, '-out', `${name}.crt`)
  }

  #openssl(...argv: string[]): void {
    execFileSync('openssl', argv, { cwd: this.directory, stdio: 'ignore' })
  }
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'] as const

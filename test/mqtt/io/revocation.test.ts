import { X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RevocationLists } from '../../../src/mqtt/io/revocation.ts'
import { Certificates } from './certificates.ts'

let certificates: Certificates
beforeAll(() => {
  certificates = new Certificates()
  certificates.issue('signing', '/CN=Signing CA', 'ca')
  for (const name of ['good', 'bad']) certificates.issue(name, `/CN=${name}`, 'client', 'signing')
})
afterAll(() => certificates.remove())

const certificate = (name: string): X509Certificate => new X509Certificate(certificates.read(`${name}.pem`))
const der = (file: string): Buffer =>
  Buffer.from(certificates.read(file).replaceAll(/[\s\S]*-----BEGIN X509 CRL-----|-----END X509 CRL-----[\s\S]*/g, ''), 'base64')
const lists = (...files: string[]): RevocationLists => new RevocationLists(files.map(der), ['ca', 'signing'].map(certificate))
const DAY = 86_400_000
/** Lists are made after this file is loaded. */
const soon = (): number => Date.now() + 1000

test('a certificate needs a list of its issuer, and no more', () => {
  certificates.revokeBy('signing', 'signing.crl', ['bad'])
  certificates.revokeBy('ca', 'root.crl', [])
  for (const all of [lists('signing.crl'), lists('root.crl', 'signing.crl')])
    expect([all.check(certificate('good'), soon()), all.check(certificate('bad'), soon())]).toEqual([undefined, 'CERT_REVOKED'])
  expect(lists('root.crl').check(certificate('good'), soon())).toBe('UNABLE_TO_GET_CRL')
})

test('an intermediate CA that the list of its root revokes takes its clients along', () => {
  certificates.revokeBy('signing', 'signing.crl', [])
  certificates.revokeBy('ca', 'root.crl', ['signing'])
  expect(lists('root.crl', 'signing.crl').check(certificate('good'), soon())).toBe('CERT_REVOKED')
})

test('a list that is over, or not yet valid', () => {
  certificates.revokeBy('signing', 'signing.crl', ['bad'])
  const all = lists('signing.crl')
  expect(all.check(certificate('good'), soon() + 3 * DAY)).toBe('CRL_HAS_EXPIRED')
  expect(all.check(certificate('bad'), soon() + 3 * DAY)).toBe('CERT_REVOKED')
  expect(all.check(certificate('good'), soon() - DAY)).toBe('CRL_NOT_YET_VALID')
})

test('a list in the name of the issuer that another key has signed', () => {
  certificates.selfSigned('forged', '/CN=Signing CA')
  certificates.revokeBy('forged', 'forged.crl', [])
  expect(lists('forged.crl').check(certificate('good'), soon())).toBe('CRL_SIGNATURE_FAILURE')
  certificates.revokeBy('signing', 'signing.crl', ['bad'])
  const both = lists('forged.crl', 'signing.crl')
  expect([both.check(certificate('good'), soon()), both.check(certificate('bad'), soon())]).toEqual([undefined, 'CERT_REVOKED'])
})

describe('signatures', () => {
  test.each<[string, string[], string[]]>([
    ['RSA', ['-newkey', 'rsa:2048', '-nodes'], []],
    ['RSA-PSS', ['-newkey', 'rsa:2048', '-nodes'], ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:32']],
    ['ECDSA P-384', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-nodes'], ['-md', 'sha384']],
    ['Ed25519', ['-newkey', 'ed25519', '-nodes'], []],
  ])('%s', (name, key, more) => {
    const ca = name.replaceAll(/\W/g, '')
    certificates.issue(ca, `/CN=${name} CA`, 'ca', 'ca', key)
    for (const client of ['good', 'bad']) certificates.issue(`${ca}-${client}`, `/CN=${client}`, 'client', ca)
    certificates.revokeBy(ca, `${ca}.crl`, [`${ca}-bad`], { more })
    const all = new RevocationLists([der(`${ca}.crl`)], [certificate('ca'), certificate(ca)])
    expect([all.check(certificate(`${ca}-good`), soon()), all.check(certificate(`${ca}-bad`), soon())]).toEqual([
      undefined,
      'CERT_REVOKED',
    ])
  })
})

describe('lists that are refused', () => {
  test('one whose meaning depends on an extension', () => {
    const extensions = 'issuingDistributionPoint=critical,@idp\n[idp]\nonlyuser=TRUE'
    certificates.revokeBy('signing', 'partial.crl', [], { extensions })
    expect(() => lists('partial.crl')).toThrow('a list with a critical extension')
  })

  test('one that is cut, or has a byte changed: an error, or no verdict in favour of anybody', () => {
    certificates.revokeBy('signing', 'signing.crl', ['bad'])
    const whole = der('signing.crl')
    const verdict = (bytes: Uint8Array): string | undefined => {
      try {
        return new RevocationLists([bytes], ['ca', 'signing'].map(certificate)).check(certificate('bad'), soon())
      } catch (error) {
        return (error as Error).message
      }
    }
    for (let end = 0; end < whole.length; end++) expect(verdict(whole.subarray(0, end))).toBeTypeOf('string')
    for (let i = 0; i < whole.length; i++) {
      const changed = Buffer.from(whole)
      changed[i]! ^= 0x41
      expect([i, verdict(changed)]).toEqual([i, expect.any(String)])
    }
  })
})

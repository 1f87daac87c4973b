import { createSecureContext } from 'node:tls'
import { readRegularFile } from '../../base/io/regular-file.ts'
import { StartError } from '../../base/start-error.ts'

/** PEM files of the HTTP service. */
export interface HttpTls {
  readonly certfile: string
  readonly keyfile: string
}

/** Reads and checks certificate and key. @throws StartError that names option and file */
export function readTls({ certfile, keyfile }: HttpTls): { readonly cert: Buffer; readonly key: Buffer } {
  const read = (option: string, path: string): Buffer => {
    try {
      return readRegularFile(path)
    } catch (error) {
      throw new StartError(`${option} ${path}: ${(error as Error).message}`)
    }
  }
  const context = { cert: read('http_certfile', certfile), key: read('http_keyfile', keyfile) }
  try {
    createSecureContext(context)
  } catch (error) {
    throw new StartError(`http_certfile ${certfile}, http_keyfile ${keyfile}: ${(error as Error).message}`)
  }
  return context
}

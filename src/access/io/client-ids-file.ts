import { ClientPattern } from '../../base/client-pattern.ts'
import { StartError } from '../../base/start-error.ts'
import { YamlFile, type YamlValue } from '../../config/io/yaml-file.ts'
import { ClientIdRules } from '../client-ids.ts'

/** Reads `clientid_file`. @throws StartError */
export const readClientIds = (path: string): ClientIdRules => parseClientIds(YamlFile.read(path, '/', 'clientid_file'))

/**
 * Parses users with their client ids, in which `*` matches any number of characters:
 *
 *     alice: [alice-*, house]
 *     bob: pump-7
 *
 * @throws StartError for the first invalid entry, and for an empty file, by which all ids would be free
 */
export function parseClientIds(file: YamlFile): ClientIdRules {
  const pairs = file.pairs(file.root, 'users with their client ids, one `user: [ids]` a line')
  if (pairs.length === 0) throw new StartError(`${file.path}: expected at least one user with client ids, got none`)
  return new ClientIdRules(new Map(pairs.map(({ key, value }) => [key, patternsOf(file, value)])))
}

function patternsOf(file: YamlFile, value: YamlValue): ClientPattern[] {
  return file.texts(value, 'a client id or a list of them').map((pattern) => new ClientPattern(pattern))
}

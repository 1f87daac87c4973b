import { describe, expect, test } from 'vitest'
import { parseSensorRules } from '../../../src/config/io/sensor-users.ts'
import { YamlFile } from '../../../src/config/io/yaml-file.ts'
import { SensorRules } from '../../../src/gateway/sensor-rules.ts'

const parse = (text: string): SensorRules =>
  new SensorRules(parseSensorRules(new YamlFile('users.yaml', text)), {
    username: undefined,
    qosM1: true,
    qosM1Username: undefined,
  })

describe('sn_users', () => {
  test('rules by client id and network, one or a list of each', () => {
    const users = parse(
      '- clients: sensor-*\n  networks: [10.0.0.0/8, "fd00::/8"]\n  username: sensors\n- clients: [a, 17]\n  deny: true\n- username: "%c"\n',
    )
    expect(users.userOf('sensor-1', '10.1.1.1:5')).toEqual({ username: 'sensors' })
    expect(users.userOf('sensor-1', '[fd00::1]:5')).toEqual({ username: 'sensors' })
    expect(users.userOf('sensor-1', '192.0.2.1:5')).toEqual({ username: 'sensor-1' })
    expect([users.userOf('a', 'x'), users.userOf('17', 'x')]).toEqual([undefined, undefined])
  })

  test('no client id makes a sensor a user who has a password; a rule that names the user does', () => {
    const isTaken = (name: string): boolean => name === 'alice' || name === 'sn-bob'
    const rules = parseSensorRules(
      new YamlFile('users.yaml', '- clients: known\n  username: alice\n- clients: b*\n  username: sn-%c\n'),
    )
    const users = new SensorRules(rules, { username: '%c', qosM1: true, qosM1Username: undefined, isTaken })
    expect(users.userOf('alice', 'x')).toBeUndefined()
    expect(users.userOf('bob', 'x')).toBeUndefined()
    expect(users.userOf('known', 'x')).toEqual({ username: 'alice' })
    expect([users.userOf('b', 'x'), users.userOf('carol', 'x')]).toEqual([{ username: 'sn-b' }, { username: 'carol' }])
  })

  test('JSON is YAML', () => {
    expect(parse('[{"clients": "a", "username": "u"}]').userOf('a', 'x')).toEqual({ username: 'u' })
  })

  test.each([
    ['clients: a', 'users.yaml:1:1: expected a list of rules, got a map'],
    ['- a', 'users.yaml:1:3: expected a rule: clients, networks, and username or deny, got "a"'],
    ['- client: a\n  username: u', 'users.yaml:1:3: unknown key client (did you mean clients?)'],
    ['- clients: a', 'users.yaml:1:3: expected either username or deny'],
    ['- username: u\n  deny: true', 'users.yaml:1:3: expected either username or deny'],
    ['- deny: false', 'users.yaml:1:9: deny: expected true, got false'],
    ['- username: ""', 'users.yaml:1:13: username: expected a text, got ""'],
    [
      '- networks: 10.0.0.0/33\n  deny: true',
      'users.yaml:1:13: networks: expected an address or a network like 10.0.0.0/8, got "10.0.0.0/33"',
    ],
    ['- clients: [a, {}]\n  deny: true', 'users.yaml:1:16: expected a client id or a list of them, got a map'],
  ])('%s', (text, error) => {
    expect(() => parse(text)).toThrow(error)
  })
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  addressOfRoute,
  carrierOf,
  nodeIdLength,
  nodeIdOf,
  nodeRoute,
  nodeTextOf,
  portNameOf,
  routeAt,
} from '../../../src/gateway/ports/route.ts'

const address = fc.constantFrom('192.0.2.7:51234', '192.0.2.7:51235', '[2001:db8::1]:1884', '/dev/ttyUSB0', '*')
const place = fc.record({
  address,
  port: fc.constantFrom('sn', 'field', 'f'),
  node: fc.option(fc.uint8Array({ minLength: 1, maxLength: 5 }), { nil: undefined }),
})

/** Parsed routes are remembered, so the order in which they are asked for must make no difference. */
test('the parts of a route, in whatever order routes are asked for', () => {
  fc.assert(
    fc.property(
      fc.array(place, { minLength: 1, maxLength: 4 }),
      fc.array(fc.tuple(fc.nat(3), fc.nat(5))),
      (places, questions) => {
        // Strings of their own, as those of two datagrams from one sensor are.
        const routes = places.map(({ address, port, node }) => {
          const carrier = routeAt(address, port)
          return node === undefined ? carrier : nodeRoute(carrier, node)
        })
        for (const [which, question] of questions) {
          const { address, port, node } = places[which % places.length]!
          const route = routes[which % places.length]!
          const digits = node === undefined ? undefined : Buffer.from(node).toString('hex')
          if (question === 0) expect(carrierOf(route)).toBe(routeAt(address, port))
          else if (question === 1) expect(portNameOf(route)).toBe(port)
          else if (question === 2) expect(addressOfRoute(route)).toBe(address)
          else if (question === 3) expect(nodeIdOf(route)).toEqual(node)
          else if (question === 4) expect(nodeTextOf(route)).toBe(digits)
          else expect(nodeIdLength(route)).toBe(node?.length ?? 0)
          if (question === 0) expect(portNameOf(carrierOf(route))).toBe(port)
        }
      },
    ),
    { numRuns: 300 },
  )
})

test('what a route without a node, and none at all, consists of', () => {
  expect([carrierOf(''), portNameOf(''), addressOfRoute(''), nodeIdOf(''), nodeIdLength('')]).toEqual([
    '',
    'sn',
    '',
    undefined,
    0,
  ])
  expect(nodeIdOf('192.0.2.7:1@field/node:0a1b')).toEqual(Uint8Array.of(0x0a, 0x1b))
})

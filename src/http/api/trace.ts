import type { HttpContext } from '../context.ts'
import { problem, type Route } from '../exchange.ts'
import { flag, type RouteSpec, text } from '../schema.ts'
import { TraceStream } from '../trace-stream.ts'

const SPEC: RouteSpec = {
  tag: 'trace',
  summary: 'Streams packets as they come and go',
  description:
    'Events `packet` have `time`, `protocol`, `direction`, `client`, `peer`, `topic` and the packet as a `line`; `missed` has the number of packets that were left out because the reader is slow. Passwords are never shown. Every 15 seconds there is a comment. At most 16 streams.',
  query: {
    client: text('only packets of clients whose id matches this pattern; `*` stands for any characters'),
    topic: text('only packets with a topic that this topic filter matches'),
    payloads: flag('payloads are shown; needs a user who may manage'),
    pcap: flag('adds `pcap`: the records of a capture file, in base64, to follow the header of such a file'),
  },
  answers: { 200: { description: 'the stream', type: 'text/event-stream' } },
}

/** What goes over the air, live. */
export const traceRoutes = ({ tracer, wallNow }: HttpContext): readonly Route[] => [
  {
    method: 'GET',
    path: '/api/v1/trace',
    needs: 'view',
    spec: SPEC,
    answer: ({ query, role }) => {
      const payloads = query.payloads === 'true'
      if (payloads && role !== 'manage') return problem(403, 'payloads: this needs a user who may manage (http_managers)')
      const { client, topic } = query
      const filter = { client, topic, payloads, pcap: query.pcap === 'true' }
      return new TraceStream(tracer, filter, wallNow)
    },
  },
]

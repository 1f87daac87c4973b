import { expect, test } from 'vitest'
import { Histogram } from '../../src/base/histogram.ts'
import { exposition } from '../../src/http/exposition.ts'

test('counters and gauges, with labels', () => {
  const text = exposition([
    {
      name: 'a_total',
      help: 'One\nline, with a \\.',
      type: 'counter',
      samples: [
        [{}, 1],
        [{ x: 'a"b\\c\nd', y: '' }, 2.5],
      ],
    },
    { name: 'none', help: 'Nothing.', type: 'gauge', samples: [] },
    { name: 'b', help: 'B.', type: 'gauge', samples: [[{}, Number.POSITIVE_INFINITY]] },
  ])
  expect(text.split('\n')).toEqual([
    '# HELP a_total One\\nline, with a \\\\.',
    '# TYPE a_total counter',
    'a_total 1',
    'a_total{x="a\\"b\\\\c\\nd",y=""} 2.5',
    '# HELP b B.',
    '# TYPE b gauge',
    'b +Inf',
    '',
  ])
})

test('a histogram has cumulative buckets, with what exceeds all bounds', () => {
  const histogram = new Histogram([0.1, 1])
  for (const value of [0.05, 0.1, 0.5, 3]) histogram.observe(value)
  expect(
    exposition([{ name: 'h', help: 'H.', type: 'histogram', samples: [], histogram }])
      .split('\n')
      .slice(2),
  ).toEqual(['h_bucket{le="0.1"} 2', 'h_bucket{le="1"} 3', 'h_bucket{le="+Inf"} 4', 'h_sum 3.65', 'h_count 4', ''])
})

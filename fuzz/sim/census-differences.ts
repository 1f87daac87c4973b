import type { Census } from './census.ts'

/** What may differ between a server that has lived and one to which nothing has happened. */
const MAY_DIFFER: readonly (readonly [RegExp, string])[] = [
  [
    /^(Stats|ConditionStats|TypeCheck\.#known\[\]\.figures|Traffic|SensorTraffic|Histogram|NoticeCounts)\.|^Looked\.sum$|^Publisher\.(work|#taken)$|^Retained\.#sequence$|^Sessions\.#mostConnected$|^Sensors\.recoveredAt$|^SensorFigures\.#(since|epoch)$|^Unrecorded\.#lastEnd$|^SessionEnds\.#last$/,
    'counts what has happened',
  ],
  [/^Publisher\.full$/, 'why a message was last not retained'],
  [
    /\.#next(LinkId|MessageId|Id)$|^ClientLink\.id$|^ClientFigures\.#owners$|^(Row)?Timers\.#order$|^Turns\.#turn$/,
    'the next number of those that are never given twice',
  ],
  [/^Gateway\.#now$|^Session\.createdAt$|^TokenBucket\.#filledAt$|^Turns\.#since$|^Airtime\.(#newestBin|#freeAt)$/, 'a moment'],
  [
    /^Fifo\.(#head|#first)$|^Session\.(#sweptTo|#qos0From)$|^Slab\.(at|#start|#runStart|#runEnd|bytes)$|^ByteWriter\./,
    'a place in a buffer that is used again',
  ],
  [/^Seats\.#|^Session\.seat$/, 'seats, at most as many as there were sessions at a time, which the next ones take'],
  [/^Exchanges\.#refusedLsn$/, 'the latest record of a kind'],
  [/^TokenBucket\.#tokens$|^Airtime\.#used$/, 'an allowance, of which some is used up'],
  [/^UnknownSenders\.#answered$/, 'unknown senders that were answered last: at most 1,024'],
  [
    /^AddressProof\.#(unproven|proven|isTrusted)\b/,
    'addresses that were heard last: at most max_sn_unproven_addresses, max_sessions and 10,000',
  ],
  [/^stored\.clock$/, 'what the clocks of the machine said, in one row'],
  [/^Pauses\.#|^StoreClock\.|^Sensors\.recoveredAt$|^(Pace\.#notBefore|Expiry\.#retryAt)$/, 'a moment, or a length of time'],
  [/^Memory\.#(measured|granted|asked)$/, 'what was in use when it was last asked'],
  [/^Memory\.limits\./, 'bounds, which a site whose faults have ended has no more'],
  [/^(Remembered|TopicTable)\./, 'topics of PUBLISH packets that came twice: at most 4,096'],
  [/^TopicNames\.#last\./, 'the topic of far sides that came last, for the decoder of each version: at most 128 bytes'],
  [/^TopicTypes\.#known(Bytes)?$/, 'topics whose type was found last: at most 16,384'],
  [/^(RouteCache|TopicsMet)\./, 'topics without receivers that were published on last: at most 16,384 of each'],
]

const mayDiffer = (at: string): boolean => MAY_DIFFER.some(([names]) => names.test(at))

/** Where there is something else than there would be if nothing had happened. */
export function differences(counts: Census, wanted: Census): string[] {
  return [...new Set([...counts.keys(), ...wanted.keys()])]
    .filter((at) => !Object.is(counts.get(at) ?? 0, wanted.get(at) ?? 0) && !mayDiffer(at))
    .map((at) => lineOf(at, counts, wanted))
}

/** Where there is more than in another life, for what is still in use in both. */
export function growth(counts: Census, wanted: Census): string[] {
  const isMore = (at: string): boolean => (counts.get(at) ?? 0) > (wanted.get(at) ?? 0)
  return [...counts.keys()].filter((at) => isMore(at) && !mayDiffer(at)).map((at) => lineOf(at, counts, wanted))
}

const lineOf = (at: string, counts: Census, wanted: Census): string =>
  `${at}: ${counts.get(at) ?? 0} instead of ${wanted.get(at) ?? 0}`

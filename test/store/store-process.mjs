// Opens stores in a process of its own, each with its worker thread: see store-process.ts. argv: the file for marks.
import { openSync, writeSync } from 'node:fs'
import process from 'node:process'
import { SqliteStore } from '../../dist/store/io/sqlite-store.js'

// Not affected by injected faults, and marks in the journal: the number of records that are durable, one a line.
const acks = openSync(process.argv[2], 'a')
const send = (kind, value) => process.send({ kind, value })

let store
let appended = 0
/** Lsn and number of the last record of each commit that is not durable. */
let commits = []

function onDurable(upTo) {
  let durable
  while (commits.length > 0 && commits[0].lsn <= upTo) durable = commits.shift().count
  if (durable === undefined) return
  writeSync(acks, `${durable}\n`)
  send('durable', durable)
}

async function open({ dir, options }) {
  commits = []
  try {
    store = await SqliteStore.open(dir, {
      retryMs: 20,
      hasSession: () => true,
      onDurable,
      onFailed: (error) => send('event', `failed: ${error}`),
      onRecovered: () => send('event', 'recovered: commits'),
      onNews: ({ kind, reason }) => send('event', `${kind}: ${reason}`),
      ...options,
    })
    send('opened', { records: [...store.replay()] })
  } catch (error) {
    send('opened', { refused: error.message })
  }
}

function append(record) {
  const lsn = store.append(record)
  if (lsn === 'full') return false
  appended++
  if (commits.at(-1)?.lsn === lsn) commits.at(-1).count = appended
  else commits.push({ lsn, count: appended })
  return true
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Answers with the indexes of those that the store refused. */
async function appendAll({ held, records, perTurn }) {
  appended = held
  const refused = []
  for (const [i, record] of records.entries()) {
    if (!append(record)) refused.push(i)
    if ((i + 1) % perTurn === 0) await turn()
  }
  send('appended', refused)
}

async function close() {
  const error = await store.close().catch((reason) => reason)
  send('closed', error?.message)
}

const COMMANDS = { open, append: appendAll, close, end: () => process.disconnect() }
process.on('message', (message) => COMMANDS[message.kind](message))

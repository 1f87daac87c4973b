// A program with a durable subscription, in a process of its own that can be killed. Arguments: the data directory, and how many
// messages it publishes before it handles any. It prints what its handler is called with.
import { argv, stdout } from 'node:process'
import { start } from '../../dist/index.js'

const [, , dataDir, count] = argv
const roost = await start({ port: 0, snPort: 0, dataDir })
const unending = new Promise(() => {})
await roost.subscribe(
  'site/#',
  ({ payload }) => {
    stdout.write(`got ${payload}\n`)
    return Number(count) > 0 ? unending : undefined
  },
  { qos: 2, clientId: 'archive' },
)
for (let i = 0; i < Number(count); i++) await roost.publish('site/a', String(i), { qos: 2 })
stdout.write('published\n')
setInterval(() => {}, 1000)

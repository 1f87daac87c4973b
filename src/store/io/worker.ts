import { randomInt } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { seedNames } from '../../base/name-map.ts'
import { serveStore } from './thread.ts'

// The entry of the store's thread.
seedNames(randomInt(2 ** 32), randomInt(2 ** 32))
serveStore(parentPort!, workerData)

import { parentPort, workerData } from 'node:worker_threads'
import { serveStore } from './thread.ts'

// The entry of the store's thread.
serveStore(parentPort!, workerData)
